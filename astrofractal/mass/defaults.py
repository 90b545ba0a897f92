"""The options of a calibration: checked, and their defaults for each combination of channels."""

from astrofractal._utils.validation import at_least
from astrofractal.gasmap.gas_moments import CHANNELS
from astrofractal.mass.features import FeatureSet, for_encoder
from astrofractal.mass.priors import as_prior
from astrofractal.mass.regressors import make_regressor

__all__ = ["check_options", "default_options", "options_for"]

_WEIGHT_EXPONENT = 0.5
_CONTRASTS = FeatureSet(pooling=("central", "spread"), contrasts=True)
_PROFILES = FeatureSet(pooling=("central", "spread"), profiles="all")

# Channels to (features, regressor).
_DEFAULTS = {
    ("column_density",): (_CONTRASTS, ("ridge", "svr")),
    ("column_density", "velocity"): (_PROFILES, ("ridge", "svr")),
    ("column_density", "dispersion"): (_CONTRASTS, "svr"),
    CHANNELS: (_CONTRASTS, "svr"),
}


def default_options(channels):
    """
    Return the default features, regressor and weights.

    They were chosen by cross-validation over ten clouds; the numbers stand in the documentation.

    Parameters
    ----------
    channels : tuple of str
        The channels that the maps have.

    Returns
    -------
    features : `~astrofractal.mass.FeatureSet`
        The features.

    regressor : str or tuple of str
        The name of the regressor, or of several whose predictions are averaged.

    weight_exponent : float
        See `~astrofractal.mass.Calibration`.
    """
    return *_DEFAULTS[channels], _WEIGHT_EXPONENT


def check_options(*, encoder, features, regressor, weight_exponent, prior):
    """
    Refuse options that an estimator cannot have.

    Parameters
    ----------
    encoder, features, regressor, weight_exponent, prior
        As `~astrofractal.StellarMassEstimator` takes them; `None` is fine.

    Raises
    ------
    TypeError, ValueError
        If one is not what it should be; the message names it.
    """
    if features is not None and not isinstance(features, FeatureSet):
        msg = f"features must be a FeatureSet, got {type(features).__name__}"
        raise TypeError(msg)
    if encoder is not None and not hasattr(encoder, "encode"):
        msg = f"encoder must be a FractalEncoder, got {type(encoder).__name__}"
        raise TypeError(msg)
    if weight_exponent is not None:
        at_least("weight_exponent", weight_exponent, 0)
    if regressor is not None:
        make_regressor(regressor)
    as_prior(prior)


def options_for(channels, *, encoder, features, regressor, weight_exponent, prior):
    """
    Return the options of one calibration: those that are given, defaults for the others.

    Parameters
    ----------
    channels : tuple of str
        The channels that the maps have.

    encoder, features, regressor, weight_exponent, prior
        As `~astrofractal.StellarMassEstimator` takes them.

    Returns
    -------
    features, regressor, weight_exponent, prior
        As `~astrofractal.mass.Calibration` takes them.
    """
    found, head, exponent = default_options(channels)
    if features is not None:
        found = features
    elif encoder is not None:
        found = for_encoder(found, encoder)
    return (
        found,
        head if regressor is None else regressor,
        exponent if weight_exponent is None else weight_exponent,
        as_prior(prior),
    )
