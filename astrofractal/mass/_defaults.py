"""The default features and regressor of each combination of channels: the one home of the choice.

Chosen by leave-cloud-out cross-validation on the five clouds of the reference maps; the numbers
stand in the documentation.
"""

from .features import FeatureSet

__all__ = ["REFERENCE_SIZE", "default_recipe"]

#: The number of maps that are bundled for the calibration.
REFERENCE_SIZE = 2050

_ALL_PROFILES = (
    "column_density",
    "velocity",
    "dispersion",
    "column_density_scatter",
    "dispersion_scatter",
)

_SHARED = (FeatureSet(pooling="structure", profiles=_ALL_PROFILES), "ridge")

# Channels to (features, regressor).
_DEFAULTS = {
    ("column_density",): _SHARED,
    ("column_density", "velocity"): _SHARED,
    ("column_density", "dispersion"): _SHARED,
    ("column_density", "velocity", "dispersion"): _SHARED,
}


def default_recipe(channels):
    """
    Return the default features and regressor.

    Parameters
    ----------
    channels : tuple of str
        The channels that the maps have.

    Returns
    -------
    features : `~astrofractal.mass.FeatureSet`
        The features.

    regressor : str
        The name of the regressor.
    """
    return _DEFAULTS[channels]
