"""Catalogs: where the protostars of a map are, and a table of their masses."""

import logging
import warnings
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from scipy.spatial import cKDTree

import astrofractal
from astrofractal._utils.atomic import atomic_path
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.units import to_column_density

__all__ = [
    "check_suffix",
    "find_protostars",
    "make_catalog",
    "resolve_positions",
    "write_catalog",
    "write_regions",
]

logger = logging.getLogger(__name__)

_DESCRIPTIONS = {
    "id": "number or name of the position",
    "ra": "right ascension (ICRS)",
    "dec": "declination (ICRS)",
    "x": "0-based pixel along the first axis of the map",
    "y": "0-based pixel along the second axis of the map",
    "mass": "mass of the protostar",
    "mass_lower": "lower end of the interval",
    "mass_upper": "upper end of the interval",
    "ood_score": "distance to the reference maps; above 1 is out of distribution",
    "channels": "channels that the mass is from",
    "flags": "what to beware of, joined by commas",
}

_SKY_COLUMNS = (
    ("ra", "dec"), ("raj2000", "dej2000"), ("_raj2000", "_dej2000"), ("ra_icrs", "de_icrs"),
    ("ra_deg", "dec_deg"), ("radeg", "dedeg"), ("ra2000", "dec2000"),
    ("right_ascension", "declination"),
)  # fmt: skip
_GALACTIC_COLUMNS = (("l", "b"), ("glon", "glat"))
_PIXEL_COLUMNS = (("x", "y"), ("xcentroid", "ycentroid"), ("x_centroid", "y_centroid"),
                  ("x_peak", "y_peak"))  # fmt: skip
_FORMATS = {
    ".ecsv": "ascii.ecsv",
    ".vot": "votable",
    ".xml": "votable",
    ".fits": "fits",
    ".csv": "ascii.csv",
}
_REGION_SUFFIXES = {".reg": "ds9", ".crtf": "crtf"}


def find_protostars(gas, *, min_separation=0.05 * u.pc, threshold=None, max_sources=None):
    """
    Find the peaks of the column density, where protostars may be.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map, with a physical scale (WCS and distance).

    min_separation : `~astropy.units.Quantity`, optional
        The smallest separation of two peaks: a length or an angle.

    threshold : `~astropy.units.Quantity` or float, optional
        The smallest column density of a peak (cm-2 or what GasMap takes), or the smallest ratio of
        signal to noise as a number.  The noise is the map's uncertainty or, where it has none, the
        scatter about the median of the pixels that are left after clipping at 3 sigma.  By
        default 3e22 cm-2.

    max_sources : int, optional
        Keep only the highest peaks.

    Returns
    -------
    positions : 2D `~numpy.ndarray`, shape (n, 2)
        Pixels (x, y), the highest peak first.  With none, a warning tells what to change.
    """
    from photutils.detection import find_peaks
    from photutils.utils.exceptions import NoDetectionsWarning

    scale = gas.pixel_scale
    min_separation = u.Quantity(min_separation)
    if min_separation.unit.is_equivalent(u.deg):
        if gas.distance is None:
            msg = f"min_separation {min_separation} is an angle: it needs the map's distance"
            raise ValueError(msg)
        min_separation = min_separation.to_value(u.rad) * gas.distance
    if not min_separation.unit.is_equivalent(u.pc):
        msg = f"min_separation must be a length or an angle, such as 0.05 pc, got {min_separation}"
        raise u.UnitConversionError(msg)
    separation = (min_separation / scale).to_value(u.one)
    column = gas.column_density.value.astype(float)
    data, limit = column, 3e22
    if isinstance(threshold, u.Quantity) and threshold.unit != u.one:
        limit = to_column_density(threshold, name="threshold").to_value(u.cm**-2)
    elif threshold is not None:
        data, limit = column / _noise(gas), float(threshold)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoDetectionsWarning)
        peaks = find_peaks(
            np.where(gas.mask, 0, data),
            limit,
            mask=np.array(gas.mask),
        )
    if peaks is None or len(peaks) == 0:
        highest = np.nanmax(data)
        msg = (
            f"no peak above the threshold {limit:.3g}; the highest value of the map is "
            f"{highest:.3g}: lower threshold, or give positions"
        )
        warnings.warn(msg, AstrofractalWarning, stacklevel=2)
        return np.empty((0, 2))
    peaks.sort("peak_value", reverse=True)
    pixels = np.column_stack([np.asarray(peaks[name], float) for name in ("x_peak", "y_peak")])
    return pixels[_separated(pixels, separation)][:max_sources]


def _separated(pixels, separation):
    """Keep, from the first on, what is no closer than ``separation`` to what is kept."""
    near = cKDTree(pixels).query_ball_point(pixels, separation)
    free = np.ones(len(pixels), dtype=bool)
    keep = []
    for number, neighbors in enumerate(near):
        if free[number]:
            keep.append(number)
            free[neighbors] = False
    return keep


def _noise(gas):
    if gas.column_density_uncertainty is not None:
        return np.where(gas.mask, np.nan, gas.column_density_uncertainty.value)
    from astropy.stats import sigma_clipped_stats

    _, _, noise = sigma_clipped_stats(gas.column_density.value[~gas.mask].astype(float))
    return max(float(noise), 1e-30)


def resolve_positions(gas, positions):
    """
    Turn any description of positions into what `GasMap.cutouts` takes.

    Parameters
    ----------
    gas : `~astrofractal.GasMap`
        The map.

    positions : object
        As `~astrofractal.StellarMassEstimator.catalog` takes it.

    Returns
    -------
    positions : `~astropy.coordinates.SkyCoord` or 2D `~numpy.ndarray`
        Sky positions, or pixels of shape (n, 2).

    names : list or None
        The names of the positions, where they have any.
    """
    if isinstance(positions, SkyCoord):
        return positions.reshape(-1), None
    if isinstance(positions, (str, Path)) or hasattr(positions, "__fspath__"):
        path = Path(positions)
        if not path.is_file():
            msg = f"positions: no such file {str(path)!r}"
            raise FileNotFoundError(msg)
        if path.suffix in _REGION_SUFFIXES:
            from regions import Regions

            try:
                positions = Regions.read(path, format=_REGION_SUFFIXES[path.suffix])
            except Exception as error:  # the parsers raise whatever they stumble over
                msg = f"positions: cannot read the regions of {str(path)!r}: {error}"
                raise ValueError(msg) from error
            return _from_regions(positions, str(path))
        return _from_table(_read_table(path), str(path))
    if isinstance(positions, Table) or hasattr(positions, "colnames"):
        return _from_table(positions, "the table")
    if type(positions).__module__.split(".")[0] == "regions":
        return _from_regions(positions, "positions")
    if isinstance(positions, u.Quantity):
        msg = "positions must be a SkyCoord, a table, regions or pixels, got a Quantity"
        raise TypeError(msg)
    try:
        array = np.atleast_2d(np.asarray(positions, dtype=float))
    except (TypeError, ValueError) as error:
        msg = f"positions must be a SkyCoord, a table, regions or pixels (n, 2), got {positions!r}"
        raise TypeError(msg) from error
    if array.size == 0:
        return np.empty((0, 2)), None
    if array.ndim != 2 or array.shape[1] != 2:
        msg = f"positions given as pixels must have the shape (n, 2), got {np.shape(positions)}"
        raise ValueError(msg)
    return array, None


def _read_table(path):
    options = {".csv": {"format": "ascii.csv"}, ".txt": {"format": "ascii"}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)
            return Table.read(path, **options.get(path.suffix, {}))
    except Exception as error:  # the readers raise whatever they stumble over
        msg = f"positions: cannot read a table from {str(path)!r}: {error}"
        raise ValueError(msg) from error


def _from_table(table, where):
    lower = {name.lower(): name for name in reversed(table.colnames)}
    names = next((list(table[lower[n]]) for n in ("id", "name", "source") if n in lower), None)
    for name in table.colnames:
        if isinstance(table[name], SkyCoord):
            return table[name].reshape(-1), names
    for pairs, frame in ((_SKY_COLUMNS, "icrs"), (_GALACTIC_COLUMNS, "galactic")):
        for first, second in pairs:
            if first in lower and second in lower:
                lon, lat = table[lower[first]], table[lower[second]]
                return _sky(lon, lat, frame, where), names
    for first, second in _PIXEL_COLUMNS:
        if first in lower and second in lower:
            pixels = [np.asarray(table[lower[c]], dtype=float) for c in (first, second)]
            return np.column_stack(pixels), names
    msg = (
        f"positions: {where} has no column of positions: it needs a SkyCoord, ra and dec, l and b, "
        f"or x and y (0-based pixels), and has {', '.join(table.colnames) or 'no columns'}"
    )
    raise ValueError(msg)


def _sky(lon, lat, frame, where):
    try:
        if np.asarray(lon).dtype.kind in "US":
            hours = any(c in str(lon[0]) for c in ":hms ")
            unit = (u.hourangle if hours else u.deg, u.deg)
            return SkyCoord(np.asarray(lon), np.asarray(lat), unit=unit, frame=frame)
        lon, lat = (
            u.Quantity(np.asarray(c), getattr(c, "unit", None) or u.deg) for c in (lon, lat)
        )
        return SkyCoord(lon, lat, frame=frame)
    except (ValueError, TypeError, u.UnitsError) as error:
        msg = f"positions: cannot read the coordinates of {where}: {error}"
        raise ValueError(msg) from error


def _from_regions(regions, where):
    regions = [regions] if hasattr(regions, "meta") else list(regions)
    if not regions:
        return np.empty((0, 2)), None
    centers = []
    for region in regions:
        center = getattr(region, "center", None)
        if center is None:
            msg = (
                f"positions: {type(region).__name__} of {where} has no center; points, circles, "
                "ellipses, rectangles and annuli have one"
            )
            raise ValueError(msg)
        centers.append(center)
    labels = [r.meta.get("text") or r.meta.get("label") or "" for r in regions]
    labels = labels if all(labels) else None
    on_sky = [isinstance(c, SkyCoord) for c in centers]
    if all(on_sky):
        centers = [c.icrs for c in centers]
        return SkyCoord([c.ra for c in centers], [c.dec for c in centers]), labels
    if any(on_sky):
        msg = f"positions: {where} mixes sky and pixel regions"
        raise ValueError(msg)
    return np.array([[c.x, c.y] for c in centers], dtype=float), labels


def make_catalog(estimator, gas, positions, *, level, progress_bar, **detection):
    """
    Weigh the protostars of a map.

    Parameters
    ----------
    estimator : `~astrofractal.StellarMassEstimator`
        The estimator.

    gas, positions, level, progress_bar, **detection
        As `~astrofractal.StellarMassEstimator.catalog` takes them.

    Returns
    -------
    table : `~astropy.table.QTable`
        The catalog.
    """
    gas = gas if isinstance(gas, GasMap) else GasMap.read(gas)
    if positions is None:
        positions, names = find_protostars(gas, **detection), None
    else:
        if detection:
            msg = f"{', '.join(detection)} are for the detection, not for given positions"
            raise ValueError(msg)
        positions, names = resolve_positions(gas, positions)
    n = len(positions)
    without_skill = {}
    numbers = {k: np.full(n, np.nan) for k in ("mass", "mass_lower", "mass_upper", "ood_score")}
    flags, channels = ["outside"] * n, [""] * n
    x, y = gas.to_pixel(positions) if n else (np.empty(0), np.empty(0))
    shape = estimator.map_shape
    weighed = []

    def maps():
        # In batches, so that a long list of positions needs little memory.
        for start in range(0, n, 64):
            for offset, cutout in enumerate(
                gas.cutouts(positions[start : start + 64], size=estimator.size, shape=shape)
            ):
                if "outside" not in cutout.flags and not cutout.mask.all():
                    weighed.append(start + offset)
                    yield cutout
                elif "outside" not in cutout.flags:
                    flags[start + offset] = "masked"

    if n:
        result = estimator.evaluate(maps(), progress_bar=progress_bar)
        without_skill = result.without_skill
        if weighed:
            half = result.half_width(level)
            numbers["mass"][weighed] = 10**result.log_mass
            numbers["mass_lower"][weighed] = 10 ** (result.log_mass - half)
            numbers["mass_upper"][weighed] = 10 ** (result.log_mass + half)
            numbers["ood_score"][weighed] = result.ood_score
        for i, row in enumerate(weighed):
            flags[row] = ",".join(result.flags[i])
            channels[row] = "+".join(result.calibrations[i].channels)
    table = QTable()
    table["id"] = np.arange(1, n + 1) if names is None else np.asarray(names)
    if gas.wcs is not None:
        sky = positions if isinstance(positions, SkyCoord) else gas.to_sky(x, y)
        table["ra"], table["dec"] = _icrs(sky)
    table["x"], table["y"] = x, y
    for name in ("mass", "mass_lower", "mass_upper"):
        table[name] = numbers[name] * u.solMass
    table["ood_score"] = numbers["ood_score"]
    width = max(map(len, channels), default=0)
    table["channels"] = np.array(channels, dtype=f"U{max(width, 1)}")
    table["flags"] = np.array(flags, dtype=f"U{max(*map(len, flags), 1) if flags else 1}")
    for name in table.colnames:
        table[name].info.description = _DESCRIPTIONS[name]
    for name in ("mass", "mass_lower", "mass_upper"):
        table[name].info.format = ".3g"
    table["ood_score"].info.format = ".2f"
    for name in ("x", "y"):
        table[name].info.format = ".1f"
    table["mass_lower"].info.description += f", level {level:g}"
    table["mass_upper"].info.description += f", level {level:g}"
    table.meta.update(estimator.meta, level=level)
    if without_skill:
        table.meta["no_skill"] = describe_no_skill(without_skill)
    return table


def describe_no_skill(without_skill):
    """
    Say which masses of a table have no skill.

    Parameters
    ----------
    without_skill : dict
        See `~astrofractal.mass.Evaluation`.

    Returns
    -------
    text : str
        For its ``meta``.
    """
    parts = [f"{channels} (leave-cloud-out R2 {r2:.2f})" for channels, r2 in without_skill.items()]
    return ", ".join(parts)


def _icrs(sky):
    try:
        sky = sky.icrs
    except Exception:  # a frame that cannot be transformed keeps its own numbers
        logger.info("the frame %s cannot be transformed to ICRS", sky.frame.name)
    lon, lat = sky.spherical.lon.to(u.deg), sky.spherical.lat.to(u.deg)
    return u.Quantity(lon, u.deg).reshape(-1), u.Quantity(lat, u.deg).reshape(-1)


def check_suffix(path):
    """Raise `ValueError` if `write_catalog` has no format for the suffix of ``path``."""
    if Path(path).suffix not in _FORMATS:
        msg = f"output must end in one of {', '.join(_FORMATS)}, got {str(path)!r}"
        raise ValueError(msg)


def write_catalog(table, path, *, overwrite=False):
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
                    "level": "LEVEL", "no_skill": "NOSKILL"}  # fmt: skip
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


def write_regions(table, path, *, radius=5 * u.arcsec, overwrite=False):
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
