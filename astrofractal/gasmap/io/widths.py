"""What a map of line widths holds by its header: standard deviations, FWHM, variances."""

import re
from pathlib import Path

from astropy import units as u

from astrofractal._utils.validation import warn

__all__ = ["header_kind"]

#: Words for each kind of width, the clearest first.
_WORDS = {
    "fwhm": r"fwhm|full.?width|half.?max",
    "doppler": r"doppler|b.?parameter|b.?value",
    "variance": r"varian|squared",
    "sigma": r"dispersion|sigma|standard.?dev",
    "unclear": r"line.?width|velocity.?width",
}

#: Cards that name what an image holds.
_NAMES = re.compile(r"EXTNAME|BTYPE|OBJTYPE|DATATYPE|QUANTITY|CTYPE\d|TTYPE\d")

#: Lines of HISTORY on the width of a line, and on that of a beam.
_LINE = re.compile(r"line|veloc|width map|km\s*/\s*s", re.I)
_BEAM = re.compile(r"beam|resol|smooth|convol|psf|arcsec|kernel", re.I)


def header_kind(channel):
    """Return the kind of the widths of a channel by the header in its meta, or `None` for sigma."""
    meta = channel.meta or {}
    kind, text = _stated_kind(meta.get("header", meta), Path(meta.get("file") or "").stem)
    if kind == "unclear":
        msg = (
            f"the dispersions are called a line width ({text}), and are taken as standard "
            "deviations: give dispersion_kind='fwhm' if they are FWHM"
        )
        warn(msg)
    if kind in ("sigma", "unclear"):
        return None
    squared = channel.unit.is_equivalent(u.km**2 / u.s**2)
    if kind is not None and not squared:
        msg = (
            f"the dispersions are a {kind.replace('fwhm', 'FWHM')} by their header ({text}), and are "
            "converted: give dispersion_kind= if they are not"
        )
        warn(msg)
    return None if squared else kind


def _stated_kind(header, stem):
    """Return the kind of width that a header states, and the text; `None` and '' without one."""
    names = [f"{key} = {header[key]!r}" for key in header if _NAMES.fullmatch(str(key))]
    if "BUNIT" in header and hasattr(header, "comments"):
        names.append(f"BUNIT / {header.comments['BUNIT']}")
    lines = [str(line) for key in ("HISTORY", "COMMENT") for line in header.get(key, ())]
    about = [line for line in lines if _LINE.search(line) and not _BEAM.search(line)]
    for texts in (names, about):
        for kind, words in _WORDS.items():
            for text in texts:
                if re.search(words, text, re.I):
                    return kind, text
    if "bettermoments" in " ".join(lines) and re.search(r"_(?:g[thg]?)?dVb?$", stem):
        return "doppler", stem
    return None, ""
