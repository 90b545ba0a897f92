"""Masses of protostars from gas maps, with intervals, flags and catalogs.

The names are imported on first use: to read positions or to write a catalog needs no network.
"""

from astrofractal._utils.optional import lazy_names
from astrofractal.mass.measures import aperture_mass, appearance, radial_profiles, virial_mass

__all__ = [
    "PRIORS",
    "REGRESSORS",
    "AveragedRegressor",
    "Calibration",
    "Evaluation",
    "FeatureSet",
    "FineTuned",
    "GroupRidge",
    "KernelRidgeRegression",
    "NoSkillWarning",
    "Prior",
    "StellarMassEstimator",
    "aperture_contrasts",
    "aperture_mass",
    "appearance",
    "fine_tune",
    "make_regressor",
    "plot_explanation",
    "radial_profiles",
    "virial_mass",
]

_HOMES = {
    "AveragedRegressor": "astrofractal.mass.regressors",
    "Calibration": "astrofractal.mass.calibration",
    "Evaluation": "astrofractal.mass.evaluation",
    "FeatureSet": "astrofractal.mass.features",
    "FineTuned": "astrofractal.mass.fine_tuning",
    "GroupRidge": "astrofractal.mass.regressors",
    "KernelRidgeRegression": "astrofractal.mass.regressors",
    "NoSkillWarning": "astrofractal.mass.calibration",
    "PRIORS": "astrofractal.mass.weights",
    "Prior": "astrofractal.mass.weights",
    "REGRESSORS": "astrofractal.mass.regressors",
    "StellarMassEstimator": "astrofractal.mass.estimator",
    "aperture_contrasts": "astrofractal.mass.features",
    "fine_tune": "astrofractal.mass.fine_tuning",
    "make_regressor": "astrofractal.mass.regressors",
    "plot_explanation": "astrofractal.mass.explanation",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
