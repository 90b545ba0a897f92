"""Masses of protostars from gas maps, with intervals, flags and catalogs."""

from astrofractal.mass.appearance import appearance
from astrofractal.mass.calibration import Calibration, NoSkillWarning
from astrofractal.mass.catalog import find_protostars, write_catalog, write_regions
from astrofractal.mass.compare import Comparison, compare
from astrofractal.mass.estimator import Evaluation, StellarMassEstimator
from astrofractal.mass.features import FeatureSet
from astrofractal.mass.handcrafted import (
    aperture_mass,
    moments,
    physical_scalars,
    radial_profiles,
    virial_mass,
)
from astrofractal.mass.regressors import REGRESSORS, make_regressor

__all__ = [
    "REGRESSORS",
    "Calibration",
    "Comparison",
    "Evaluation",
    "FeatureSet",
    "NoSkillWarning",
    "StellarMassEstimator",
    "aperture_mass",
    "appearance",
    "compare",
    "find_protostars",
    "make_regressor",
    "moments",
    "physical_scalars",
    "radial_profiles",
    "virial_mass",
    "write_catalog",
    "write_regions",
]
