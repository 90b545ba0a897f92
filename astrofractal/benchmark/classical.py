"""Classical masses as features: a physical estimate in nested apertures."""

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from sklearn.base import BaseEstimator, RegressorMixin

from astrofractal.gasmap.gas_moments import CHANNELS, STANDARD_WIDTH
from astrofractal.mass import aperture_mass, virial_mass

__all__ = ["BestRadius", "ClassicalMasses"]

_MASSES = {"virial": virial_mass, "aperture": aperture_mass}


@dataclass(frozen=True)
class ClassicalMasses:
    """
    log10 of a classical mass in several apertures.

    Parameters
    ----------
    kind : {"virial", "aperture"}
        The estimate.

    radii : tuple of float, optional
        The radii of the apertures in pixels.
    """

    kind: str
    radii: tuple = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
    pooling = ()

    def __str__(self):
        return f"{self.kind} masses, {len(self.radii)} radii"

    def compute(self, images, channels, *, encoded=None):
        """
        Compute the masses of maps of the standard width.

        Parameters
        ----------
        images : 4D `~numpy.ndarray`
            The model's channels.

        channels : tuple of str
            The channels to use.

        encoded : None
            There is no encoder.

        Returns
        -------
        log_masses : 2D `~numpy.ndarray`, shape (n_maps, n_radii)
            log10 of the masses in solar masses.

        blocks : None
            The numbers are not to be scaled: they are masses.
        """
        if self.kind == "virial" and set(channels) != set(CHANNELS):
            msg = f"a virial mass needs velocities and dispersions, got the channels {channels}"
            raise ValueError(msg)
        scale = STANDARD_WIDTH / images.shape[-1]
        masses = [_MASSES[self.kind](images, scale, radius=r * scale) for r in self.radii]
        found = np.log10(np.maximum(u.Quantity(masses).to_value(u.solMass).T, 1e-6))
        return np.nan_to_num(found, nan=np.nanmean(found)), None


class BestRadius(RegressorMixin, BaseEstimator):
    """One classical mass times a constant: the aperture and the constant that fit best."""

    def fit(self, X, y, sample_weight=None, groups=None):
        """Choose the column of least scatter about ``y``, and the mean difference."""
        difference = np.asarray(y)[:, None] - X
        offset = np.average(difference, axis=0, weights=sample_weight)
        error = np.average((difference - offset) ** 2, axis=0, weights=sample_weight)
        self.best_ = int(np.argmin(error))
        self.offset_ = float(offset[self.best_])
        return self

    def predict(self, X):
        """Return the chosen column and the constant."""
        return np.asarray(X)[:, self.best_] + self.offset_
