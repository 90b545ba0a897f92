"""The default features, regressor and weights of each combination of channels: their one home."""

from astrofractal.gasmap.gas_moments import CHANNELS
from astrofractal.mass.features import FeatureSet

__all__ = ["default_options"]

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
