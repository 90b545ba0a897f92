"""Frames of the sky as files name them: COOSYS, RADESYS and EQUINOX, DS9, CASA, names of columns."""

import re

from astropy.coordinates import FK4, FK5, ICRS, BarycentricMeanEcliptic, Galactic, Supergalactic
from astropy.time import Time

_MENTIONS = {
    "fk4": r"fk4|\bb1950|\(1950|equinox\W*1950|\b1950\.0\b",
    "galactic": r"\bgalactic\b|\bglon\b",
    "ecliptic": r"\becliptic\b",
    "icrs": r"icrs|fk5|j2000|\(2000|equinox\W*2000|\b2000\.0\b|gaia",
}


def frame_of(system=None, equinox=None, epoch=None):
    """Return the frame of a coordinate system, an equinox or both; `None` if neither is given."""
    # equinox: "B1950", "J2000", "1950.0" or 1950.0; without a prefix Besselian before 1984
    name = re.sub(r"[^a-z0-9]", "", str(system or "").lower())
    name = name.removeprefix("eq")
    if not name and equinox is None:
        return None
    year = None if equinox is None else _time(equinox)
    if not name:
        name = "fk4" if year.byear < 1984 else "fk5"
    if name in ("icrs", "icrf", "barycentric", "gaia"):
        return ICRS()
    if name in ("fk4", "fk4noe", "b1950", "b1950vla"):
        options = {} if year is None else {"equinox": year}
        return FK4(**options, **({} if epoch is None else {"obstime": _time(epoch)}))
    if name in ("fk5", "j2000", "jmean"):
        return FK5() if year is None else FK5(equinox=year)
    if name in ("galactic", "gal", "lii"):
        return Galactic()
    if name in ("supergalactic", "supergal"):
        return Supergalactic()
    if name in ("ecliptic", "ecl", "eclfk5", "eclfk4"):
        default = Time("B1950" if name == "eclfk4" else "J2000")
        return BarycentricMeanEcliptic(equinox=default if year is None else year)
    msg = f"the coordinate system {system!r} is not supported: use ICRS, FK5, FK4 or galactic"
    raise ValueError(msg)


def _time(text):
    """Return a Besselian or Julian year."""
    text = str(text).strip().upper()
    number = text.lstrip("BJ")
    year = float(number) if re.fullmatch(r"\d+\.?\d*", number) else 0.0
    if not 1800 <= year <= 2100:
        msg = f"equinox or epoch must be a year such as J2000, between 1800 and 2100, got {text!r}"
        raise ValueError(msg)
    is_besselian = text[0] == "B" or (text[0] != "J" and year < 1984)
    return Time(year, format="byear" if is_besselian else "jyear", scale="tt")


def mentioned_frame(texts):
    """Return the name of the one frame that texts mention, or `None`."""
    text = " ".join(texts).lower()
    found = [name for name, pattern in _MENTIONS.items() if re.search(pattern, text)]
    return found[0] if len(found) == 1 and found[0] != "icrs" else None
