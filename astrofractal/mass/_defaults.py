"""The default features and regressor of each combination of channels: the one home of the choice.

Chosen by leave-cloud-out cross-validation on the five clouds of the reference maps; the numbers
stand in the documentation.
"""

from astrofractal.mass.features import FeatureSet

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

#: The magnification at which the two pixels around a protostar fill one patch of the encoder.
_ZOOM = 4.0

_WITH_VELOCITIES = (
    FeatureSet(pooling="structure", zoom=_ZOOM, profiles=_ALL_PROFILES),
    "ridge+svr",
)

# Channels to (features, regressor).
_DEFAULTS = {
    ("column_density",): (
        FeatureSet(pooling="central+spread", zoom=_ZOOM, profiles=_ALL_PROFILES),
        "svr",
    ),
    ("column_density", "velocity"): _WITH_VELOCITIES,
    ("column_density", "dispersion"): _WITH_VELOCITIES,
    ("column_density", "velocity", "dispersion"): _WITH_VELOCITIES,
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
