"""
Masses of protostars from gas maps, with intervals, flags and catalogs.

The names are imported on first use: to read positions or to write a catalog needs no network.
"""

from astrofractal._utils.lazy import lazy_names
from astrofractal.mass.appearance import appearance

__all__ = [
    "PRIORS",
    "REGRESSORS",
    "AveragedRegressor",
    "Calibration",
    "Comparison",
    "Evaluation",
    "FeatureSet",
    "FineTuned",
    "GroupRidge",
    "KernelRidgeRegression",
    "KernelSVR",
    "MeanRegressor",
    "NoSkillWarning",
    "Prior",
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
    "plot_catalog",
    "plot_intervals",
    "radial_profiles",
    "virial_mass",
    "write_catalog",
    "write_regions",
]

_HOMES = {
    "AveragedRegressor": "astrofractal.mass.regressors",
    "Calibration": "astrofractal.mass.calibration",
    "Comparison": "astrofractal.mass.comparison",
    "Evaluation": "astrofractal.mass.evaluation",
    "FeatureSet": "astrofractal.mass.features",
    "FineTuned": "astrofractal.mass.fine_tuning",
    "GroupRidge": "astrofractal.mass.regressors",
    "KernelRidgeRegression": "astrofractal.mass.regressors",
    "KernelSVR": "astrofractal.mass.regressors",
    "MeanRegressor": "astrofractal.mass.regressors",
    "NoSkillWarning": "astrofractal.mass.calibration",
    "PRIORS": "astrofractal.mass.priors",
    "Prior": "astrofractal.mass.priors",
    "PublishedKNN": "astrofractal.mass.neighbors",
    "REGRESSORS": "astrofractal.mass.regressors",
    "StellarMassEstimator": "astrofractal.mass.estimator",
    "TrunkViews": "astrofractal.mass.fine_tuning",
    "aperture_contrasts": "astrofractal.mass.contrasts",
    "aperture_mass": "astrofractal.mass.classical",
    "channel_statistics": "astrofractal.mass.profiles",
    "combine": "astrofractal.mass.combining",
    "combine_estimates": "astrofractal.mass.combining",
    "compare": "astrofractal.mass.comparison",
    "find_protostars": "astrofractal.mass.detection",
    "fine_tune": "astrofractal.mass.fine_tuning",
    "make_regressor": "astrofractal.mass.regressors",
    "physical_scalars": "astrofractal.mass.profiles",
    "plot_catalog": "astrofractal.mass.plotting",
    "plot_intervals": "astrofractal.mass.plotting",
    "radial_profiles": "astrofractal.mass.profiles",
    "virial_mass": "astrofractal.mass.classical",
    "write_catalog": "astrofractal.mass.catalog_files",
    "write_regions": "astrofractal.mass.catalog_files",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
