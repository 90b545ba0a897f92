"""Units of gas: what counts as a column density or a velocity, and how columns become masses.

Everything inside astrofractal is N(H2) in cm-2 and km/s.  The conversions live here and nowhere
else.
"""

from __future__ import annotations

import numpy as np
from astropy import constants as const
from astropy import units as u

__all__ = [
    "H2_MEAN_MOLECULAR_WEIGHT",
    "column_to_mass",
    "to_column_density",
    "to_velocity",
]

#: Mean molecular weight per hydrogen molecule, mu(H2), for gas with 71 % hydrogen, 27 % helium and
#: 2 % metals by mass (Kauffmann et al. 2008, A&A 487, 993).  The mass of one "H2 particle" is this
#: times the mass of the hydrogen atom.
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

    Examples
    --------
    >>> from astropy import units as u
    >>> from astrofractal.gasmap import column_to_mass
    >>> print(f"{column_to_mass(1e22 / u.cm**2, 0.01 * u.pc**2):.2f}")
    2.24 solMass
    """
    column = to_column_density(column_density, name="column_density")
    area = u.Quantity(area).to(u.cm**2)
    return (column * area * H2_MEAN_MOLECULAR_WEIGHT * HYDROGEN_MASS).to(u.solMass)


def to_column_density(quantity, *, name="column_density"):
    """Return a quantity as N(H2) in cm-2."""
    if isinstance(quantity.unit, u.function.FunctionUnitBase):
        quantity = quantity.physical
    for scale in (1, 1 / (H2_MEAN_MOLECULAR_WEIGHT * HYDROGEN_MASS)):
        product = quantity.unit * getattr(scale, "unit", u.one)
        if product.is_equivalent(_COLUMN):
            factor = product.to(_COLUMN) * getattr(scale, "value", scale)
            return (quantity.value * factor) << _COLUMN
    msg = (
        f"{name} must be a column density such as cm-2 (N(H2)), g/cm2 or Msun/pc2, got the unit "
        f"{_text(quantity.unit)!r}{_remedy(quantity.unit)}"
    )
    raise u.UnitConversionError(msg)


def to_velocity(quantity, *, name="velocity"):
    """Return a quantity in km/s."""
    try:
        return quantity.to(_VELOCITY)
    except u.UnitConversionError:
        pass
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
