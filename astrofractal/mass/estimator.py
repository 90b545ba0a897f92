"""`StellarMassEstimator`: gas maps in, masses of the protostars in them out."""

import copy
import hashlib
import warnings

import numpy as np
from astropy import units as u

import astrofractal
from astrofractal._utils.progress import progress
from astrofractal._utils.validation import one_of
from astrofractal.encoder import FractalEncoder
from astrofractal.mapset.mapset import MapSet
from astrofractal.mass._defaults import default_recipe
from astrofractal.mass._standard import is_single, standard_batches
from astrofractal.mass.appearance import appearance
from astrofractal.mass.calibration import Calibration, NoSkillWarning, r2_score
from astrofractal.mass.features import (
    CHANNEL_SETS,
    CHANNELS,
    FeatureSet,
    channels_of,
    for_encoder,
    keep_channels,
)

__all__ = ["StellarMassEstimator"]

BUNDLED_CALIBRATION = "stellar_mass.astrofractal"


class StellarMassEstimator:
    """
    Weigh the protostars at the centers of gas maps.

    The features of a frozen encoder, and profiles of the gas beside them, are turned into a mass by
    a regressor that was calibrated on simulated clouds, following Hirashima, Nozaki & Harada 2025
    (arXiv:2510.24159).  ``StellarMassEstimator()`` is ready for use: its calibration, on
    `~astrofractal.mapset.reference_maps`, is bundled.  With any argument it is to be
    calibrated with `fit`.

    Parameters
    ----------
    encoder : `~astrofractal.FractalEncoder`, optional
        The encoder; the bundled one by default.

    regressor : str, tuple or estimator, optional
        ``"knn"`` (the published head: whitened principal components, five neighbors weighted by
        distance), ``"ridge"``, ``"svr"``, ``"kernel_ridge"``, ``"gp"`` (Gaussian process),
        ``"boosting"``, ``"mlp"`` (an ensemble of small networks), or several joined by ``"+"``,
        whose predictions are averaged; a pair of a name and a dict of hyperparameters; or any
        regressor of scikit-learn.

    features : str or None, optional
        The pooling of the encoder's tokens, such as ``"class"``, ``"central"`` or ``"structure"``,
        or several joined by ``"+"``; see `~astrofractal.encoder.pooling.pool_tokens`.  ``"none"``
        leaves the encoder out.

    profiles : iterable of str, optional
        Radial profiles to add, by name; ``"all"`` for all.  See
        `~astrofractal.mass.radial_profiles`.

    scalars : iterable of str, optional
        Physical scalars to add, by name; ``"all"`` for all.  See
        `~astrofractal.mass.physical_scalars`.

    zoom : float, optional
        The magnification about the protostar at which the encoder sees the map.

    symmetrize : bool, optional
        Whether the encoder's features are averaged over the symmetries of the sky (16 times the
        cost).

    Attributes
    ----------
    calibrations : dict
        The `~astrofractal.mass.Calibration` of each combination of channels; its
        ``skill`` tells how well it does on a cloud that it has not seen.

    Notes
    -----
    Each combination of channels (column density alone, with velocity, with dispersion, with both)
    has its own calibration, chosen by what a map has.  Where one has no skill on an unseen cloud
    (leave-cloud-out R2 below 0.2) the masses come with a `~astrofractal.mass.NoSkillWarning` and
    the flag "no-skill".

    Examples
    --------
    >>> from astropy import units as u
    >>> from astrofractal import StellarMassEstimator
    >>> from astrofractal.simulations import reference_maps  # doctest: +SKIP
    >>> estimator = StellarMassEstimator()  # doctest: +SKIP
    >>> estimator.predict(reference_maps()[:3])  # doctest: +SKIP
    """

    #: The width of the maps.
    size = 0.5 * u.pc

    #: Scores above this are out of distribution: the distance that one in a hundred maps of a
    #: cloud unseen by the calibration exceeds, by definition of `ood_score`.
    ood_threshold = 1.0

    def __init__(
        self,
        encoder=None,
        *,
        regressor=None,
        features=None,
        profiles=None,
        scalars=None,
        zoom=None,
        symmetrize=None,
    ):
        options = (regressor, features, profiles, scalars, zoom, symmetrize)
        self._encoder = encoder
        self.regressor = regressor
        self.features = features
        self.profiles = profiles
        self.scalars = scalars
        self.zoom = zoom
        self.symmetrize = symmetrize
        self.calibrations = {}
        self.reference_id = None
        for channels in CHANNEL_SETS:
            self._recipe(channels)  # errors of the arguments come now, not after the encoding
        if encoder is None and all(option is None for option in options):
            from astrofractal.data import data_path
            from astrofractal.mass.saving import load_estimator

            load_estimator(self, data_path(BUNDLED_CALIBRATION))

    @property
    def encoder(self):
        """The `~astrofractal.FractalEncoder`."""
        if self._encoder is None:
            self._encoder = FractalEncoder()
        return self._encoder

    @property
    def meta(self):
        """What the masses come from: weights, reference maps, version (`dict`)."""
        return {
            "weights_id": self.encoder.weights_id if self._needs_encoder() else "none",
            "reference_id": self.reference_id,
            "version": astrofractal.__version__,
        }

    def __repr__(self):
        state = "not calibrated" if not self.calibrations else f"reference {self.reference_id!r}"
        encoder = repr(self.encoder) if self._needs_encoder() else "no encoder"
        return f"<StellarMassEstimator: {encoder}, {state}, version {astrofractal.__version__}>"

    def _recipe(self, channels):
        """Features and regressor for a combination of channels."""
        features, regressor = default_recipe(channels)
        given = {}
        if self.features is not None:
            given["pooling"] = None if self.features == "none" else self.features
        for name in ("profiles", "scalars", "zoom", "symmetrize"):
            if getattr(self, name) is not None:
                given[name] = getattr(self, name)
        if given:
            features = FeatureSet(**{**features.to_dict(), **given})
        if self.features is None and self._encoder is not None:
            features = for_encoder(features, self._encoder)
        regressor = regressor if self.regressor is None else self.regressor
        from astrofractal.mass.regressors import make_regressor

        make_regressor(regressor)
        return features, regressor

    def fit(
        self,
        maps,
        masses=None,
        groups=None,
        *,
        observe=None,
        channels=None,
        progress_bar=False,
    ):
        """
        Calibrate on maps of known masses.

        Parameters
        ----------
        maps : `~astrofractal.mapset.MapSet` or list of maps
            Maps centerd on their protostars, as `predict` takes them.

        masses : `~astropy.units.Quantity`, optional
            The mass in each map; not needed for a `~astrofractal.mapset.MapSet`.

        groups : array-like, optional
            The cloud (simulation) of each map.  Skill and intervals are measured on whole clouds
            left out, so that they hold for a cloud that is new; without groups they hold only for
            maps that resemble these.  Taken from a `~astrofractal.mapset.MapSet`.

        observe : callable, optional
            Makes the maps look observed, to match the telescope: takes and returns an array
            (n_maps, 3, ny, nx) of the model's channels; see
            `astrofractal.observing.observe_images`.

        channels : list of tuple of str, optional
            The combinations of channels to calibrate; by default all that the maps have.

        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        self : `StellarMassEstimator`
            Calibrated.
        """
        if isinstance(maps, MapSet):
            masses = maps.masses if masses is None else masses
            groups = maps.clouds if groups is None else groups
        log_masses = _log_masses(masses)
        images = [batch for batch, _ in self._batches(maps)]
        images = np.concatenate(images) if images else np.empty((0, 3, 1, 1), np.float32)
        if len(images) != len(log_masses):
            msg = f"masses must have one entry a map, got {len(log_masses)} for {len(images)} maps"
            raise ValueError(msg)
        if len(images) < 10:
            msg = f"maps must be at least 10 for a calibration, got {len(images)}"
            raise ValueError(msg)
        if groups is not None and len(groups) != len(images):
            msg = f"groups must have one entry a map, got {len(groups)} for {len(images)} maps"
            raise ValueError(msg)
        if observe is not None:
            images = np.asarray(observe(images), dtype=np.float32)
        common = set.intersection(*(set(found) for found in set(channels_of(images))))
        if channels is None:
            channels = [c for c in CHANNEL_SETS if common.issuperset(c)]
        calibrations = {}
        for wanted in channels:
            wanted = tuple(wanted)
            one_of("channels", wanted, CHANNEL_SETS)
            if not common.issuperset(wanted):
                absent = ", ".join(c for c in wanted if c not in common)
                msg = f"channels {wanted} cannot be calibrated: not all maps have {absent}"
                raise ValueError(msg)
            features, regressor = self._recipe(wanted)
            X, blocks = features.compute(
                images,
                wanted,
                encoder=self.encoder if features.pooling else None,
                progress_bar=progress_bar,
            )
            look = appearance(keep_channels(images, wanted))
            calibrations[wanted] = Calibration(wanted, features, regressor).fit(
                X, log_masses, blocks=blocks, appearance=look, groups=groups
            )
        self.calibrations = calibrations
        digest = hashlib.sha256(np.ascontiguousarray(images, dtype=np.float32).tobytes())
        digest.update(log_masses.astype(np.float32).tobytes())
        self.reference_id = f"{len(images)}maps-{digest.hexdigest()[:8]}"
        return self

    def leave_out(self, *clouds):
        """
        Calibrate again without some of the clouds, to weigh these honestly.

        Parameters
        ----------
        *clouds : str
            Names of clouds (groups) of the reference maps.

        Returns
        -------
        estimator : `StellarMassEstimator`
            A new one; the encoder's features of the other clouds are not computed again.

        Raises
        ------
        ValueError
            If the reference maps have no such cloud.
        """
        new = copy.copy(self)
        new.calibrations = {k: c.leave_out(clouds) for k, c in self._calibrated().items()}
        new.reference_id = f"{self.reference_id}-without-{'-'.join(clouds)}"
        return new

    def _calibrated(self):
        if not self.calibrations:
            msg = "this StellarMassEstimator is not calibrated: call fit first"
            raise RuntimeError(msg)
        return self.calibrations

    @property
    def map_shape(self):
        """The shape (ny, nx) of the standard map."""
        return (self.encoder.image_size,) * 2 if self._needs_encoder() else (64, 64)

    def _batches(self, maps):
        shape = self.map_shape
        if isinstance(maps, MapSet) and not self._needs_encoder():
            shape = maps.images.shape[2:]
        return standard_batches(maps, size=self.size, shape=shape)

    def _needs_encoder(self):
        if self.calibrations:
            return any(c.features.pooling for c in self.calibrations.values())
        return any(self._recipe(c)[0].pooling for c in CHANNEL_SETS)

    def _calibration(self, channels):
        """Return the calibration for maps that have ``channels``: the one that uses the most."""
        usable = [c for c in self.calibrations if set(c) <= set(channels)]
        if not usable:
            msg = f"no calibration is for maps with the channels {', '.join(channels)}"
            raise ValueError(msg)
        return self.calibrations[max(usable, key=len)]

    def evaluate(self, maps, *, progress_bar=False):
        """
        Predict masses with everything that is known about them.

        Parameters
        ----------
        maps : map or iterable of maps
            As `predict` takes them.

        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        result : `~astrofractal.mass.Evaluation`
            One entry a map.

        Raises
        ------
        RuntimeError
            If the estimator is not calibrated.
        """
        from threadpoolctl import threadpool_limits

        self._calibrated()
        total = None
        if hasattr(maps, "__len__") and not is_single(maps):
            total = -(-len(maps) // 256)
        result = Evaluation()
        batches = progress(self._batches(maps), progress_bar, total=total, desc="weigh")
        # NumPy's threads keep spinning after a product, in the way of the network's: a quarter of
        # the time.
        with threadpool_limits(1, user_api="blas"):
            for images, flags in batches:
                self._evaluate_batch(images, flags, result)
        for channels, r2 in result.without_skill.items():
            msg = (
                f"masses from {channels} alone have no skill on a cloud that the calibration has "
                f"not seen (leave-cloud-out R2 = {r2:.2f}): they are little more than the mean of "
                "the reference masses; see their intervals"
            )
            warnings.warn(msg, NoSkillWarning, stacklevel=3)
        return result

    def _evaluate_batch(self, images, flags, result):
        n = len(images)
        kinds = [self._calibration(found).channels for found in channels_of(images)]
        log_mass, difficulty, ood = np.empty(n), np.empty(n), np.empty(n)
        for channels in dict.fromkeys(kinds):
            rows = np.array([kind == channels for kind in kinds])
            calibration = self.calibrations[channels]
            chosen = images if rows.all() else images[rows]
            features = calibration.features
            X, _ = features.compute(
                chosen, channels, encoder=self.encoder if features.pooling else None
            )
            look = appearance(keep_channels(chosen, channels))
            log_mass[rows], difficulty[rows], ood[rows] = calibration.evaluate(X, look)
        ranges = {c: np.percentile(self.calibrations[c].y, [1, 99]) for c in set(kinds)}
        for i, channels in enumerate(kinds):
            calibration = self.calibrations[channels]
            new = list(flags[i])
            if ood[i] > self.ood_threshold:
                new.append("ood")
            low, high = ranges[channels]
            if not low <= log_mass[i] <= high:
                new.append("extrapolated")
            new += [f"no-{name}" for name in CHANNELS if name not in channels]
            if not calibration.has_skill:
                new.append("no-skill")
            result.flags.append(new)
            result.calibrations.append(calibration)
        result.extend(log_mass, difficulty, ood)

    def predict(self, maps, *, combine=None, groups=None, progress_bar=False):
        """
        Predict the mass of the protostar at the center of each map.

        Parameters
        ----------
        maps : map or iterable of maps
            A `~astrofractal.GasMap`, or whatever `GasMap.read` takes (FITS path, HDU, NDData), or
            an iterable of these; a `~astrofractal.mapset.MapSet`; an array (n_maps, 3, ny,
            nx) of the model's channels.  A map that is wider than 0.5 pc is cut out around its
            center; one of unknown scale must be of the standard shape and is taken as 0.5 pc wide.

        combine : {None, "median", "mean"}, optional
            Combine maps of the same protostar (several lines of sight or epochs) by their log10
            masses.

        groups : array-like, optional
            For ``combine``: which protostar each map shows; by default all maps show one.

        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        mass : `~astropy.units.Quantity`
            A scalar for one map (or with ``combine`` but without ``groups``), otherwise one mass
            for each map or, in the order of their first appearance, each group.
        """
        result = self.evaluate(maps, progress_bar=progress_bar)
        return _shaped(_combine(result.log_mass, combine, groups), maps, combine, groups)

    def predict_interval(self, maps, level=0.68, *, combine=None, groups=None, progress_bar=False):
        """
        Predict an interval that holds the mass with a given probability.

        The intervals are conformal: their widths are those that held the masses of whole clouds
        left out of the calibration, wider where the reference maps that look alike disagree and
        for maps that look like none of them.

        Parameters
        ----------
        maps : map or iterable of maps
            As in `predict`.

        level : float, optional
            The probability.

        combine, groups : optional
            As in `predict`.  Several maps of one protostar share their error, mostly, so the
            interval of the combination is that of a typical one of them.

        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        lower, upper : `~astropy.units.Quantity`
            The ends, shaped as by `predict`.
        """
        _check_level(level)
        result = self.evaluate(maps, progress_bar=progress_bar)
        half = result.half_width(level)
        return tuple(
            _shaped(_combine(end, combine, groups), maps, combine, groups)
            for end in (result.log_mass - half, result.log_mass + half)
        )

    def ood_score(self, maps, *, progress_bar=False):
        """
        Tell how unlike the reference maps a map is.

        It is the larger of two distances, that of the features to those of the nearest reference
        maps and that of the map's level, contrast and smoothness, each in units of the distance
        that one in a hundred maps of a cloud left out exceeds.  Scores above `ood_threshold` (1)
        are out of distribution.

        Parameters
        ----------
        maps : map or iterable of maps
            As in `predict`.

        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        score : float or 1D `~numpy.ndarray`
            A number for one map.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoSkillWarning)
            score = self.evaluate(maps, progress_bar=progress_bar).ood_score
        return float(score[0]) if is_single(maps) else score

    def score(self, maps, masses=None):
        """
        Score the predictions.

        Parameters
        ----------
        maps : `~astrofractal.mapset.MapSet` or list of maps
            As in `fit`.

        masses : `~astropy.units.Quantity`, optional
            The true masses; not needed for a `~astrofractal.mapset.MapSet`.

        Returns
        -------
        r2 : float
            The coefficient of determination of log10 mass.

        rmse : float
            The root-mean-square error of log10 mass (dex).
        """
        if isinstance(maps, MapSet) and masses is None:
            masses = maps.masses
        true = _log_masses(masses)
        predicted = self.evaluate(maps).log_mass
        if len(true) != len(predicted):
            msg = f"masses must have one entry a map, got {len(true)} for {len(predicted)} maps"
            raise ValueError(msg)
        return r2_score(true, predicted), float(np.sqrt(np.mean((true - predicted) ** 2)))

    def catalog(
        self,
        gas,
        positions=None,
        *,
        level=0.68,
        client=None,
        output=None,
        progress_bar=False,
        **options,
    ):
        """
        Weigh the protostars of a map, or of a survey.

        Parameters
        ----------
        gas : map, or list of maps
            As in `predict`, with a WCS and a distance.  Several maps, NDData around a Dask array,
            Zarr and `~astrofractal.surveys.LazyMap` make a survey; see
            `~astrofractal.surveys.survey_catalog`.

        positions : optional
            Where the protostars are: a `~astropy.coordinates.SkyCoord`, a table with sky or pixel
            positions, the path of such a table or of a region file, `regions.Regions`, or pixels
            (x, y) of shape (n, 2).  By default photutils looks for peaks of the column density.

        level : float, optional
            The probability of the intervals.

        client : `distributed.Client`, optional
            A Dask cluster that a survey runs on.

        output : path-like, optional
            A folder that keeps the finished parts of a survey, which then can be resumed.

        progress_bar : bool or callable, optional
            Whether to show progress.

        **options : dict
            ``min_separation`` (a length), ``threshold`` (a column density or a signal-to-noise
            ratio) and ``max_sources`` of `~astrofractal.mass.find_protostars`; for a survey also the
            options of `~astrofractal.surveys.survey_catalog`.

        Returns
        -------
        table : `~astropy.table.QTable`
            ``id``, ``ra``, ``dec`` (ICRS; absent without WCS), ``x``, ``y`` (0-based pixels),
            ``mass``, ``mass_lower``, ``mass_upper``, ``ood_score``, ``channels``, ``flags``
            (joined by commas).  Positions off the map have a mass that is not a number and the
            flag "outside".  For a survey ``map``, the name of the map, comes first.
        """
        from astrofractal.mass.catalog import make_catalog
        from astrofractal.surveys import is_survey, survey_catalog

        _check_level(level)
        options = {"level": level, "progress_bar": progress_bar, **options}
        if client is not None or output is not None or is_survey(gas):
            return survey_catalog(self, gas, positions, client=client, output=output, **options)
        return make_catalog(self, gas, positions, **options)

    def save(self, path, *, overwrite=False):
        """
        Save the calibration, without pickle.

        Parameters
        ----------
        path : path-like
            The file; ``.astrofractal`` is the custom.

        overwrite : bool, optional
            Whether an existing file may be replaced.

        Raises
        ------
        TypeError
            If the regressor cannot be described by plain values.
        """
        from astrofractal.mass.saving import save_estimator

        save_estimator(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path, *, encoder=None):
        """
        Load a calibration.

        Parameters
        ----------
        path : path-like
            A file of `save`.

        encoder : `~astrofractal.FractalEncoder`, optional
            The encoder that it was calibrated with; needed if that was neither the bundled nor a
            random one.

        Returns
        -------
        estimator : `StellarMassEstimator`
            Calibrated.

        Raises
        ------
        ValueError
            If the file is damaged, of another format version, or for another encoder.
        """
        from astrofractal.mass.saving import load_estimator

        new = cls.__new__(cls)
        new._encoder = encoder
        for name in ("regressor", "features", "profiles", "scalars", "zoom", "symmetrize"):
            setattr(new, name, None)
        return load_estimator(new, path)


class Evaluation:
    """
    The predictions for several maps.

    Attributes
    ----------
    log_mass : 1D `~numpy.ndarray`
        log10 of the masses in solar masses.

    difficulty : 1D `~numpy.ndarray`
        The widths of the intervals relative to the others.

    ood_score : 1D `~numpy.ndarray`
        See `StellarMassEstimator.ood_score`.

    flags : list of list of str
        The flags of each map.

    calibrations : list of `~astrofractal.mass.Calibration`
        The one that was used for each map.
    """

    def __init__(self):
        self.log_mass = self.difficulty = self.ood_score = np.empty(0)
        self.flags = []
        self.calibrations = []

    def extend(self, log_mass, difficulty, ood_score):
        """Append the numbers of more maps."""
        self.log_mass = np.append(self.log_mass, log_mass)
        self.difficulty = np.append(self.difficulty, difficulty)
        self.ood_score = np.append(self.ood_score, ood_score)

    @property
    def without_skill(self):
        """The channels whose masses have no skill, and their leave-cloud-out R2 (`dict`)."""
        found = {" + ".join(c.channels): c for c in self.calibrations if not c.has_skill}
        return {name: found[name].skill["r2"] for name in sorted(found, key=len)}

    def half_width(self, level):
        """
        Return half the widths of the intervals.

        Parameters
        ----------
        level : float
            The probability.

        Returns
        -------
        half_width : 1D `~numpy.ndarray`
            In dex.
        """
        quantiles = {id(c): c.half_width(level, 1.0) for c in set(self.calibrations)}
        return self.difficulty * np.array([quantiles[id(c)] for c in self.calibrations])


def _log_masses(masses):
    if not isinstance(masses, u.Quantity):
        msg = f"masses must be a Quantity such as [0.3, 2] * u.solMass, got {type(masses).__name__}"
        raise TypeError(msg)
    if not masses.unit.is_equivalent(u.solMass):
        msg = f"masses must be in units of mass, got {masses.unit}"
        raise u.UnitConversionError(msg)
    values = np.atleast_1d(masses.to_value(u.solMass)).astype(float)
    if not (np.isfinite(values) & (values > 0)).all():
        msg = "masses must be finite and positive"
        raise ValueError(msg)
    return np.log10(values)


def _check_level(level):
    if not 0 < level < 1:
        msg = f"level must be between 0 and 1, got {level!r}"
        raise ValueError(msg)


def _combine(log_mass, combine, groups):
    one_of("combine", combine, (None, "median", "mean"))
    if combine is None:
        if groups is not None:
            msg = "groups need combine='median' or 'mean', got combine=None"
            raise ValueError(msg)
        return log_mass
    function = {"median": np.median, "mean": np.mean}[combine]
    groups = np.zeros(len(log_mass)) if groups is None else np.asarray(groups)
    if len(groups) != len(log_mass):
        msg = f"groups must have one entry a map, got {len(groups)} for {len(log_mass)} maps"
        raise ValueError(msg)
    return np.array([function(log_mass[groups == g]) for g in dict.fromkeys(groups.tolist())])


def _shaped(log_mass, maps, combine, groups):
    mass = 10**log_mass * u.solMass
    single = is_single(maps) or (combine is not None and groups is None)
    return mass[0] if single and len(mass) == 1 else mass
