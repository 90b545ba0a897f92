"""The default features, regressor and weights of each combination of channels: their one home."""

from astrofractal.mass.features import FeatureSet

__all__ = ["REFERENCE_SIZE", "default_recipe"]

#: The number of maps that are bundled for the calibration.
REFERENCE_SIZE = 2050

_REGRESSOR = ("ridge", "svr")
_WEIGHT_EXPONENT = 0.5

_WITH_VELOCITIES = FeatureSet(pooling="structure", symmetrize=False, profiles="all")

_FEATURES = {
    ("column_density",): FeatureSet(symmetrize=False, profiles="all"),
    ("column_density", "velocity"): _WITH_VELOCITIES,
    ("column_density", "dispersion"): _WITH_VELOCITIES,
    ("column_density", "velocity", "dispersion"): _WITH_VELOCITIES,
}


def default_recipe(channels):
    """
    Return the default features, regressor and weights.

    Parameters
    ----------
    channels : tuple of str
        The channels that the maps have.

    Returns
    -------
    features : `~astrofractal.mass.FeatureSet`
        The features.

    regressor : tuple of str
        The names of the regressors whose predictions are averaged.

    weight_exponent : float
        See `~astrofractal.mass.Calibration`.
    """
    return _FEATURES[channels], _REGRESSOR, _WEIGHT_EXPONENT
