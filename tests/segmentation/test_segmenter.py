"""FeatureSegmenter from map to labels."""

import pickle

import numpy as np
import pytest
from astropy import units as u
from sklearn.metrics import adjusted_rand_score

from astrofractal import FeatureSegmenter, FractalEncoder, GasMap
from astrofractal.exceptions import AstrofractalWarning


def segmenter(encoder, n_segments=3, **options):
    return FeatureSegmenter(n_segments, encoder=encoder, **options)


def test_labels_follow_the_gas(encoder, gas):
    result = segmenter(encoder).segment(gas)
    labels = result.labels.data
    np.testing.assert_array_equal(labels == 0, gas.mask)
    column = gas.column_density.value
    means = [column[labels == k].mean() for k in (1, 2, 3)]
    assert means == sorted(means)
    assert labels[np.unravel_index(np.nanargmax(column), gas.shape)] == 3
    assert labels[-1, -1] == 1


@pytest.mark.parametrize("method", ["kmeans", "gmm", "hdbscan"])
def test_methods_and_same_seed_same_result(encoder, gas, method):
    one, other = (
        segmenter(encoder, method=method, random_state=4).segment(gas).labels.data for _ in "ab"
    )
    np.testing.assert_array_equal(one, other)
    assert (one[gas.mask] == 0).all()
    assert one.max() >= 2


def test_number_can_be_chosen(encoder, gas):
    result = segmenter(encoder, "auto").segment(gas)
    assert 2 <= result.n_segments <= 10
    assert len(result.table) == result.n_segments


def test_fit_on_several_maps_gives_labels_one_meaning(encoder, gas, make_gas):
    faint = make_gas((64, 64), seed=3)
    faint = GasMap(faint.column_density / 10, wcs=faint.wcs, distance=faint.distance)
    fitted = segmenter(encoder).fit([gas, faint])
    bright, weak = fitted.segment(gas), fitted.segment(faint)
    assert bright.labels.data.max() == 3
    assert np.median(weak.labels.data[weak.labels.data > 0]) == 1
    np.testing.assert_array_equal(bright.explained_variance_ratio, weak.explained_variance_ratio)
    assert "fitted=True" in repr(fitted)
    assert "fitted=False" in repr(segmenter(encoder))


@pytest.mark.parametrize("method", ["kmeans", "gmm", "hdbscan"])
def test_fitted_segmenter_can_be_sent_to_a_worker(encoder, gas, method):
    fitted = segmenter(encoder, method=method).fit(gas)
    fitted._encoder = None  # of the tests' own, which no other process can import
    back = pickle.loads(pickle.dumps(fitted))
    back._encoder = fitted._encoder = encoder
    np.testing.assert_array_equal(back.segment(gas).labels.data, fitted.segment(gas).labels.data)


def test_segment_does_not_keep_a_fit(encoder, gas, make_gas):
    own = segmenter(encoder)
    first = own.segment(gas).labels.data
    own.segment(make_gas((64, 64), seed=9))
    np.testing.assert_array_equal(own.segment(gas).labels.data, first)


@pytest.mark.parametrize("cut", [70, 61])
def test_halves_agree_with_the_whole(encoder, make_gas, cut):
    gas = make_gas((128, 64), nan=False)
    fitted = segmenter(encoder, 4).fit(gas)
    whole = fitted.segment(gas).labels.data
    upper = fitted.segment(gas[cut - 20 :]).labels.data
    lower = fitted.segment(gas[: cut + 20]).labels.data
    assert (whole[cut + 20 :] == upper[40:]).mean() > 0.99
    assert (whole[: cut - 20] == lower[: cut - 20]).mean() > 0.99


def test_missing_velocities_wcs_and_distance(encoder, make_gas):
    gas = make_gas(velocities=False, wcs=False, distance=None)
    result = segmenter(encoder).segment(gas)
    assert result.labels.data.max() == 3
    assert result.labels.wcs is None
    for name in ("area", "gas_mass", "mean_velocity", "virial_parameter", "sky_centroid"):
        assert name not in result.table.colnames
    with pytest.raises(ValueError, match="needs a WCS"):
        _ = result.masses
    with pytest.raises(ValueError, match="needs a WCS"):
        result.area(1)
    with pytest.raises(ValueError, match="kind='sky' needs a WCS"):
        result.to_regions("sky")
    with pytest.raises(ValueError, match="needs the distance"):
        _ = segmenter(encoder).segment(make_gas(distance=None)).masses


def test_min_area(encoder, gas):
    free = segmenter(encoder, 5, min_area=0).segment(gas)
    wide = segmenter(encoder, 5, min_area=400 * gas.pixel_area).segment(gas)
    assert len(wide.piece_segments) < len(free.piece_segments)
    sizes = np.bincount(wide.pieces.data.ravel())[1:]
    assert sizes.min() >= 400
    with pytest.raises(ValueError, match="min_area=2.0 beam needs the beam"):
        segmenter(encoder, min_area=2 * u.beam).segment(gas)


def test_scale_of_the_map(encoder, make_gas):
    """A map of four times the pixels is segmented on its own pixels."""
    gas = make_gas((96, 96), nan=False, velocities=False)
    fine = GasMap(
        gas.column_density.repeat(2, 0).repeat(2, 1), distance=gas.distance,
        pixel_scale=gas.pixel_scale / 2,
    )  # fmt: skip
    coarse = GasMap(gas.column_density, pixel_scale=gas.pixel_scale)
    own = segmenter(encoder, pixel_scale=gas.pixel_scale, min_area=0)
    one, other = own.segment(coarse).labels.data, own.segment(fine)
    assert other.labels.data.shape == (192, 192)
    assert other.meta["scale_factor"] == pytest.approx(2)
    agreement = adjusted_rand_score(one.ravel(), other.labels.data[::2, ::2].ravel())
    assert agreement > 0.95


def test_coarse_map_warns(encoder, make_gas):
    with pytest.warns(AstrofractalWarning, match="much wider"):
        result = segmenter(encoder).segment(make_gas(distance=9000 * u.pc))
    assert result.labels.data.shape == (96, 80)


def test_islands_of_data(encoder):
    column = np.full((60, 60), np.nan)
    column[20:40, 30:50] = 1e22 * np.linspace(1, 5, 20)
    column[2:4, 2:4] = 1e22
    gas = GasMap(column / u.cm**2)
    labels = segmenter(encoder, 2, min_area=10).segment(gas).labels.data
    assert (labels[20:40, 30:50] > 0).all()
    assert not labels[:10, :10].any()
    labels = segmenter(encoder, 2).segment(gas).labels.data
    assert (labels[~gas.mask] > 0).mean() > 0.98


def test_real_encoder(gas):
    own = FractalEncoder(weights="random")
    result = FeatureSegmenter(3, encoder=own, n_components=4).segment(gas)
    assert result.components.data.shape == (4, *gas.shape)
    assert result.meta["weights_id"] == "random-0"
    np.testing.assert_array_equal(result.labels.data == 0, gas.mask)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"n_segments": 0}, ValueError, "n_segments must be a positive integer, got 0"),
        ({"n_segments": "many"}, ValueError, "n_segments must be one of 'auto'"),
        ({"method": "dbscan"}, ValueError, "method must be one of 'kmeans', 'gmm', 'hdbscan'"),
        ({"n_components": 1.5}, ValueError, "n_components"),
        ({"velocity_reference": "sun"}, ValueError, "velocity_reference"),
        ({"sharpness": 0}, ValueError, "sharpness must be positive, got 0"),
        ({"min_cluster_fraction": 1}, ValueError, "min_cluster_fraction"),
        ({"pixel_scale": 0.01}, TypeError, "pixel_scale must be 'auto', None or a Quantity"),
        ({"pixel_scale": 3 * u.arcsec}, u.UnitConversionError, "pixel_scale must be a length"),
        ({"pixel_scale": -1 * u.pc}, ValueError, "pixel_scale must be one positive length"),
        ({"min_area": "x"}, TypeError, "min_area"),
        ({"random_state": -1}, ValueError, "random_state"),
    ],
)
def test_wrong_arguments(options, error, match):
    with pytest.raises(error, match=match):
        FeatureSegmenter(**options)


def test_wrong_calls(encoder, gas):
    with pytest.raises(ValueError, match="gas must hold at least one map"):
        segmenter(encoder).fit([])
    tiny = GasMap(np.full((3, 3), 1e22) / u.cm**2)
    with pytest.raises(ValueError, match="n_segments=3 is more than the"):
        segmenter(encoder).segment(tiny)
    with pytest.raises(ValueError, match="stride must divide"):
        segmenter(encoder, stride=3).segment(gas)
