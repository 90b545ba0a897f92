"""Map sets on disk: one FITS file per cloud, or one for several clouds.

- ``LOG_NH2``, ``V_LOS`` and ``SIGMA_V``: (n_maps, ny, nx) 16-bit integers, RICE-compressed; the physical
  value is the stored one times the header's ``QSCALE``, in ``BUNIT`` (dex(cm-2) of N(H2) with a mean
  molecular weight of 2.8 per H2, km/s, km/s).  A stored value equal to the header's ``QBLANK``, where
  that is given, is not a number.  A velocity extension may be absent.
- ``SINKS``: a table with one row per map: ``sink`` (identity within the cloud), ``time``, ``axis``,
  ``mass``, the position ``x``, ``y``, ``z``; where the file has several clouds, ``cloud``; and where
  maps stand for others, ``represents``.  Names with characters that FITS does not keep are
  percent-encoded UTF-8, and the header says so (``ENCODED``).
- The primary header gives ``CLOUD`` (the name) and ``PIXSIZE`` (pc), and the properties of the cloud; a
  file of several clouds has these in a table ``CLOUDS``.
"""

import re
import warnings
from urllib.parse import quote, unquote

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.limits import open_bounded

# Extension, unit and quantization step of each channel, in the model's order.
_EXTENSIONS = (
    ("LOG_NH2", "dex(cm-2)", 0.01),
    ("V_LOS", "km s-1", 0.02),
    ("SIGMA_V", "km s-1", 0.02),
)
_BLANK = -32768
_STRUCTURAL = {
    "SIMPLE", "BITPIX", "NAXIS", "EXTEND", "CHECKSUM", "DATASUM", "PIXSIZE", "CLOUD", "COMMENT",
    "HISTORY", "",
}  # fmt: skip
_PRINTABLE = "".join(chr(code) for code in range(33, 127) if chr(code) != "%")


def is_map_set(path):
    """Return whether a file, or the files of a folder, are a map set; not if they cannot be read."""
    if path.is_dir():
        return any(path.glob("*.fits*"))
    try:
        with open_bounded(path) as file, fits.open(file) as hdus:
            return "LOG_NH2" in hdus and "SINKS" in hdus
    except Exception:  # whatever it is, the reader of a map reports it
        return False


def read_parts(path):
    """Return the arguments of a `MapSet` that a file holds."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*truncated.*")
        with open_bounded(path) as file, fits.open(file, memmap=False) as hdus:
            return _from_hdus(hdus, path)


def _from_hdus(hdus, path):
    if "LOG_NH2" not in hdus or "SINKS" not in hdus:
        have = ", ".join(h.name for h in hdus if h.name)
        msg = f"{str(path)!r} is not a map set: LOG_NH2 and SINKS are needed, there are {have}"
        raise ValueError(msg)
    primary = hdus[0].header
    table = QTable.read(hdus["SINKS"])
    decode = unquote if hdus["SINKS"].header.get("ENCODED", False) else str
    channels = _channels(hdus)
    missing = not {"sink", "mass"} <= set(table.colnames)
    if missing or len(table) != len(channels[0]) or len({c.shape for c in channels}) > 1:
        msg = f"{str(path)!r} is not a map set: SINKS needs sink, mass and one row per map"
        raise ValueError(msg)
    clouds = np.full(len(table), primary.get("CLOUD", path.name.split(".")[0]))
    clouds = table["cloud"] if "cloud" in table.colnames else clouds
    names = {
        key: np.array([decode(value) for value in np.char.strip(np.asarray(column).astype(str))])
        for key, column in {"clouds": clouds, "protostars": table["sink"]}.items()
    }
    optional = {}
    if "time" in table.colnames:
        optional["times"] = _with_unit(table["time"], u.Myr)
    if {"x", "y", "z"} <= set(table.colnames):
        optional["positions"] = np.stack([_with_unit(table[c], u.pc) for c in "xyz"], axis=1)
    for column, name, kind in (("axis", "axes", str), ("represents", "represents", float)):
        if column in table.colnames:
            optional[name] = np.asarray(table[column], dtype=kind)
    if "PIXSIZE" in primary:
        optional["pixel_scale"] = primary["PIXSIZE"] * u.pc
    return {
        "images": np.stack(channels, axis=1),
        "masses": _with_unit(table["mass"], u.solMass),
        "meta": {"clouds": _properties(hdus, names["clouds"], decode)},
        **names,
        **optional,
    }


def _channels(hdus):
    channels = []
    for name, _, step in _EXTENSIONS:
        if name not in hdus:
            channels.append(np.full_like(channels[0], np.nan))
            continue
        stored = np.asarray(hdus[name].data)
        channel = stored.astype(np.float32) * np.float32(hdus[name].header.get("QSCALE", step))
        if "QBLANK" in hdus[name].header:
            channel[stored == hdus[name].header["QBLANK"]] = np.nan
        channels.append(channel)
    return channels


def _properties(hdus, clouds, decode):
    """The properties of each cloud, by its name."""
    if "CLOUDS" not in hdus:
        cards = {k: v for k, v in hdus[0].header.items() if k not in _STRUCTURAL}
        return {c: dict(cards) for c in np.unique(clouds).tolist()}
    return {
        decode(str(row["cloud"]).strip()): {
            k.upper(): row[k].item() for k in row.colnames if k != "cloud"
        }
        for row in QTable.read(hdus["CLOUDS"])
    }


def write_parts(maps, path, *, overwrite=False):
    """Write a map set to one file."""
    clouds = list(dict.fromkeys(maps.clouds.tolist()))
    owners = zip(maps.clouds.tolist(), maps.protostars.tolist())
    local = [protostar.removeprefix(f"{cloud}/") for cloud, protostar in owners]
    encoded = any(
        quote(name, _PRINTABLE + " ") != name or name != name.strip() for name in (*clouds, *local)
    )

    def encode(name):
        return quote(name, _PRINTABLE) if encoded else name

    properties = maps.meta.get("clouds", {})
    primary = fits.PrimaryHDU()
    primary.header["PIXSIZE"] = (round(maps.pixel_scale.value, 9), "[pc]")
    if len(clouds) == 1:
        primary.header["CLOUD"] = encode(clouds[0])
        for key, value in properties.get(clouds[0], {}).items():
            primary.header[key] = value
    hdus = [primary]
    for channel, (name, unit, step) in zip(np.moveaxis(maps.images, 1, 0), _EXTENSIONS):
        hdu = fits.CompImageHDU(
            _quantize(name, channel, step),
            name=name,
            compression_type="RICE_1",
            tile_shape=(1, *channel.shape[1:]),
        )
        hdu.header["QSCALE"] = (step, "physical = stored * QSCALE")
        hdu.header["QBLANK"] = (_BLANK, "stored value of not-a-number")
        hdu.header["BUNIT"] = unit
        hdus.append(hdu)
    table = QTable()
    if len(clouds) != 1:
        table["cloud"] = [encode(c) for c in maps.clouds.tolist()]
    table["sink"] = [encode(s) for s in local]
    if all(re.fullmatch("0|[1-9][0-9]{0,17}", s) for s in local):
        table["sink"] = np.array(local, dtype=np.int64)
    table["time"] = maps.times.astype(np.float32)
    table["axis"] = maps.axes
    table["mass"] = maps.masses.astype(np.float32)
    for i, name in enumerate("xyz"):
        table[name] = maps.positions[:, i].astype(np.float32)
    if (maps.represents != 1).any():
        table["represents"] = maps.represents
    hdus.append(fits.BinTableHDU(table, name="SINKS"))
    if encoded:
        hdus[-1].header["ENCODED"] = (True, "names are percent-encoded UTF-8")
    if len(clouds) != 1 and any(properties.values()):
        keys = set.intersection(*(set(properties.get(n, {})) for n in clouds))
        keys = [k for k in properties[clouds[0]] if k in keys]
        table = QTable({"cloud": [encode(c) for c in clouds]})
        for key in keys:
            table[key.lower()] = [properties[n][key] for n in clouds]
        hdus.append(fits.BinTableHDU(table, name="CLOUDS"))
    with atomic_path(path, overwrite=overwrite) as temporary:
        fits.HDUList(hdus).writeto(temporary, checksum=True)


def _quantize(name, channel, step):
    blank = ~np.isfinite(channel)
    scaled = np.rint(np.where(blank, 0.0, channel) / np.float64(step))
    if np.abs(scaled).max(initial=0) > 32767:
        msg = f"{name} has values beyond {32767 * step:g}, which do not fit the format"
        raise ValueError(msg)
    scaled[blank] = _BLANK
    return scaled.astype(np.int16)


def _with_unit(column, unit):
    return column.to(unit) if getattr(column, "unit", None) else np.asarray(column) * unit
