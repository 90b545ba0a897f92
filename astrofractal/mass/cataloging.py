"""Cataloging: one map and the places of its protostars in, a table of their masses out."""

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from astrofractal._utils.validation import one_of
from astrofractal._utils.warn import warn
from astrofractal.gasmap import GasMap
from astrofractal.mass.catalog_columns import carry, describe, measured
from astrofractal.mass.centering import PEAKS, is_off_center, peak_offset
from astrofractal.mass.detection import find_protostars
from astrofractal.mass.evaluation import check_level
from astrofractal.mass.matching import unlike_references
from astrofractal.mass.positions import Places, nothing_to_measure, resolve_positions, to_icrs

__all__ = ["make_catalog"]

_BATCH = 64


def make_catalog(estimator, gas, positions, *, level, recenter, progress_bar, **detection):
    """
    Estimate the masses of the protostars of a map.

    Parameters
    ----------
    estimator : `~astrofractal.StellarMassEstimator`
        Calibrated.

    gas, positions, level, recenter, progress_bar, **detection
        As `~astrofractal.StellarMassEstimator.catalog` takes them.

    Returns
    -------
    table : `~astropy.table.QTable`
        What that returns.

    reasons : list of str
        In what the map was observed worse than sharp and complete maps; see
        `~astrofractal.mass.matching.unlike_references`.
    """
    check_level(level)
    one_of("recenter", recenter, (None, False, *PEAKS))
    gas = GasMap.read(gas)
    if recenter is None:
        recenter = "column" if positions is None else False
    if positions is None:
        places = Places(find_protostars(gas, **detection))
    elif detection:
        msg = f"{', '.join(detection)} are for the detection, not for given positions"
        raise ValueError(msg)
    else:
        places = resolve_positions(positions)
        reason = nothing_to_measure(gas, places.where)
        if reason is not None:
            warn(reason)
    positions, n = places.where, len(places)
    x, y = np.array(gas.to_pixel(positions) if n else np.empty((2, 0)))
    estimated, unusable, off_center, known = [], {}, set(), []
    options = {"size": estimator.size, "shape": estimator.map_shape}

    def maps():
        # In batches, so that a long list of positions needs little memory.
        for start in range(0, n, _BATCH):
            batch = slice(start, min(start + _BATCH, n))
            cutouts = gas.cutouts(positions[batch], **options)
            if recenter:
                moved = [_moved(gas, cutout, recenter) for cutout in cutouts]
                x[batch], y[batch] = np.transpose(moved)
                cutouts = gas.cutouts(np.transpose([x[batch], y[batch]]), **options)
            for row, cutout in enumerate(cutouts, start):
                if "outside" in cutout.flags:
                    unusable[row] = "outside"
                elif cutout.mask.all():
                    unusable[row] = "masked"
                else:
                    estimated.append(row)
                    known.append(1 - cutout.masked_fraction)
                    if is_off_center(cutout.to_array()):
                        off_center.add(row)
                    yield cutout

    result = estimator.evaluate(maps(), progress_bar=progress_bar)
    for flags, row in zip(result.flags, estimated, strict=True):
        flags += ["off-center"] if row in off_center else []
    table = result.expand(estimated, unusable).to_table(level=level, meta=estimator.meta)
    ids = np.arange(1, n + 1) if places.ids is None else np.asarray(places.ids)
    table.add_column(ids, 0, "id")
    if gas.wcs is not None:
        given = isinstance(positions, SkyCoord) and not recenter
        sky = positions if given else gas.to_sky(x, y)
        table.add_column(to_icrs(sky), 1, "position")
    where = table.colnames.index("channels")
    pixels = [measured(pixel, np.isfinite(pixel)) for pixel in (x, y)]
    table.add_columns(pixels, indexes=[where, where], names=["x", "y"])
    return carry(describe(table, level), places.columns), unlike_references(gas, known)


def _moved(gas, cutout, kind):
    """The pixel of a map where the local peak of a cutout lies."""
    dx, dy = 0.0, 0.0
    if "outside" not in cutout.flags:
        dx, dy = peak_offset(cutout.to_array(), kind)
    if not dx and not dy:
        return cutout.meta["pixel"]
    if gas.wcs is None:
        ratio = (cutout.pixel_scale / gas.pixel_scale).to_value(u.one)
        return np.array(cutout.meta["pixel"]) + ratio * np.array([dx, dy])
    middle = (np.array(cutout.shape[::-1]) - 1) / 2
    return np.ravel(gas.to_pixel(cutout.to_sky(*np.atleast_2d(middle + [dx, dy]).T)))
