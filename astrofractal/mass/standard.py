"""Any map to the standard one: centered on a protostar, of one physical width, on one grid."""

import numpy as np
from astropy import units as u
from astropy.nddata import NDData

from astrofractal._utils.validation import warn
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.io.registry import is_pair
from astrofractal.gasmap.moments import CHANNELS, STANDARD_WIDTH
from astrofractal.mapset.mapset import MapSet

BATCH_SIZE = 256

_TOLERANCE = 0.02

#: Maps that are so many times wider than a cutout are hardly meant as one.
_WIDE = 4

#: No gas has a column density of 1e30 cm-2.
_LARGEST_LOG = 30

_MASKED_FRACTION = 0.05


def standard_batches(maps, shape):
    """Yield images and flags in batches."""
    if isinstance(maps, MapSet):
        width = maps.pixel_scale * maps.images.shape[-1]
        if not _is_standard(width):
            msg = f"maps are {width:.3g} wide, the estimator needs {STANDARD_WIDTH:.3g}"
            raise ValueError(msg)
        maps = maps.images
    if isinstance(maps, np.ndarray) and maps.ndim == 3 and len(maps) == 3:
        maps = maps[None]
    if isinstance(maps, np.ndarray) and maps.ndim == 4 and not isinstance(maps, u.Quantity):
        if maps.shape[1:] != (3, *shape):
            msg = f"an array of maps must have the shape (n_maps, 3, {shape[0]}, {shape[1]}), got "
            raise ValueError(msg + str(maps.shape))
        for start in range(0, len(maps), BATCH_SIZE):
            batch = np.asarray(maps[start : start + BATCH_SIZE], dtype=np.float32)
            masked = ~np.isfinite(batch[:, 0])
            most = np.max(batch[:, 0], initial=0, where=~masked)
            if most > _LARGEST_LOG:
                what = f"must be log10 of the column density in cm-2, got values up to {most:.3g}"
                msg = f"the first channel of an array {what}: take np.log10, or give a GasMap"
                raise ValueError(msg)
            if masked.all((1, 2)).any():
                msg = f"map {start + int(masked.all((1, 2)).argmax())} has no column density"
                raise ValueError(msg)
            yield batch, [["masked"] if m > _MASKED_FRACTION else [] for m in masked.mean((1, 2))]
        return
    single = is_single(maps)
    images, flags = [], []
    for number, gas in enumerate([maps] if single else maps):
        try:
            image, flag = _standard(gas, shape)
        except (ValueError, TypeError) as error:
            if single:
                raise
            msg = f"map {number}: {error}"
            raise type(error)(msg) from error
        images.append(image)
        flags.append(flag)
        if len(images) == BATCH_SIZE:
            yield np.stack(images), flags
            images, flags = [], []
    if images:
        yield np.stack(images), flags


def at_distance(maps, distance):
    """Return one map or many with a distance, if one is given."""
    if distance is None:
        return maps
    if is_single(maps):
        return GasMap.read(maps, distance=distance)
    return [GasMap.read(one, distance=distance) for one in maps]


def is_single(maps):
    """Return whether this is one map, not many."""
    if is_pair(maps):
        return True
    if isinstance(maps, (MapSet, list, tuple)):
        # An HDUList is a list, and one map.
        return type(maps).__name__ == "HDUList"
    if isinstance(maps, (GasMap, NDData, u.Quantity, str)) or hasattr(maps, "__fspath__"):
        return True
    if isinstance(maps, np.ndarray):
        return maps.ndim < 4
    return not hasattr(maps, "__iter__") or hasattr(maps, "header")


def standard_map(gas, shape):
    """Return a map cut to the width and the shape of a standard one, around its center."""
    gas = GasMap.read(gas)
    # A map of unknown width is taken as a standard one if it has the shape of it.
    fits = not gas.has_pixel_scale or _is_standard(gas.pixel_scale * gas.shape[1])
    if gas.shape != shape or not fits:
        if not gas.has_pixel_scale:
            missing = "WCS" if gas.wcs is None else "distance"
            needs = f"needs a WCS and a distance (this one has no {missing}): give them to GasMap"
            msg = (
                f"a map of shape {gas.shape} {needs}, or a map of {STANDARD_WIDTH:.3g} and {shape}"
            )
            raise ValueError(msg)
        width = gas.pixel_scale * gas.shape[1]
        if width > _WIDE * STANDARD_WIDTH:
            part = f"the {STANDARD_WIDTH:.3g} around its center"
            warn(f"a map that is {width:.3g} wide is cut to {part}: for a whole map use catalog")
        center = ((gas.shape[1] - 1) / 2, (gas.shape[0] - 1) / 2)
        gas = gas.cutout(center, shape=shape)
    return gas


def _standard(gas, shape):
    gas = standard_map(gas, shape)
    image = gas.to_array()
    flags = list(gas.flags)
    absent = ~np.isfinite(image).any((1, 2))
    if any(absent[i] and name in gas.channels for i, name in enumerate(CHANNELS)):
        flags.append("sparse-velocity")
    if gas.masked_fraction > _MASKED_FRACTION and "masked" not in flags:
        flags.append("masked")
    if gas.beam is not None and gas.distance is not None and "beam" not in flags:
        width = (gas.beam.major.to_value(u.rad) * gas.distance).to_value(u.pc)
        if width > 3 * STANDARD_WIDTH.to_value(u.pc) / shape[1]:
            flags.append("beam")
    return image, flags


def _is_standard(width):
    return abs((width / STANDARD_WIDTH).to_value(u.one) - 1) < _TOLERANCE
