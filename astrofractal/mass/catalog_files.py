"""Catalogs on disk: tables of masses, and regions for DS9."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

import astrofractal
from astrofractal._utils.atomic import atomic_path

if TYPE_CHECKING:
    from astropy.table import QTable

    from astrofractal._utils.annotations import PathLike


__all__ = ["check_suffix", "write_catalog", "write_regions"]

_FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".vot": "votable",
    ".xml": "votable",
    ".fits": "fits",
    ".csv": "ascii.csv",
}


def check_suffix(path):
    """Raise `ValueError` if `write_catalog` has no format for the suffix of ``path``."""
    if Path(path).suffix not in _FORMATS:
        msg = f"output must end in one of {', '.join(_FORMATS)}, got {str(path)!r}"
        raise ValueError(msg)


def write_catalog(table: QTable, path: PathLike, *, overwrite: bool = False) -> None:
    """
    Write a catalog as ECSV, VOTable, FITS or CSV, by the suffix of its name.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        The catalog.

    path : path-like
        The file: ``.ecsv``, ``.vot`` or ``.xml``, ``.fits``, ``.csv``.

    overwrite : bool, optional
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        If the suffix is another one.
    """
    path = Path(path)
    check_suffix(path)
    with atomic_path(path, overwrite=overwrite) as temporary:
        table = table.copy()
        for name in table.colnames:
            table[name].info.format = None  # some writers would round by it
        if path.suffix == ".fits":
            # Plain keywords: FITS has eight characters for their names.
            keys = {"weights_id": "WEIGHTS", "reference_id": "REFMAPS", "version": "VERSION",
                    "fingerprint": "ESTIMATR", "level": "LEVEL", "no_skill": "NOSKILL"}  # fmt: skip
            table.meta = {keys.get(k, k): v for k, v in table.meta.items()}
        if _FORMATS[path.suffix] == "votable":
            _write_votable(table, temporary)
        else:
            table.write(temporary, format=_FORMATS[path.suffix])


def _write_votable(table, path):
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    votable = from_table(Table(table))
    for key, value in {**table.meta, "creator": f"astrofractal {astrofractal.__version__}"}.items():
        info = Info(name=str(key), value=str(value), ID=str(key))
        votable.resources[0].infos.append(info)
    votable.to_xml(str(path))


def write_regions(
    table: QTable, path: PathLike, *, radius: u.Quantity = 5 * u.arcsec, overwrite: bool = False
) -> None:
    """
    Write a circle at each position for DS9, with the mass as its text.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        The catalog, with sky positions.

    path : path-like
        The file.

    radius : `~astropy.units.Quantity`, optional
        The radius of the circles.

    overwrite : bool, optional
        Whether an existing file may be replaced.
    """
    from regions import CircleSkyRegion, Regions

    if "ra" not in table.colnames:
        msg = "regions need sky positions, the map has no WCS"
        raise ValueError(msg)
    circles = []
    for row in table[np.isfinite(table["ra"])]:
        mass = row["mass"].to_value(u.solMass)
        text = f"{row['id']}: {mass:.2g} Msun" if np.isfinite(mass) else f"{row['id']}"
        center = SkyCoord(row["ra"], row["dec"])
        circles.append(CircleSkyRegion(center, radius, meta={"text": text}))
    with atomic_path(path, overwrite=overwrite) as temporary:
        Regions(circles).write(temporary, format="ds9")
