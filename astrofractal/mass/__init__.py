"""Masses of protostars from gas maps, with intervals, flags and catalogues."""

from .calibration import Calibration, NoSkillWarning
from .catalog import find_protostars
from .estimator import StellarMassEstimator
from .features import FeatureSet
from .regressors import REGRESSORS, make_regressor

__all__ = [
    "REGRESSORS",
    "Calibration",
    "FeatureSet",
    "NoSkillWarning",
    "StellarMassEstimator",
    "find_protostars",
    "make_regressor",
]
