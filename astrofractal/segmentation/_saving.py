"""Fitted segmenters on disk: arrays and JSON in one safetensors file, never pickle."""

import json
from pathlib import Path

import numpy as np
from astropy import units as u

import astrofractal
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.identity import fingerprint
from astrofractal.segmentation._model import SegmentModel

__all__ = ["read_segmenter", "write_segmenter"]

#: The version of the format; a file of another one is refused.
FORMAT = "astrofractal-segmenter-1"


def write_segmenter(options, encoder, model, path, *, overwrite):
    """
    Write a fitted segmenter.

    Parameters
    ----------
    options : dict
        The options of the segmenter but the encoder.

    encoder : `~astrofractal.FractalEncoder`
        The encoder, of which only the identity is kept.

    model : `SegmentModel`
        What was fitted.

    path : path-like
        The file.

    overwrite : bool
        Whether an existing file may be replaced.
    """
    from safetensors.numpy import save_file

    plain = {
        name: {"value": value.value, "unit": value.unit.to_string()}
        if isinstance(value, u.Quantity)
        else getattr(value, "item", lambda value=value: value)()
        for name, value in options.items()
    }
    card = {
        "options": plain,
        "method": model.clusters.method,
        "encoder": {
            "model": encoder.model_name,
            "weights_id": encoder.weights_id,
            "fingerprint": encoder.fingerprint(),
        },
        "version": astrofractal.__version__,
    }
    text = json.dumps(card, sort_keys=True)
    arrays = {name: np.ascontiguousarray(value) for name, value in model.arrays().items()}
    metadata = {"format": FORMAT, "card": text, "digest": fingerprint(text, arrays)}
    with atomic_path(path, overwrite=overwrite) as temporary:
        save_file(arrays, temporary, metadata=metadata)


def read_segmenter(path, encoder=None):
    """
    Read a fitted segmenter.

    Parameters
    ----------
    path : path-like
        A file of `write_segmenter`.

    encoder : `~astrofractal.FractalEncoder`, optional
        The encoder that it was fitted with.

    Returns
    -------
    options : dict
        The options of the segmenter, with ``encoder``.

    model : `SegmentModel`
        What was fitted.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        msg = f"no such file: {str(path)!r}"
        raise FileNotFoundError(msg)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        msg = f"{str(path)!r} is not a segmenter of astrofractal, or it is damaged: {error}"
        raise ValueError(msg) from error
    if metadata.get("format") != FORMAT:
        msg = (
            f"{str(path)!r} is not a segmenter in the format {FORMAT!r} that astrofractal "
            f"{astrofractal.__version__} reads: fit it again"
        )
        raise ValueError(msg)
    text = metadata.get("card", "")
    if metadata.get("digest") != fingerprint(text, arrays):
        msg = f"{str(path)!r} was changed after it was saved: its digest does not agree"
        raise ValueError(msg)
    card = json.loads(text)
    options = {
        name: value["value"] * u.Unit(value["unit"]) if isinstance(value, dict) else value
        for name, value in card["options"].items()
    }
    options["encoder"] = _encoder(card["encoder"], path) if encoder is None else encoder
    if options["encoder"].fingerprint() != card["encoder"]["fingerprint"]:
        msg = (
            f"{str(path)!r} was fitted with the weights {card['encoder']['weights_id']!r} of "
            f"{card['encoder']['model']!r}, which encoder={options['encoder']!r} has not: give "
            "that encoder, or fit again"
        )
        raise ValueError(msg)
    return options, SegmentModel.from_arrays(card["method"], arrays)


def _encoder(wanted, path):
    from astrofractal.encoder import FractalEncoder

    name = wanted["weights_id"]
    try:
        if name.startswith("random-"):
            seed = int(name.removeprefix("random-"))
            return FractalEncoder(wanted["model"], weights="random", random_state=seed)
        return FractalEncoder(wanted["model"])
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        msg = (
            f"{str(path)!r} was fitted with the weights {name!r} of {wanted['model']!r}, which are "
            "not bundled: give encoder="
        )
        raise ValueError(msg) from error
