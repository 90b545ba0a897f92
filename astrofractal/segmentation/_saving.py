"""Fitted segmenters on disk."""

from astropy import units as u

from astrofractal._utils.archive import read_archive, write_archive
from astrofractal._utils.reading import reading
from astrofractal.segmentation._model import SegmentModel

__all__ = ["read_segmenter", "write_segmenter"]

_VERSION = "segmenter-2"


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
    from astrofractal.encoder import describe_encoder

    plain = {
        name: {"value": value.value, "unit": value.unit.to_string()}
        if isinstance(value, u.Quantity)
        else getattr(value, "item", lambda value=value: value)()
        for name, value in options.items()
    }
    card = {
        "options": plain,
        "method": model.clusters.method,
        "encoder": describe_encoder(encoder),
    }
    write_archive(path, model.arrays(), card, version=_VERSION, overwrite=overwrite)


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
    from astrofractal.encoder import find_encoder

    arrays, card = read_archive(path, version=_VERSION, what="a segmenter", remedy="fit it again")
    with reading(path):
        options = {
            name: value["value"] * u.Unit(value["unit"]) if isinstance(value, dict) else value
            for name, value in card["options"].items()
        }
        options["encoder"] = find_encoder(
            card["encoder"], path, encoder, made="fitted", remedy="fit again"
        )
        return options, SegmentModel.from_arrays(card["method"], arrays)
