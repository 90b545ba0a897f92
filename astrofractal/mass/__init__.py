"""Masses of protostars from gas maps, with intervals, flags and catalogs."""

from astrofractal.mass.appearance import appearance
from astrofractal.mass.calibration import Calibration, NoSkillWarning
from astrofractal.mass.catalog_files import write_catalog, write_regions
from astrofractal.mass.classical import aperture_mass, virial_mass
from astrofractal.mass.combining import combine, combine_estimates
from astrofractal.mass.compare import Comparison, compare
from astrofractal.mass.contrasts import aperture_contrasts
from astrofractal.mass.detection import find_protostars
from astrofractal.mass.estimator import StellarMassEstimator
from astrofractal.mass.evaluation import Evaluation
from astrofractal.mass.features import FeatureSet
from astrofractal.mass.fine_tuning import FineTuned, TrunkViews, fine_tune
from astrofractal.mass.neighbors import PublishedKNN
from astrofractal.mass.profiles import channel_statistics, physical_scalars, radial_profiles
from astrofractal.mass.regressors import (
    REGRESSORS,
    AveragedRegressor,
    GroupRidge,
    KernelSVR,
    MeanRegressor,
    make_regressor,
)

__all__ = [
    "REGRESSORS",
    "AveragedRegressor",
    "Calibration",
    "Comparison",
    "Evaluation",
    "FeatureSet",
    "FineTuned",
    "GroupRidge",
    "KernelSVR",
    "MeanRegressor",
    "NoSkillWarning",
    "PublishedKNN",
    "StellarMassEstimator",
    "TrunkViews",
    "aperture_contrasts",
    "aperture_mass",
    "appearance",
    "channel_statistics",
    "combine",
    "combine_estimates",
    "compare",
    "find_protostars",
    "fine_tune",
    "make_regressor",
    "physical_scalars",
    "radial_profiles",
    "virial_mass",
    "write_catalog",
    "write_regions",
]
