"""Catalogs on disk: tables of masses, and regions for DS9."""

import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

import astrofractal
from astrofractal._utils.annotations import PathLike
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.optional import require
from astrofractal._utils.reading import printable
from astrofractal._utils.validation import warn
from astrofractal.catalogs.columns import COLUMNS, solar_masses
from astrofractal.catalogs.positions import to_icrs

_FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".vot": "votable",
    ".xml": "votable",
    ".fits": "fits",
    ".csv": "ascii.csv",
}

_FORMULA = re.compile(r"[=+@\t\r-]")
_NUMBER = re.compile(r"[+-]?[\d.:]+(e[+-]?\d+)?")

_UCDS = {name: column.ucd for name, column in COLUMNS.items()} | {
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
}

#: Keywords of FITS, of at most eight characters; "level", "matched" and "version" are ones as they are.
_KEYWORDS = {
    "weights_id": "WEIGHTS", "reference_id": "REFMAPS", "fingerprint": "ESTIMATR",
    "no_skill": "NOSKILL", "end_bias": "ENDBIAS", "systematic": "SYSTEMAT",
}  # fmt: skip


def check_suffix(path):
    """Raise `ValueError` if `write_catalog` has no format for the suffix of ``path``."""
    if Path(path).suffix not in _FORMATS:
        msg = f"output must end in one of {', '.join(_FORMATS)}, got {str(path)!r}"
        raise ValueError(msg)


def write_catalog(table: QTable, path: PathLike, *, overwrite: bool = False) -> None:
    """
    Write a catalog as ECSV, VOTable, FITS or CSV, by its suffix: .ecsv, .vot or .xml, .fits, .csv.

    ECSV keeps ``position`` as sky coordinates; the others have ``ra`` and ``dec``.  The columns of a
    VOTable have UCDs.  Text in FITS is UTF-8; in CSV, what a spreadsheet would take for a formula
    begins with an apostrophe.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        The catalog.
    path, overwrite : path-like and bool, optional
        The file, and whether an existing one may be replaced.

    Raises
    ------
    ValueError
        If the suffix is another one.
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
        if path.suffix == ".csv":
            _quote_formulas(table)
        if path.suffix == ".fits":
            table.convert_unicode_to_bytestring()  # in UTF-8
            table.meta = {_KEYWORDS.get(k, k): _ascii(v) for k, v in table.meta.items()}
        if _FORMATS[path.suffix] == "votable":
            _write_votable(table, temporary)
        else:
            table.write(temporary, format=_FORMATS[path.suffix])


def _split_position(table):
    """Replace the sky positions by a column for each angle."""
    if "position" not in table.colnames:
        return
    sky, where = to_icrs(table["position"]), table.colnames.index("position")
    table.remove_column("position")
    lon, lat = sky.spherical.lon, sky.spherical.lat
    for name, angle, what in (("dec", lat, "declination"), ("ra", lon, "right ascension")):
        table.add_column(u.Quantity(angle, u.deg), where, name)
        table[name].info.description = f"{what} ({sky.frame.name.upper()})"


def _texts(table):
    """Return the names of the columns of text."""
    return [name for name in table.colnames if table[name].info.dtype.kind == "U"]


def _quote_formulas(table):
    """Put an apostrophe before text that a spreadsheet would compute."""
    for name in _texts(table):
        texts = [str(value) for value in table[name].tolist()]
        quoted = [f"'{t}" if _FORMULA.match(t) and not _NUMBER.fullmatch(t) else t for t in texts]
        if quoted != texts:
            table[name] = quoted


def _ascii(value):
    """Return a value as a card of FITS holds it: printable ASCII."""
    if not isinstance(value, str):
        return value
    return printable(value).encode("ascii", "backslashreplace").decode()


def _write_votable(table, path):
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import CooSys, Info

    votable = from_table(Table(table))
    system = CooSys(ID="icrs", system="ICRS")
    for field in votable.get_first_table().fields:
        field.ucd = _UCDS.get(field.name)
        if field.name in ("ra", "dec"):
            field.ref = system.ID
    if "ra" in table.colnames:
        votable.resources[0].coordinate_systems.append(system)
    # XML has no control characters, but the bytes of a stream have.
    texts = [str(value) for name in _texts(table) for value in table[name].tolist()]
    kind = "tabledata" if all(printable(text) == text for text in texts) else "binary2"
    for key, value in {**table.meta, "creator": f"astrofractal {astrofractal.__version__}"}.items():
        info = Info(name=str(key), value=printable(str(value)), ID=str(key))
        votable.resources[0].infos.append(info)
    votable.to_xml(str(path), tabledata_format=kind)


def write_regions(
    table: QTable, path: PathLike, *, radius: u.Quantity = 5 * u.arcsec, overwrite: bool = False
) -> None:
    """
    Write a circle at each position for DS9, with the mass as its text.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        The catalog, with sky positions.
    path, overwrite : path-like and bool, optional
        The file, and whether an existing one may be replaced.
    radius : `~astropy.units.Quantity`, optional
        The radius of the circles.
    """
    from regions import CircleSkyRegion, Regions

    if "position" not in table.colnames:
        msg = "regions need sky positions, the map has no WCS"
        raise ValueError(msg)
    circles, masses = [], solar_masses(table["mass"])
    for name, center, mass in zip(table["id"], table["position"], masses, strict=True):
        if np.isfinite(center.spherical.lon):
            # DS9 has no escapes within braces.
            name = printable(str(name)).translate(str.maketrans("{}", "()"))
            text = f"{name}: {mass:.2g} Msun" if np.isfinite(mass) else name
            circles.append(CircleSkyRegion(center, radius, meta={"text": text}))
    with atomic_path(path, overwrite=overwrite) as temporary:
        Regions(circles).write(temporary, format="ds9")


def write_hats(table: QTable, path: PathLike, *, overwrite: bool = False) -> None:
    """
    Write a catalog as HATS (Hierarchical Adaptive Tiling Scheme), by hats-import.

    Positions are in ``ra`` and ``dec`` (ICRS); units, descriptions and UCDs are metadata of the fields
    in the Parquet files.  Rows without a position are left out, with a warning.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        The catalog, with sky positions.
    path, overwrite : path-like and bool, optional
        The folder, which ends in ``.hats``, and whether a catalog that exists may be replaced.

    Raises
    ------
    ImportError
        If hats-import is not installed (the extra ``hats``).
    ValueError
        If the catalog has no position on the sky.
    FileExistsError
        If ``path`` exists and ``overwrite`` is `False`, or is not a catalog in HATS.
    """
    path = Path(path)
    if path.exists() and overwrite and not (path / "hats.properties").is_file():
        msg = f"{str(path)!r} exists and is not a catalog in HATS: it is not replaced"
        raise FileExistsError(msg)
    known = np.zeros(len(table), bool)
    if "position" in table.colnames:
        known = np.isfinite(table["position"].spherical.lon.value)
    if not known.any():
        msg = "a catalog in HATS needs positions on the sky, and this one has none"
        raise ValueError(msg)
    if not known.all():
        warn(f"{np.sum(~known)} rows without a position are not in the catalog in HATS")
    rows = table[known]
    _split_position(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within their libraries
        require("hats_import", extra="hats")
        with atomic_path(path, overwrite=overwrite) as temporary:
            _import_hats(_arrow(rows), table.meta, temporary)


def _arrow(table):
    """Return a catalog as a table of Arrow, its units, descriptions and UCDs with the fields."""
    import pyarrow as pa

    fields, arrays = [], []
    for name in table.colnames:
        column, unit = table[name], table[name].info.unit
        values = np.asarray(np.ma.getdata(getattr(column, "unmasked", column)))
        array = pa.array(values, mask=np.broadcast_to(getattr(column, "mask", False), len(column)))
        about = {
            "unit": unit and u.Unit(unit).to_string("vounit"),
            "description": column.info.description,
            "ucd": _UCDS.get(name),
        }
        about = {key: value for key, value in about.items() if value}
        fields.append(pa.field(name, array.type, metadata=about))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _import_hats(rows, meta, path):
    """Import a table of Arrow on one thread of this process."""
    import pyarrow.parquet as pq
    from distributed import Client
    from hats_import.catalog.arguments import ImportArguments
    from hats_import.pipeline import pipeline_with_client

    about = {f"astrofractal_{key}": str(value) for key, value in meta.items() if key != "failed"}
    about["hats_creator"] = f"astrofractal {astrofractal.__version__}"
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=path.parent) as scratch:
        source = Path(scratch) / "catalog.parquet"
        pq.write_table(rows, source)
        arguments = ImportArguments(
            output_path=path.parent,
            output_artifact_name=path.name,
            input_file_list=[source],
            file_reader="parquet",
            use_schema_file=source,
            expected_total_rows=len(rows),
            highest_healpix_order=7,  # 0.46 degrees: 196,608 numbers
            pixel_threshold=1_000_000,
            tmp_dir=scratch,
            progress_bar=False,
            addl_hats_properties=about,
        )
        threads = {"processes": False, "n_workers": 1, "threads_per_worker": 1}
        no_server = {"dashboard_address": None, "worker_dashboard_address": "127.0.0.1:0"}
        client = Client(**threads, **no_server, local_directory=scratch, set_as_default=False)
        with client, client.as_current():
            pipeline_with_client(arguments, client)
