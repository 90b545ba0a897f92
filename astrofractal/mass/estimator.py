"""`StellarMassEstimator`: gas maps in, masses of the protostars in them out."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence, Sized
from functools import cached_property
from typing import Any, Self

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData
from astropy.table import QTable, Table
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

import astrofractal
from astrofractal._utils.annotations import MapSource, PathLike, Positions, ProgressBar
from astrofractal._utils.identity import Options, fingerprint
from astrofractal._utils.progress import one_blas_thread, progress
from astrofractal._utils.validation import at_least, one_of, warn
from astrofractal.catalogs.columns import carry, channel_code, check_level, describe, measured
from astrofractal.catalogs.detection import (
    check_detection,
    find_protostars,
    is_off_center,
    peak_offset,
)
from astrofractal.catalogs.positions import Places, nothing_to_measure, resolve_positions, to_icrs
from astrofractal.data import data_path
from astrofractal.encoder import FractalEncoder
from astrofractal.gasmap import GasMap
from astrofractal.gasmap.moments import CHANNEL_SETS, STANDARD_SHAPE
from astrofractal.mapset import MapSet, reference_maps
from astrofractal.mass.calibration import (
    Calibration,
    default_options,
    fit_calibrations,
    log_solar,
    reference_id,
)
from astrofractal.mass.evaluation import Evaluation, evaluate_batch, warn_of_doubts
from astrofractal.mass.explanation import find_analogs, measure_sensitivity
from astrofractal.mass.features import FeatureSet
from astrofractal.mass.files import read_calibrations, write_calibrations
from astrofractal.mass.matching import (
    as_telescope,
    describe_choice,
    expected_score,
    match,
    unlike_references,
)
from astrofractal.mass.regressors import make_regressor, takes_weights
from astrofractal.mass.standard import BATCH_SIZE, at_distance, is_single, standard_batches
from astrofractal.mass.weights import Prior, as_prior
from astrofractal.observing import Telescope

#: What shifts many masses together, with the bundled calibration (docs/research/studies.rst).
_SYSTEMATIC = (
    "twice the column density: -0.08 dex (median); the sky rotated by other than multiples of 90 deg: "
    "0.10 dex (rms)"
)

#: Cutouts that are held in memory at a time.
_BATCH = 64


def _make_catalog(estimator, gas, positions, *, level, progress_bar, **detection):
    """Estimate the masses of the protostars of a map."""
    check_level(level)
    check_detection(detection)
    detected = positions is None  # a peak of the map is moved to that of its cutout
    if detected:
        places = Places(find_protostars(gas, **detection))
    elif detection:
        msg = f"{', '.join(detection)} are for the detection, not for given positions"
        raise ValueError(msg)
    else:
        places = resolve_positions(positions)
        reason = nothing_to_measure(gas, places.where)
        if reason is not None:
            warn(reason)
    positions, n = places.where, len(places)
    pixels = np.empty((n, 2))
    estimated, unusable, off_center, known = [], {}, set(), []
    shape = estimator.map_shape

    def maps():
        for start in range(0, n, _BATCH):
            cutouts = gas.cutouts(positions[start : start + _BATCH], shape=shape)
            if detected:
                cutouts = gas.cutouts([_moved(gas, cutout) for cutout in cutouts], shape=shape)
            for row, cutout in enumerate(cutouts, start):
                pixels[row] = cutout.meta["pixel"]
                if "outside" in cutout.flags:
                    unusable[row] = "outside"
                elif cutout.mask.all():
                    unusable[row] = "masked"
                else:
                    estimated.append(row)
                    known.append(1 - cutout.masked_fraction)
                    if is_off_center(cutout.to_array()):
                        off_center.add(row)
                    yield cutout

    result = estimator.evaluate(maps(), progress_bar=progress_bar)
    for flags, row in zip(result.flags, estimated, strict=True):
        flags += ["off-center"] if row in off_center else []
    table = result.expand(estimated, unusable).to_table(level=level, meta=estimator.meta)
    table.add_column(np.arange(1, n + 1) if places.ids is None else np.asarray(places.ids), 0, "id")
    if gas.wcs is not None:
        given = isinstance(positions, SkyCoord) and not detected
        table.add_column(to_icrs(positions if given else gas.to_sky(*pixels.T)), 1, "position")
    where = table.colnames.index("channels")
    columns = [measured(column, np.isfinite(column)) for column in pixels.T]
    table.add_columns(columns, indexes=[where, where], names=["x", "y"])
    return carry(describe(table, level), places.columns), unlike_references(gas, known)


def _moved(gas, cutout):
    """The pixel of a map where the local peak of a cutout lies."""
    shift = (0, 0) if "outside" in cutout.flags else peak_offset(cutout.to_array())
    if not any(shift):
        return cutout.meta["pixel"]
    if gas.wcs is None:
        ratio = (cutout.pixel_scale / gas.pixel_scale).to_value(u.one)
        return np.array(cutout.meta["pixel"]) + ratio * np.array(shift)
    middle = (np.array(cutout.shape[::-1]) - 1) / 2
    return np.ravel(gas.to_pixel(cutout.to_sky(*np.atleast_2d(middle + shift).T)))


class StellarMassEstimator(Options, BaseEstimator):
    """
    Estimate the masses of the protostars at the centers of gas maps.

    A regressor that was calibrated on simulated clouds estimates the mass from the features of a
    frozen encoder and from measures of the gas, following Hirashima, Nozaki & Harada 2025
    (arXiv:2510.24159).  ``StellarMassEstimator()`` is ready for use, with a bundled calibration on
    `~astrofractal.mapset.reference_maps`; with any argument it needs `fit`.

    Parameters
    ----------
    encoder : `~astrofractal.FractalEncoder`, optional
        The encoder; the bundled one by default.
    features : `~astrofractal.mass.FeatureSet`, optional
        What the maps are described by; by default tokens and contrasts.
    regressor : str, estimator or tuple of these, optional
        ``"knn"`` (of the paper: whitened principal components, five neighbors weighted by
        distance), ``"ridge"``, ``"kernel_ridge"`` or ``"svr"``; any regressor of scikit-learn; or a
        tuple of several, whose predictions are averaged.  By default each combination of channels
        has its own.
    weight_exponent : float, optional
        A map has the weight ``n ** -weight_exponent`` where its protostar has n maps: with 0 each
        map counts the same, with 1 each protostar; 0.6 by default.
    prior : str, table or path-like, optional
        The masses that are expected: "kroupa" or "chabrier" (initial mass functions), or a table, or
        the path of one, with ``mass`` and ``number`` (of protostars per decade).  Reference
        protostars are weighted so that they follow it, by up to a factor of ten.  By default they
        count as they are.

    Notes
    -----
    Each combination of channels (column density alone, with velocity, with dispersion, with both)
    has its own calibration.  Where its R2 per protostar on an unseen cloud is below 0.1, the masses
    come with a `~astrofractal.mass.NoSkillWarning` and the flag "no-skill".

    Examples
    --------
    What to expect on a cloud that the calibration has not seen, by the channels of a map:

    >>> from astrofractal import StellarMassEstimator
    >>> estimator = StellarMassEstimator()
    >>> for channels, calibration in estimator.calibrations_.items():
    ...     print(f"{calibration.skill_['r2_protostar']:.2f}", *channels)
    0.12 column_density
    0.25 column_density velocity
    0.25 column_density dispersion
    0.32 column_density velocity dispersion

    See `catalog` for masses of the protostars of a map, `fit` for a calibration of your own.
    """

    # Whether the calibrations are the bundled ones, and the clouds that they were made without.
    _bundled = False
    _without: frozenset[str] = frozenset()

    def __init__(
        self,
        encoder: FractalEncoder | None = None,
        *,
        features: FeatureSet | None = None,
        regressor: str | BaseEstimator | tuple[str | BaseEstimator, ...] | None = None,
        weight_exponent: float | None = None,
        prior: Prior | str | Table | PathLike | None = None,
    ) -> None:
        self.encoder = encoder
        self.features = features
        self.regressor = regressor
        self.weight_exponent = weight_exponent
        self.prior = prior

    @property
    def calibrations_(self) -> dict[tuple[str, ...], Calibration]:
        """The calibration of each combination of channels, with its scores on unseen clouds."""
        if "_calibrations" not in vars(self):
            if any(value is not None for value in self.get_params(deep=False).values()):
                msg = "this StellarMassEstimator is not calibrated: call fit first"
                raise NotFittedError(msg)
            self._load(data_path("stellar_mass.astrofractal"))
            self._bundled = True
        return self._calibrations

    @property
    def reference_id_(self) -> str:
        """The number and the digest of the reference maps."""
        self.calibrations_  # noqa: B018 - loads the bundled ones
        return self._reference_id

    @property
    def encoder_(self) -> FractalEncoder | None:
        """The encoder in use, `~astrofractal.FractalEncoder`; `None` where none is needed."""
        needed = any(c.features.pooling for c in self.calibrations_.values())
        return self._encoder() if needed else None

    def __sklearn_is_fitted__(self):
        try:
            return bool(self.calibrations_)
        except NotFittedError:
            return False

    def __repr__(self):
        text = super().__repr__() + "\n  calibration: "
        if not self.__sklearn_is_fitted__():
            return text + "none: call fit"
        text += ("bundled, " if self._bundled else "") + self._reference_id
        for channels, calibration in self._calibrations.items():
            r2, rmse = (calibration.skill_[f"{name}_protostar"] for name in ("r2", "rmse"))
            text += f"\n  on unseen clouds, {channel_code(channels)}: "
            text += f"R2 {r2:.2f} and RMSE {rmse:.2f} dex per protostar"
        return text

    @cached_property
    def _default_encoder(self):
        return FractalEncoder()

    def _encoder(self):
        return self._default_encoder if self.encoder is None else self.encoder

    @property
    def meta(self) -> dict[str, Any]:
        """What the masses come from: weights, reference maps, this estimator, version (`dict`)."""
        encoder = self.encoder_
        return {
            "weights_id": "none" if encoder is None else encoder.weights_id,
            "reference_id": self.reference_id_,
            "fingerprint": self.fingerprint(),
            "version": astrofractal.__version__,
            **({"systematic": _SYSTEMATIC} if self._bundled else {}),
            **({"matched": describe_choice(self.choice_)} if "choice_" in vars(self) else {}),
        }

    def fingerprint(self) -> str:
        """Return a digest of options, encoder and calibrations, equal where all predictions are."""
        options = {**self.get_params(deep=False), "encoder": None, "prior": as_prior(self.prior)}
        if self.__sklearn_is_fitted__():
            options["encoder"] = self.encoder_
            options["calibrations"] = list(self.calibrations_.values())
            options["reference_id"] = self.reference_id_
        elif self.encoder is not None:
            options["encoder"] = self.encoder
        return fingerprint(options)

    def _options(self, channels):
        """Return features, regressor, weight exponent and prior for a combination of channels."""
        features, regressor, exponent = default_options(channels)
        features = self.features or features
        regressor = regressor if self.regressor is None else self.regressor
        if self.weight_exponent is not None:
            exponent = self.weight_exponent
        elif not takes_weights(make_regressor(regressor)):
            exponent = 0.0
        return features, regressor, exponent, as_prior(self.prior)

    def _check_options(self):
        if self.features is not None and not isinstance(self.features, FeatureSet):
            msg = f"features must be a FeatureSet, got {type(self.features).__name__}"
            raise TypeError(msg)
        if self.encoder is not None and not hasattr(self.encoder, "encode"):
            msg = f"encoder must be a FractalEncoder, got {type(self.encoder).__name__}"
            raise TypeError(msg)
        if self.weight_exponent is not None:
            at_least("weight_exponent", self.weight_exponent, 0)

    def fit(
        self,
        maps: MapSet | Sequence[GasMap | MapSource],
        masses: u.Quantity | None = None,
        clouds: ArrayLike | None = None,
        *,
        protostars: ArrayLike | None = None,
        channels: list[tuple[str, ...]] | None = None,
        progress_bar: ProgressBar = False,
    ) -> Self:
        """
        Calibrate on maps of known masses.

        Parameters
        ----------
        maps : `~astrofractal.mapset.MapSet` or list of maps
            Maps centered on their protostars, as `predict` takes them.
        masses, clouds, protostars : `~astropy.units.Quantity` and array-like, optional
            Mass, cloud (simulation) and protostar of each map; by default those of a
            `~astrofractal.mapset.MapSet`.  Scores and intervals are measured on whole clouds left
            out; without clouds, or with one, they are too good for a new cloud, and a warning is
            issued.  Without ``protostars`` each map has its own.
        channels : list of tuple of str, optional
            The combinations of channels to calibrate; by default all that the maps have.
        progress_bar : bool or callable, optional
            Whether to show progress.

        Examples
        --------
        With measures of the gas alone, which is quick; leave ``features`` out for the network:

        >>> from astrofractal import StellarMassEstimator
        >>> from astrofractal.mapset import reference_maps
        >>> from astrofractal.mass import FeatureSet
        >>> maps = reference_maps().limit(1)  # one map of each protostar
        >>> estimator = StellarMassEstimator(
        ...     features=FeatureSet(pooling=None, contrasts=True), regressor="ridge"
        ... )
        >>> estimator = estimator.fit(maps, channels=[("column_density", "velocity", "dispersion")])
        >>> for channels, calibration in estimator.calibrations_.items():
        ...     print(len(channels), f"{calibration.skill_['r2_protostar']:.2f}")
        3 0.13
        """
        self._check_options()
        if isinstance(maps, MapSet):
            masses = maps.masses if masses is None else masses
            clouds = maps.clouds if clouds is None else clouds
            protostars = maps.protostars if protostars is None else protostars
        uses_encoder = any(self._options(c)[0].pooling for c in CHANNEL_SETS)
        encoder = self._encoder() if uses_encoder else None
        shape = self._shape(maps, encoder)
        batches = (batch for batch, _ in standard_batches(maps, shape))
        images = np.concatenate([np.empty((0, 3, *shape), np.float32), *batches])
        log_masses = log_solar(masses)
        represents = maps.represents if isinstance(maps, MapSet) else None
        self._calibrations = fit_calibrations(
            images,
            log_masses,
            self._options,
            channels=channels,
            encoder=encoder,
            progress_bar=progress_bar,
            clouds=clouds,
            protostars=protostars,
            represents=represents,
        )
        self._reference_id, self._bundled = reference_id(images, log_masses, represents), False
        self.__dict__.pop("choice_", None)
        return self

    def _shape(self, maps, encoder):
        if encoder is not None:
            return (encoder.image_size,) * 2
        return maps.images.shape[2:] if isinstance(maps, MapSet) else STANDARD_SHAPE

    @property
    def map_shape(self) -> tuple[int, int]:
        """The shape (ny, nx) of the standard map."""
        return self._shape(None, self.encoder_)

    def leave_out(
        self, *clouds: str, channels: list[tuple[str, ...]] | None = None
    ) -> StellarMassEstimator:
        """
        Return an estimator calibrated without some clouds, so that their masses can be estimated.

        The encoder's features of the other clouds are not computed again.

        Parameters
        ----------
        *clouds : str
            Names of clouds of the reference maps.
        channels : list of tuple of str, optional
            The combinations of channels that are needed; all by default.
        """
        known = self.calibrations_  # loads the bundled ones, before the copy
        new = copy.copy(self)
        wanted = known if channels is None else map(tuple, channels)
        channels = [one_of("channels", c, tuple(known)) for c in wanted]
        new._calibrations = {c: known[c].leave_out(clouds) for c in channels}
        new._reference_id = f"{self.reference_id_}-without-{'-'.join(clouds)}"
        new._without = self._without.union(clouds)
        return new

    def with_prior(self, prior: Prior | str | Table | PathLike | None) -> StellarMassEstimator:
        """Return an estimator calibrated for another prior, without computing features again."""
        known = self.calibrations_  # loads the bundled ones, before the copy
        new = copy.copy(self)
        new.prior = as_prior(prior)
        new._calibrations = {c: own.with_prior(prior) for c, own in known.items()}
        return new

    def matched(
        self,
        gas: GasMap | MapSource | Telescope,
        positions: Positions | None = None,
        *,
        largest_scale: u.Quantity | None = None,
        maps: MapSet | None = None,
        random_state: int = 0,
        cache: bool = True,
        progress_bar: ProgressBar = False,
    ) -> StellarMassEstimator:
        """
        Calibrate for a telescope: on reference maps observed as a map was.

        The reference maps get the telescope's beam, pixels, noise, footprint around the protostars
        and channels.  Of two sets of features, the network's tokens with aperture contrasts, and
        contrasts with radial profiles (without the network), the one with the higher R2 per
        protostar on clouds left out is kept, unless this estimator has ``features`` of its own.
        For cutouts that lack some of the channels there are calibrations by contrasts and profiles.

        Parameters
        ----------
        gas : map or `~astrofractal.observing.Telescope`
            A map with a WCS and a distance, from which the telescope is measured
            (`astrofractal.observing.Telescope.measure`), or a telescope.
        positions : optional
            The protostars of a map, as `catalog` takes them.
        largest_scale : `~astropy.units.Quantity`, optional
            The largest scale, an angle or a length, that the map of an interferometer holds.
        maps : `~astrofractal.mapset.MapSet`, optional
            Maps of known masses, of which two of each protostar are used; by default
            `~astrofractal.mapset.reference_maps` without the clouds that `leave_out` has left out.
        random_state : int, optional
            The seed of noise and footprints.
        cache : bool, optional
            Whether the calibration is kept on disk, for maps that were observed alike.
        progress_bar : bool or callable, optional
            As in `fit`.

        Returns
        -------
        estimator : `StellarMassEstimator`
            A new one.  ``telescope_`` is what was matched, ``choice_`` has the features that were
            chosen and the R2 per protostar of each set.

        Examples
        --------
        What a telescope would give (some minutes):

        >>> from astropy import units as u
        >>> from astrofractal import StellarMassEstimator
        >>> from astrofractal.observing import Telescope
        >>> telescope = Telescope(beam=20 * u.arcsec, noise=0.1, distance=140 * u.pc)
        >>> matched = StellarMassEstimator().matched(telescope)  # doctest: +SKIP
        >>> matched.choice_  # doctest: +SKIP
        """
        if maps is None:
            if "_calibrations" in vars(self) and not self._bundled:
                msg = "maps must be given, those of this calibration, which it does not keep"
                raise ValueError(msg)
            maps = reference_maps()
        return match(
            self,
            as_telescope(gas, positions, largest_scale=largest_scale),
            self._kept(maps),
            random_state=random_state,
            cache=cache,
            progress_bar=progress_bar,
        )

    def _kept(self, maps):
        """Return the maps of the clouds that are not left out."""
        return maps[~np.isin(maps.clouds, list(self._without))]

    def evaluate(
        self,
        maps: GasMap | MapSource | Iterable[GasMap | MapSource],
        *,
        progress_bar: ProgressBar = False,
    ) -> Evaluation:
        """
        Predict masses with intervals, scores and flags.

        Parameters
        ----------
        maps, progress_bar : optional
            As of `predict`.

        Returns
        -------
        evaluation : `~astrofractal.mass.Evaluation`
            An entry for each map, in their order; arrays are 1D.
        """
        shape = self._shape(maps, self.encoder_)
        batches = standard_batches(maps, shape)
        total = None
        if isinstance(maps, Sized) and not is_single(maps):
            total = -(-len(maps) // BATCH_SIZE)
        batches = progress(batches, progress_bar, total=total, desc="estimate")
        options = (self.calibrations_, self.encoder_)
        # NumPy's threads keep spinning after a product, in the way of the network's: a quarter of
        # the time.
        with one_blas_thread():
            parts = [evaluate_batch(images, flags, *options) for images, flags in batches]
        result = Evaluation.concatenate(parts)
        if "choice_" in vars(self):  # it was matched: its reference maps have the beam
            result.flags = [[flag for flag in own if flag != "beam"] for own in result.flags]
        warn_of_doubts(result)
        return result

    def predict(
        self,
        maps: GasMap | MapSource | Iterable[GasMap | MapSource],
        *,
        distance: u.Quantity | None = None,
        progress_bar: ProgressBar = False,
    ) -> u.Quantity:
        """
        Predict the mass of the protostar at the center of each map.

        Parameters
        ----------
        maps : map or iterable of maps
            A `~astrofractal.GasMap`, or whatever `GasMap.read` takes (FITS path, HDU, NDData), or
            an iterable of these; a `~astrofractal.mapset.MapSet`; an array (n_maps, 3, ny,
            nx) of the model's channels.  A map that is wider than 0.5 pc is cut out around its
            center; one of unknown scale must be of the standard shape and is taken as 0.5 pc wide.
        distance : `~astropy.units.Quantity`, optional
            Distance to the gas, for maps that have none.
        progress_bar : bool or callable, optional
            As in `fit`.

        Returns
        -------
        mass : `~astropy.units.Quantity`
            A scalar for one map, otherwise one mass for each.

        See Also
        --------
        evaluate : with ``combine``, one mass from several maps of a protostar.
        catalog : protostars of a map that is larger than a cutout.

        Examples
        --------
        >>> from astropy import units as u
        >>> from astropy.table import QTable
        >>> from astrofractal import GasMap, StellarMassEstimator
        >>> from astrofractal.data import data_path
        >>> path = data_path("example_cloud.fits")
        >>> sink = QTable.read(path, hdu="SINKS")[0]
        >>> position = sink["x"], sink["y"]
        >>> cutout = GasMap.read(path).cutout(position, size=0.5 * u.pc, shape=(64, 64))
        >>> print(f"{StellarMassEstimator().predict(cutout):.2f}")
        1.93 solMass
        """
        maps = at_distance(maps, distance)
        mass = 10 ** self.evaluate(maps, progress_bar=progress_bar).log_mass * u.solMass
        return mass[0] if is_single(maps) else mass

    def predict_interval(
        self,
        maps: GasMap | MapSource | Iterable[GasMap | MapSource],
        level: float = 0.68,
        *,
        progress_bar: ProgressBar = False,
    ) -> tuple[u.Quantity, u.Quantity]:
        """
        Predict an interval that contains the mass with a given probability.

        The intervals are conformal: their widths are measured on whole clouds left out of the
        calibration.  They are wider where similar reference maps disagree or there are none.

        Parameters
        ----------
        maps, progress_bar : optional
            As of `predict`.
        level : float, optional
            The probability, between 0 and 1.

        Returns
        -------
        lower, upper : `~astropy.units.Quantity`
            The ends in solMass, 1D, or scalar for a single map.
        """
        check_level(level)
        result, single = self.evaluate(maps, progress_bar=progress_bar), is_single(maps)
        ends = (10**end * u.solMass for end in result.interval(level))
        return tuple(end[0] if single else end for end in ends)

    def score(
        self,
        maps: MapSet | Sequence[GasMap | MapSource],
        masses: u.Quantity | None = None,
        *,
        protostars: ArrayLike | None = None,
    ) -> float:
        """Return R2 of log10 mass, each protostar with the same weight; arguments as of `fit`."""
        represents = None
        if isinstance(maps, MapSet):
            masses = maps.masses if masses is None else masses
            protostars = maps.protostars if protostars is None else protostars
            represents = maps.represents
        result = self.evaluate(maps)
        return result.scores(masses, protostars, represents)["r2_protostar"]

    def catalog(
        self,
        gas: GasMap | MapSource,
        positions: Positions | None = None,
        *,
        distance: u.Quantity | None = None,
        level: float = 0.68,
        progress_bar: ProgressBar = False,
        **detection: Any,
    ) -> QTable:
        """
        Estimate the masses of the protostars of a map.

        Parameters
        ----------
        gas : map
            As in `predict`, with a WCS and a distance.  For many maps see
            `astrofractal.surveys.survey_catalog`.
        positions : optional
            Where the protostars are: a `~astropy.coordinates.SkyCoord`, a table with sky or pixel
            positions, the path of such a table or of a region file, `regions.Regions` (of polygons
            the centroids), or pixels (x, y) of shape (n, 2).  By default photutils looks for peaks
            of the column density, and each is moved to the peak of its own cutout.
        distance, progress_bar
            As in `predict`.
        level : float, optional
            The probability of the intervals.
        **detection : dict
            ``min_separation`` (a length), ``threshold`` (a column density or a signal-to-noise
            ratio) and ``max_sources`` of `~astrofractal.catalogs.find_protostars`.

        Returns
        -------
        table : `~astropy.table.QTable`
            ``id``, ``position`` (ICRS; absent without WCS), ``mass``, ``mass_lower``,
            ``mass_upper``, ``trust``, ``ood_score``, ``velocity_known``, ``x``, ``y`` (0-based
            pixels), ``channels``, ``flags`` (joined by commas), and the other columns of a table of
            positions, with ``_input`` appended where their names are taken.  ``id`` is that of the
            table ("id", "name", "source_id" and the like), or a number from 1.  Positions off the
            map have the flag "outside" and a masked mass.  ``print`` shows what fits into 80 columns.

        See Also
        --------
        astrofractal.catalogs.find_protostars : how peaks are found.
        astrofractal.catalogs.plot_catalog : draws the catalog on its map.
        astrofractal.catalogs.write_catalog : writes it as ECSV, VOTable, FITS or CSV.

        Examples
        --------
        Two protostars of the bundled cloud, whose positions are known:

        >>> from astropy.table import QTable
        >>> from astrofractal import GasMap, StellarMassEstimator
        >>> from astrofractal.data import data_path
        >>> path = data_path("example_cloud.fits")
        >>> sinks = QTable.read(path, hdu="SINKS")[:2]
        >>> table = StellarMassEstimator().catalog(GasMap.read(path), sinks["ra", "dec"])
        >>> print(table["id", "mass", "mass_lower", "mass_upper"])
         id   mass  mass_lower mass_upper
            solMass  solMass    solMass
        --- ------- ---------- ----------
          1    1.93      0.506       7.38
          2    2.58        0.6       11.1
        """
        gas = GasMap.read(gas, distance=distance)
        options = {"level": level, "progress_bar": progress_bar, **detection}
        table, reasons = _make_catalog(self, gas, positions, **options)
        if reasons and self._bundled:
            warn(
                f"the map has {', '.join(reasons)}, which the calibration does not allow for: use "
                f"StellarMassEstimator.matched (--match); {expected_score(gas)}"
            )
        return table

    def analogs(self, gas: GasMap | MapSource, n: int = 5) -> QTable:
        """
        Find the reference protostars that look most like the one of a map.

        Parameters
        ----------
        gas : map
            One map, as `predict` takes it.
        n : int, optional
            The number of protostars.

        Returns
        -------
        table : `~astropy.table.QTable`
            ``protostar``, ``cloud``, ``mass`` (true), ``distance`` (between whitened features, in the
            units of ``ood_score``), ``index`` (the row of the nearest map among those of the
            calibration) and, of the bundled one, ``image`` (its channels); the nearest first.

        Examples
        --------
        >>> from astrofractal import StellarMassEstimator
        >>> from astrofractal.mapset import reference_maps
        >>> estimator, maps = StellarMassEstimator(), reference_maps()
        >>> table = estimator.analogs(maps.images[7], n=2)
        >>> bool(table["protostar"][0] == maps.protostars[7])
        True
        """
        table = find_analogs(self, gas, n)
        if self._bundled:
            table["image"] = self._kept(reference_maps()).images[table["index"]]
            table.pprint_exclude_names = ("image",)
        return table

    def sensitivity(
        self, gas: GasMap | MapSource, *, patch: int = 4, progress_bar: ProgressBar = False
    ) -> dict[str, NDData]:
        """
        Measure which parts of a map its mass depends on.

        Patch by patch and channel by channel, the map is replaced by the mean of its surroundings,
        one patch wide, and the mass is estimated again.

        Parameters
        ----------
        gas, progress_bar
            As in `predict`, of one map.
        patch : int, optional
            The width of a patch in pixels of the cutout (0.0078 pc).

        Returns
        -------
        sensitivity : dict
            For each channel an `~astropy.nddata.NDData` with the WCS of the cutout: the change of
            log10 mass in dex.  Negative is a patch whose structure makes the mass larger.  Pixels
            that the features do not depend on are 0, those without data NaN.
        """
        return measure_sensitivity(self, gas, patch, progress_bar)

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """
        Save the calibration, without pickle.

        Parameters
        ----------
        path, overwrite : path-like and bool, optional
            The file (``.astrofractal`` is the custom), and whether an existing one may be replaced.
        """
        write_calibrations(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: PathLike, *, encoder: FractalEncoder | None = None) -> StellarMassEstimator:
        """
        Load a calibration.

        Parameters
        ----------
        path : path-like
            A file of `save`.
        encoder : `~astrofractal.FractalEncoder`, optional
            The encoder that it was calibrated with; needed if that was neither the bundled nor a
            random one.
        """
        new = cls(encoder)
        new._load(path)
        if new.encoder is None:
            new.encoder = new.encoder_
        return new

    def _load(self, path):
        options, encoder, self._calibrations, self._reference_id, choice = read_calibrations(
            path, self.encoder
        )
        if choice is not None:
            self.choice_ = choice
        for name, value in options.items():
            setattr(self, name, value)
        if self.encoder is None and encoder is not None:
            self._default_encoder = encoder
