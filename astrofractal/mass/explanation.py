"""Why a mass is what it is: the reference protostars that look alike, and the patches that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import NDData
from astropy.table import QTable

from astrofractal._utils.validation import positive_int
from astrofractal.gasmap.moments import CHANNELS, channels_of
from astrofractal.mass.evaluation import best_calibration
from astrofractal.mass.standard import is_single, standard_batches, standard_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Pixels by which bicubic magnification reaches beyond what it shows.
_MARGIN = 2

_SYMBOLS = {"column_density": "log N", "velocity": "v", "dispersion": "sigma"}


def _image_of(estimator, gas):
    """Return one map as an image of the model, its calibration, and its WCS where it has one."""
    if not is_single(gas):
        msg = f"gas must be one map, got {type(gas).__name__}"
        raise ValueError(msg)
    if isinstance(gas, np.ndarray) and not isinstance(gas, u.Quantity):
        wcs = None
    else:
        gas = standard_map(gas, estimator.map_shape)
        wcs = gas.wcs
    ((images, _),) = standard_batches(gas, estimator.map_shape)
    (channels,) = channels_of(images)
    return images[0], best_calibration(estimator.calibrations_, channels), wcs


def find_analogs(estimator, gas, n):
    """Return the nearest reference protostars of a map."""
    positive_int("n", n)
    image, calibration, _ = _image_of(estimator, gas)
    X, _ = calibration.features.compute(
        image[None], calibration.channels, encoder=estimator.encoder_
    )
    (index,), (distance,) = calibration.nearest(X)
    # Each protostar by its nearest map: its other maps are near-copies.
    _, first = np.unique(calibration.protostars_[index], return_index=True)
    nearest = np.sort(first)[:n]
    rows = index[nearest]
    clouds = calibration.clouds_
    table = QTable(
        {
            "protostar": calibration.protostars_[rows],
            "cloud": np.full(len(rows), "") if clouds is None else clouds[rows],
            "mass": 10 ** calibration.y_[rows] * u.solMass,
            "distance": distance[nearest],
            "index": rows,
        }
    )
    table["mass"].info.format = table["distance"].info.format = ".2f"
    return table


def measure_sensitivity(estimator, gas, patch, progress_bar):
    """Return the change of log10 mass when patches of a map are blurred away, by channel."""
    positive_int("patch", patch)
    image, calibration, wcs = _image_of(estimator, gas)
    features, encoder = calibration.features, estimator.encoder_

    def predict(images):
        return calibration.evaluate_images(images, encoder, progress_bar=progress_bar)[0]

    magnified = image.shape[-1] / 2 / features.zoom + _MARGIN
    reach = np.inf if features.profiles else magnified
    changes = occlude(image, predict, patch, calibration.channels, reach)
    return {name: NDData(change, unit=u.dex, wcs=wcs) for name, change in changes.items()}


def occlude(image, predict, patch, channels=CHANNELS, reach=np.inf):
    """Return by channel how much a prediction changes where patches have the mean around them."""
    # image (3, ny, nx); reach in pixels from the center, beyond which nothing is predicted from
    ny, nx = image.shape[1:]
    changed, places = [image], []
    for c, name in enumerate(CHANNELS):
        for y in _patches(ny, patch, reach) if name in channels else ():
            for x in _patches(nx, patch, reach):
                around = image[c, _wider(y, patch), _wider(x, patch)].copy()
                inside = np.isfinite(image[c, y, x])
                total = np.nansum(around) - np.nansum(image[c, y, x])
                number = np.isfinite(around).sum() - inside.sum()
                if number and inside.any():
                    one = image.copy()
                    one[c, y, x] = np.where(inside, total / number, np.nan)
                    changed.append(one)
                    places.append((name, y, x))
    predicted = predict(np.stack(changed))
    changes = {
        name: np.where(np.isfinite(image[c]), 0.0, np.nan)
        for c, name in enumerate(CHANNELS)
        if name in channels
    }
    for (name, y, x), change in zip(places, predicted[1:] - predicted[0], strict=True):
        changes[name][y, x] += change
    return changes


def _patches(n, patch, reach):
    """Return slices along an axis, one of which is about the middle, up to a distance from it."""
    starts = range((n - patch) // 2 % patch - patch, n, patch)
    parts = [slice(max(s, 0), min(s + patch, n)) for s in starts if s + patch > 0]
    return [p for p in parts if p.stop > n / 2 - reach and p.start < n / 2 + reach]


def _wider(part, patch):
    return slice(max(part.start - patch, 0), part.stop + patch)


def plot_explanation(
    analogs: QTable, sensitivity: dict[str, NDData], *, figure: Figure | None = None
) -> Figure:
    """
    Draw why a mass is what it is.

    Parameters
    ----------
    analogs : `~astropy.table.QTable`
        What `~astrofractal.StellarMassEstimator.analogs` returns, with or without images.
    sensitivity : dict
        What `~astrofractal.StellarMassEstimator.sensitivity` returns.
    figure : `~matplotlib.figure.Figure`, optional
        The figure to draw in; a new one by default.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        In the upper row the change of log M by channel, in the lower one the column density of the
        reference protostars with their masses.
    """
    if figure is None:
        from matplotlib.pyplot import figure as make

        figure = make(figsize=(10, 5.5), layout="constrained")
    (upper,), (lower,) = figure.subfigures(2, 1, squeeze=False)
    most = max(np.nanmax(np.abs(one.data)) for one in sensitivity.values()) or 1.0
    panels = upper.subplots(1, len(sensitivity), squeeze=False)[0]
    for axes, (name, change) in zip(panels, sensitivity.items(), strict=True):
        shown = axes.imshow(change.data, origin="lower", cmap="RdBu_r", vmin=-most, vmax=most)
        axes.set_title(_SYMBOLS[name])
    upper.colorbar(shown, ax=panels, label="change of log M [dex]")
    panels = lower.subplots(1, max(len(analogs), 1), squeeze=False)[0]
    for axes, row in zip(panels, analogs, strict=False):
        if "image" in analogs.colnames:
            axes.imshow(row["image"][0], origin="lower", cmap="gray_r")
        title = f"{row['protostar']}\n{row['mass']:.2f}, distance {row['distance']:.2f}"
        axes.set_title(title, fontsize="small")
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            axes.set(xticks=[], yticks=[])
    return figure
