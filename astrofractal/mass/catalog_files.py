"""Catalogs on disk: tables of masses, and regions for DS9."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Table

import astrofractal
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.tables import filled
from astrofractal.mass.catalog_columns import COLUMNS

if TYPE_CHECKING:
    from astropy.table import QTable

    from astrofractal._utils.annotations import PathLike


__all__ = ["SUFFIXES", "check_suffix", "write_catalog", "write_regions"]

_FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".vot": "votable",
    ".xml": "votable",
    ".fits": "fits",
    ".csv": "ascii.csv",
}
#: The suffixes of catalogs.
SUFFIXES = tuple(_FORMATS)


def check_suffix(path):
    """Raise `ValueError` if `write_catalog` has no format for the suffix of ``path``."""
    if Path(path).suffix not in _FORMATS:
        msg = f"output must end in one of {', '.join(_FORMATS)}, got {str(path)!r}"
        raise ValueError(msg)


def write_catalog(table: QTable, path: PathLike, *, overwrite: bool = False) -> None:
    """
    Write a catalog as ECSV, VOTable, FITS or CSV, by the suffix of its name.

    ECSV keeps ``position`` as sky coordinates; the others hold its right ascension and declination as
    ``ra`` and ``dec``.  The columns of a VOTable have UCDs, and its positions a coordinate system.

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

    See Also
    --------
    write_regions : circles for DS9.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from astrofractal.mass import write_catalog
    >>> catalog = QTable({"id": ["A"], "mass": [0.4] * u.solMass})
    >>> path = Path(tempfile.mkdtemp()) / "masses.vot"
    >>> write_catalog(catalog, path)
    >>> print(QTable.read(path)["mass"][0])
    0.4 solMass
    """
    path = Path(path)
    check_suffix(path)
    with atomic_path(path, overwrite=overwrite) as temporary:
        table = table.copy()
        table.pprint_exclude_names = ()
        table.meta = {key: v for key, v in table.meta.items() if key != "__attributes__"}
        for name in table.colnames:
            table[name].info.format = None  # some writers would round by it
        if path.suffix != ".ecsv":
            _split_position(table)
        if path.suffix == ".fits":
            # Plain keywords: FITS has eight characters for their names.
            keys = {"weights_id": "WEIGHTS", "reference_id": "REFMAPS", "version": "VERSION",
                    "fingerprint": "ESTIMATR", "level": "LEVEL", "no_skill": "NOSKILL",
                    "end_bias": "ENDBIAS"}  # fmt: skip
            table.meta = {keys.get(k, k): v for k, v in table.meta.items()}
        if _FORMATS[path.suffix] == "votable":
            _write_votable(table, temporary)
        else:
            table.write(temporary, format=_FORMATS[path.suffix])


def _split_position(table):
    """Replace the sky positions by a column for each angle."""
    if "position" not in table.colnames:
        return
    sky, where = table["position"], table.colnames.index("position")
    table.remove_column("position")
    lon, lat = sky.spherical.lon.to(u.deg), sky.spherical.lat.to(u.deg)
    for name, angle, what in (("dec", lat, "declination"), ("ra", lon, "right ascension")):
        table.add_column(u.Quantity(angle), where, name)
        table[name].info.description = f"{what} ({sky.frame.name.upper()})"


def _write_votable(table, path):
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import CooSys, Info

    votable = from_table(Table(table))
    ucds = {name: column.ucd for name, column in COLUMNS.items()}
    ucds |= {"ra": "pos.eq.ra;meta.main", "dec": "pos.eq.dec;meta.main"}
    system = CooSys(ID="icrs", system="ICRS")
    for field in votable.get_first_table().fields:
        field.ucd = ucds.get(field.name)
        if field.name in ("ra", "dec"):
            field.ref = system.ID
    if "ra" in table.colnames:
        votable.resources[0].coordinate_systems.append(system)
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

    if "position" not in table.colnames:
        msg = "regions need sky positions, the map has no WCS"
        raise ValueError(msg)
    circles = []
    masses = filled(table["mass"]).to_value(u.solMass)
    for name, center, mass in zip(table["id"], table["position"], masses, strict=True):
        if np.isfinite(center.spherical.lon):
            text = f"{name}: {mass:.2g} Msun" if np.isfinite(mass) else f"{name}"
            circles.append(CircleSkyRegion(center, radius, meta={"text": text}))
    with atomic_path(path, overwrite=overwrite) as temporary:
        Regions(circles).write(temporary, format="ds9")
