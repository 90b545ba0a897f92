"""Masses of protostars from gas maps, with intervals, flags and catalogs.

The names are imported on first use: to read positions or to write a catalog needs no network.
"""

from astrofractal._utils.optional import lazy_names

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
    "aperture_mass": "astrofractal.mass.measures",
    "appearance": "astrofractal.mass.measures",
    "fine_tune": "astrofractal.mass.fine_tuning",
    "make_regressor": "astrofractal.mass.regressors",
    "plot_explanation": "astrofractal.mass.explanation",
    "radial_profiles": "astrofractal.mass.measures",
    "virial_mass": "astrofractal.mass.measures",
}

__all__ = list(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
