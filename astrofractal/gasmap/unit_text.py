"""Units as they are spelled in headers and by users: BUNIT of many surveys and programs."""

import re
import warnings

from astropy import units as u

__all__ = ["parse_unit"]

_LOGARITHM = re.compile(r"^(?:log_?10|log|dex)(?![a-z])\s*", re.IGNORECASE)

#: What a number of H2 per area is said to count, which is no part of the unit.
_H2 = re.compile(
    r"(?<!\w)(?:N\s*\(\s*H_?2\s*\)|N_?\{?H_?2\}?|H_?2)"
    r"(?:\s*(?:molecules?|molec|particles?)(?![a-z]))?(?![\w])"
    r"|\(\s*H_?2\s*\)|(?<![a-z])(?:molecules?|molec|particles?)(?![a-z])",
    re.IGNORECASE,
)

#: A name of the quantity before its unit, as in "N [cm-2]" or "column density (cm-2)".
_NAME = re.compile(r"^(?:N|col(?:umn|\.)?(?:[ _]?density)?|surface[ _]density)\s*(?=[\[(])", re.I)

#: A name within a logarithm, as in "log(N/cm-2)".
_NAME_IN_LOGARITHM = re.compile(r"^N(?![A-Za-z0-9])\s*")

_NUCLEI = re.compile(
    r"(?<![\w(])(?:N\s*\(\s*(?:HI?|H\s+I|H_?tot|total)\s*\)|N_?HI?|HI?|nuclei|nucleons?|atoms?)"
    r"(?![\w(])"
)

_MOLECULES = re.compile(
    r"(?<![\w^])(?:N\s*\(?\s*)?(?P<name>NH3|N2H\+|N2D\+|HCO\+|H13CO\+|HCN|HNC|CS|CCS|HC3N|H2CO|CH3OH|"
    r"C2H|SiO|SO|12CO|13CO|C18O|C17O|CO)(?![\w+])"
)

_MAGNITUDES = re.compile(
    r"^(?:magnitudes?\b|mag\b|A_?[VK]\b|A\([VK]\))[\s,\[(]*(?:mag|A_?[VK])?[\])]?$", re.I
)

_TEMPERATURE_SCALE = re.compile(
    r"\s*\(\s*T_?(?:A\*?|R\*?|MB|B)\s*\)|(?<=K)[\s_]+T_?(?:A\*?|R\*?|MB|B)(?![A-Za-z])", re.I
)

_VELOCITY_FRAME = re.compile(r"(?<=[s1])\s*\(\s*(?:LSRK?|HEL\w*|BARY\w*)\s*\)", re.I)

#: An integrated line, whose slashes and brackets astropy would read in another way.
_LINE = re.compile(
    r"^\(?(?:(?P<flux>[kmuM]?Jy)\s*/\s*\(?(?P<per>beam|bm|sr)\)?|K(?:elvin)?(?=[\s.*()]|km))\)?[\s.*]*"
    r"\(?(?P<length>k?m)\s*(?:/\s*s(?:ec)?|[\s.*]?s(?:ec)?\^?\(?-1\)?)\)?$",
    re.I,
)

_SQUARE = re.compile(r"^\(([^()]*(?:\([^()]*\)[^()]*)*)\)\s*(?:\^|\*\*)?\s*\(?2\)?$")

#: Words that are written in any case, and other names of units.
_WORDS = {
    "kelvin": "K", "k": "K", "km": "km", "m": "m", "cm": "cm", "mm": "mm", "pc": "pc", "kpc": "kpc",
    "s": "s", "sec": "s", "jy": "Jy", "beam": "beam", "bm": "beam", "sr": "sr", "hz": "Hz",
    "mag": "mag", "g": "g", "kg": "kg", "pix": "pix", "pixel": "pix", "px": "pix", "deg": "deg",
    "arcsec": "arcsec", "msun": "Msun", "msol": "Msun", "m_sun": "Msun", "m_sol": "Msun",
    "solmass": "solMass",
}  # fmt: skip


def parse_unit(text, *, name="unit", example="cm-2"):
    """Return the unit that a FITS header or a user's text means."""
    if isinstance(text, u.UnitBase | u.function.FunctionUnitBase):
        return text
    if isinstance(text, u.Quantity) and text.isscalar:
        return u.Unit(text)
    if not isinstance(text, str):
        msg = f"{name} must be a unit or its name, got {text!r}"
        raise TypeError(msg)
    plain = _plain(text)
    square = _SQUARE.match(plain)
    if square:  # of a variance
        return parse_unit(square[1], name=name, example=example) ** 2
    refused = _what_else(plain)
    logarithm, inner = _inner(plain)
    unit = _unit(inner)
    if refused or unit is None:
        if not refused:
            refused = "is not a unit that astropy reads; give the unit, as in unit=" + repr(example)
            if logarithm and not inner:
                refused = "is a logarithm without a unit: give it, as in unit='dex(cm-2)'"
        msg = f"{name} {text!r} {refused}"
        raise ValueError(msg)
    return u.dex(unit) if logarithm else unit


def _plain(text):
    """Return the text without TeX, without brackets around all of it, without a sign of times."""
    plain = text.strip().replace("^{", "^").replace("_{", "_").replace("}", "").replace("$", "")
    plain = _unwrapped(plain)
    return re.sub(r"^(?:[x×*]|\\times)\s*(?=1)", "", plain)


def _what_else(plain):
    """Say what a text counts if that is not H2, else return `None`."""
    plain = _H2.sub(" ", plain)
    molecule = _MOLECULES.search(plain)
    if molecule:
        return f"counts {molecule['name']}, not H2: give unit='cm-2' and column=Abundance(...)"
    if _NUCLEI.search(plain):
        return (
            "counts hydrogen nuclei, not H2 molecules: give half of the unit, as in "
            "unit='0.5 cm-2' (where all hydrogen is molecular)"
        )
    return None


def _inner(plain):
    """Return whether a text means a logarithm, and the text of the unit without names."""
    found = _LOGARITHM.match(plain)
    text = _H2.sub(" ", plain[found.end() :] if found else plain)
    text = _NAME.sub("", _unwrapped(text))
    if not found:
        return False, _tidy(_unwrapped(text))
    text = _NAME_IN_LOGARITHM.sub("", text)
    if text.startswith("/"):  # of a ratio to the unit
        unit = _tidy(_unwrapped(text[1:]))
        if unit and (_unit(unit) or u.one).is_equivalent(u.cm**-2):
            return True, unit
    return True, _tidy(_unwrapped(text))


def _unwrapped(text):
    """Return a text without empty brackets, and without brackets around all of it."""
    text = re.sub(r"\(\s*\)", "", text).strip()
    while True:
        inner = re.match(r"^(?:\((?P<round>.*)\)|\[(?P<square>.*)\])$", text)
        if not inner:
            return text
        inside = inner["round"] if inner["round"] is not None else inner["square"]
        if re.search(r"^[^(\[]*[)\]]", inside):  # the brackets are not one pair
            return text
        text = inside.strip()


def _tidy(text):
    """Return a unit's text with known words put as astropy reads them."""
    text = text.lstrip(" .*")  # of a product with what is counted, "H2.cm-2"
    if _MAGNITUDES.match(text.strip()):
        return "mag"
    text = _TEMPERATURE_SCALE.sub("", text)
    text = _VELOCITY_FRAME.sub("", text)
    line = _LINE.match(text.strip())
    if line:
        intensity = "K"
        if line["flux"]:
            intensity = f"{line['flux']} {line['per']}-1"
        text = f"{intensity} {line['length']} s-1"
    text = _unwrapped(text)
    text = re.sub(r"(?<=\bkm)s(?=\^?-1)|(?<=\bm)s(?=\^?-1$)", " s", text)
    return re.sub(r"^\s*/", "1/", text)


def _unit(text):
    """Return the unit of a tidy text, in its own or in the usual letters, or `None`."""
    if not text:
        return None
    for candidate in (text, _usual_letters(text)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", u.UnitsWarning)
                return u.Unit(candidate)
        except (ValueError, TypeError):
            continue
    return None


def _usual_letters(text):
    """Return a text with its words as units are usually written: JY/BEAM as Jy/beam."""
    capitals = text.upper() == text

    def usual(match):
        word = match[0]
        if not capitals and _reads(word):
            return word
        if word == "MJY":  # of mega and milli, only one is in use for each
            return "MJy" if "SR" in text else word
        return _WORDS.get(word.lower(), word)

    return re.sub(r"(?<![0-9])(?<![0-9]\.)[A-Za-z]+(?:_[A-Za-z]+)?", usual, text)


def _reads(word):
    try:
        u.Unit(word)
    except (ValueError, TypeError):
        return False
    return True
