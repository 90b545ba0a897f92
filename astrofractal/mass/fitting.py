"""Fitting: from maps of known masses to the calibration of each combination of channels."""

from dataclasses import dataclass

import numpy as np
from astropy import units as u

from astrofractal._utils.identity import fingerprint
from astrofractal._utils.validation import one_of
from astrofractal.mass.appearance import appearance
from astrofractal.mass.calibration import Calibration
from astrofractal.mass.features import CHANNEL_SETS, channels_of, keep_channels

__all__ = ["References", "fit_calibrations", "log_solar"]

_LEAST_MAPS = 10


def log_solar(masses):
    """
    Return the decimal logarithms of masses in solar masses.

    Parameters
    ----------
    masses : `~astropy.units.Quantity`
        Finite and positive.

    Returns
    -------
    log_masses : 1D `~numpy.ndarray`
        The logarithms.

    Raises
    ------
    TypeError, `~astropy.units.UnitConversionError`, ValueError
        If they are not a quantity, not of mass, or not positive.
    """
    if not isinstance(masses, u.Quantity):
        msg = f"masses must be a Quantity such as [0.3, 2] * u.solMass, got {type(masses).__name__}"
        raise TypeError(msg)
    if not masses.unit.is_equivalent(u.solMass):
        msg = f"masses must be in units of mass, got {masses.unit}"
        raise u.UnitConversionError(msg)
    values = np.atleast_1d(masses.to_value(u.solMass)).astype(float)
    if not (np.isfinite(values) & (values > 0)).all():
        msg = "masses must be finite and positive"
        raise ValueError(msg)
    return np.log10(values)


@dataclass(frozen=True)
class References:
    """
    Maps of known masses.

    Parameters
    ----------
    images : 4D float32 `~numpy.ndarray`, shape (n_maps, 3, ny, nx)
        The model's channels.

    log_masses : 1D `~numpy.ndarray`
        log10 masses.

    groups, protostars : array-like or None
        The cloud and the protostar of each map.

    represents : 1D `~numpy.ndarray` or None
        How many maps each map stands for.

    Raises
    ------
    ValueError
        If they are too few, or not of one length.
    """

    images: np.ndarray
    log_masses: np.ndarray
    groups: object = None
    protostars: object = None
    represents: np.ndarray | None = None

    def __post_init__(self):
        n = len(self.images)
        if n < _LEAST_MAPS:
            msg = f"maps must be at least {_LEAST_MAPS} for a calibration, got {n}"
            raise ValueError(msg)
        given = {"masses": self.log_masses, "groups": self.groups, "protostars": self.protostars}
        for name, values in given.items():
            if values is not None and len(values) != n:
                msg = f"{name} must have one entry per map, got {len(values)} for {n}"
                raise ValueError(msg)

    @property
    def id(self):
        """The number and the digest of the maps (`str`)."""
        values = (np.asarray(self.images, np.float32), self.log_masses.astype(np.float32))
        return f"{len(self.images)}maps-{fingerprint(*values, self.represents)[:8]}"


def fit_calibrations(reference, options, *, channels, encoder, progress_bar):
    """
    Calibrate on maps of known masses, once for each combination of channels.

    Parameters
    ----------
    reference : `References`
        The maps.

    options : callable
        Takes a combination of channels and returns what
        `~astrofractal.mass.defaults.options_for` does.

    channels : list of tuple of str or None
        The combinations; by default all that every map has.

    encoder : `~astrofractal.FractalEncoder` or None
        For features that need it.

    progress_bar : bool or callable
        Whether to show progress.

    Returns
    -------
    calibrations : dict
        The `~astrofractal.mass.Calibration` of each combination.
    """
    images = reference.images
    common = set.intersection(*(set(found) for found in set(channels_of(images))))
    if channels is None:
        channels = [c for c in CHANNEL_SETS if common.issuperset(c)]
    calibrations = {}
    for wanted in map(tuple, channels):
        one_of("channels", wanted, CHANNEL_SETS)
        if not common.issuperset(wanted):
            absent = ", ".join(c for c in wanted if c not in common)
            msg = f"channels {wanted} cannot be calibrated: not all maps have {absent}"
            raise ValueError(msg)
        features, *others = options(wanted)
        X, blocks = features.compute(images, wanted, encoder=encoder, progress_bar=progress_bar)
        calibrations[wanted] = Calibration(wanted, features, *others).fit(
            X,
            reference.log_masses,
            blocks=blocks,
            appearance=appearance(keep_channels(images, wanted)),
            groups=reference.groups,
            protostars=reference.protostars,
            represents=reference.represents,
        )
    return calibrations
