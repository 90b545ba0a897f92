"""Masses of protostars from gas maps, with intervals, flags and catalogues."""

from .appearance import appearance
from .calibration import Calibration, NoSkillWarning
from .catalog import find_protostars, write_catalog, write_regions
from .estimator import Evaluation, StellarMassEstimator
from .features import FeatureSet
from .handcrafted import (
    aperture_mass,
    moments,
    physical_scalars,
    radial_profiles,
    virial_mass,
)
from .regressors import REGRESSORS, make_regressor

__all__ = [
    "REGRESSORS",
    "Calibration",
    "Evaluation",
    "FeatureSet",
    "NoSkillWarning",
    "StellarMassEstimator",
    "aperture_mass",
    "appearance",
    "find_protostars",
    "make_regressor",
    "moments",
    "physical_scalars",
    "radial_profiles",
    "virial_mass",
    "write_catalog",
    "write_regions",
]
