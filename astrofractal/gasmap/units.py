"""Units of gas: what becomes N(H2) in cm-2 or a velocity in km/s, and how columns become masses."""

import re
import warnings

import numpy as np
from astropy import constants as const
from astropy import units as u

#: Mass per hydrogen molecule in hydrogen atoms, for gas with 71 % hydrogen, 27 % helium and 2 %
#: metals by mass (Kauffmann et al. 2008, A&A 487, 993).
H2_MEAN_MOLECULAR_WEIGHT = 2.8

_COLUMN = u.cm**-2
_VELOCITY = u.km / u.s
HYDROGEN_MASS = const.m_p + const.m_e


def column_to_mass(column_density: u.Quantity, area: u.Quantity) -> u.Quantity:
    """
    Return the mass of gas behind an area of the sky.

    The mass is :math:`M = \\mu_{\\mathrm{H}_2} m_\\mathrm{H} N(\\mathrm{H}_2) A` with
    :math:`\\mu_{\\mathrm{H}_2} = 2.8` (``H2_MEAN_MOLECULAR_WEIGHT``), helium and metals included.

    Parameters
    ----------
    column_density : `~astropy.units.Quantity`
        Column density: N(H2) (e.g. cm-2) or mass per area (e.g. g/cm2, Msun/pc2).
    area : `~astropy.units.Quantity`
        Area, e.g. in pc2; broadcast against ``column_density``.

    Returns
    -------
    mass : `~astropy.units.Quantity`
        Mass in solMass, one value for each of ``column_density``.
    """
    column = to_column_density(column_density, name="column_density")
    area = u.Quantity(area).to(u.cm**2)
    return (column * area * H2_MEAN_MOLECULAR_WEIGHT * HYDROGEN_MASS).to(u.solMass)


def to_column_density(quantity, *, name="column_density"):
    """Return a quantity as N(H2) in cm-2."""
    if isinstance(quantity.unit, u.function.FunctionUnitBase):
        quantity = quantity.physical
    if quantity.unit.is_equivalent(_COLUMN):
        return quantity.to(_COLUMN)
    if quantity.unit.is_equivalent(u.kg * _COLUMN):
        return (quantity / (H2_MEAN_MOLECULAR_WEIGHT * HYDROGEN_MASS)).to(_COLUMN)
    got = f"the unit {_text(quantity.unit)!r}{_remedy(quantity.unit)}"
    msg = f"{name} must be a column density such as cm-2, g/cm2 or Msun/pc2, got {got}"
    raise u.UnitConversionError(msg)


def to_velocity(quantity, *, name="velocity"):
    """Return a quantity in km/s."""
    if quantity.unit.is_equivalent(_VELOCITY):
        return quantity.to(_VELOCITY)
    hint = ""
    if quantity.unit.is_equivalent(_VELOCITY**2):
        hint = "; a map of variances (moment 2) needs dispersion_kind='variance'"
    msg = f"{name} must be a velocity such as km/s, got the unit {_text(quantity.unit)!r}{hint}"
    raise u.UnitConversionError(msg)


def logarithmic(values):
    """Return whether positive numbers called cm-2 look like log10 of a column density."""
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return False
    low, high = np.quantile(values, [0.02, 0.98])
    return bool(10 <= low and high <= 30)


def typical(values):
    """Return the median of the numbers that are finite and positive; NaN without any."""
    good = values[np.isfinite(values) & (values > 0)]
    return float(np.median(good)) if good.size else np.nan


def _text(unit):
    return unit.to_string() or "dimensionless"


def _remedy(unit):
    """Say which argument converts what is no column density but often stands for one."""
    if unit == u.mag:
        return "; extinction needs column=Extinction(...), N(H2) per magnitude"
    if any(unit.is_equivalent(line * u.km / u.s) for line in (u.K, u.Jy, u.Jy / u.beam)):
        return "; integrated intensity needs column=XFactor(...), N(H2) per intensity"
    if any(unit.is_equivalent(u.Jy / per) for per in (u.sr, u.beam, u.pix, u.one)):
        return "; dust continuum needs column=DustEmission(...), its temperature and opacity"
    if unit.is_equivalent(u.km / u.s):
        return "; give a column density, and a velocity as velocity= or as dispersion="
    if unit == u.one:
        return "; say which with unit="
    return ""


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
    r"(?:magnitudes?\b|mag\b|A_?[VK]\b|A\([VK]\))[\s,\[(]*(?:mag|A_?[VK])?[\])]?", re.I
)

#: What is added to a unit, and is no part of it: the scale of a temperature, the frame of velocities.
_ADDED = re.compile(
    r"\s*\(\s*T_?(?:A\*?|R\*?|MB|B)\s*\)|(?<=K)[\s_]+T_?(?:A\*?|R\*?|MB|B)(?![A-Za-z])|"
    r"(?<=[s1])\s*\(\s*(?:LSRK?|HEL\w*|BARY\w*)\s*\)",
    re.I,
)

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
        return "counts hydrogen nuclei, not H2: give half of the unit, as in unit='0.5 cm-2'"
    return None


def _inner(plain):
    """Return whether a text means a logarithm, and the text of the unit without names."""
    found = _LOGARITHM.match(plain)
    text = _H2.sub(" ", plain[found.end() :] if found else plain)
    text = _NAME.sub("", _unwrapped(text))
    if found:
        text = _NAME_IN_LOGARITHM.sub("", text)
        unit = _tidy(text[1:]) if text.startswith("/") else ""  # of a ratio to the unit
        if unit and (_unit(unit) or u.one).is_equivalent(u.cm**-2):
            return True, unit
    return bool(found), _tidy(text)


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
    text = _unwrapped(text).strip(" .*")  # of a product with what is counted, "H2.cm-2"
    if _MAGNITUDES.fullmatch(text):
        return "mag"
    text = _ADDED.sub("", text)
    line = _LINE.match(text.strip())
    if line:
        intensity = f"{line['flux']} {line['per']}-1" if line["flux"] else "K"
        text = f"{intensity} {line['length']} s-1"
    text = _unwrapped(text)
    text = re.sub(r"(?<=\bkm)s(?=\^?-1)|(?<=\bm)s(?=\^?-1$)", " s", text)
    return re.sub(r"^\s*/", "1/", text)


def _unit(text):
    """Return the unit of a tidy text, in its own or in the usual letters, or `None`."""
    if not text:
        return None
    return _read(text) or _read(_usual_letters(text))


def _read(text):
    """Return the unit that astropy reads in a text, or `None`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)
        try:
            return u.Unit(text)
        except (ValueError, TypeError):
            return None


def _usual_letters(text):
    """Return a text with its words as units are usually written: JY/BEAM as Jy/beam."""
    capitals = text.upper() == text

    def usual(match):
        word = match[0]
        if not capitals and _read(word):
            return word
        if word == "MJY":  # of mega and milli, only one is in use for each
            return "MJy" if "SR" in text else word
        return _WORDS.get(word.lower(), word)

    return re.sub(r"(?<![0-9])(?<![0-9]\.)[A-Za-z]+(?:_[A-Za-z]+)?", usual, text)
