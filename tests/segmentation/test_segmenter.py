"""FeatureSegmenter from map to labels."""

import pickle

import numpy as np
import pytest
from astropy import units as u
from scipy.ndimage import gaussian_filter
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.validation import check_is_fitted

from astrofractal import FeatureSegmenter, FractalEncoder, GasMap
from astrofractal.exceptions import AstrofractalWarning


def segmenter(encoder, n_segments=3, **options):
    return FeatureSegmenter(n_segments, encoder=encoder, **{"background": None, **options})


def test_labels_follow_the_gas(encoder, make_gas):
    gas = make_gas(velocities=False)
    result = segmenter(encoder).segment(gas)
    labels = result.labels.data
    np.testing.assert_array_equal(labels == 0, gas.mask)
    column = gas.column_density.value
    means = [column[labels == k].mean() for k in (1, 2, 3)]
    assert means == sorted(means)
    assert labels[np.unravel_index(np.nanargmax(column), gas.shape)] == 3
    assert labels[-1, -1] == 1


def test_background_is_left_out(encoder, make_gas):
    gas = make_gas(nan=False)
    result = segmenter(encoder, background="auto").segment(gas)
    column = gas.column_density.value
    level = u.Quantity(result.meta["background"]).to_value(u.cm**-2)
    assert 1.8e21 < level < 3.5e21
    assert (result.labels.data[column < 0.7 * level] == 0).all()
    assert (result.labels.data[column > 1.5 * level] > 0).all()
    np.testing.assert_array_equal(np.isnan(result.rgb.data).all(-1), result.labels.data == 0)
    chosen = segmenter(encoder, background=5e21 / u.cm**2).segment(gas)
    assert (chosen.labels.data > 0).sum() < (result.labels.data > 0).sum()
    assert chosen.meta["background"] == "5e+21 cm-2"


def test_same_seed_same_result(encoder, gas):
    one, other = (segmenter(encoder, random_state=4).segment(gas).labels.data for _ in "ab")
    np.testing.assert_array_equal(one, other)


def test_number_can_be_chosen(encoder, gas):
    result = segmenter(encoder, "auto").segment(gas)
    assert 2 <= result.n_segments <= 12
    assert np.nanmean(result.stability) >= 0.8
    assert len(result.table) == result.n_segments


@pytest.mark.parametrize("n_segments", [3, 6, 10])
def test_segments_are_ordered_by_density_and_none_is_empty(encoder, gas, n_segments):
    wide = 150 * gas.pixel_area  # merging moves pixels after clusters are numbered
    table = segmenter(encoder, n_segments, min_area=wide).segment(gas).table
    assert (table["n_pixels"] > 0).all()
    assert (np.diff(table["mean_column_density"]) > 0).all()
    assert "sky_centroid" in table.colnames


def test_fit_on_several_maps_gives_labels_one_meaning(encoder, gas, make_gas):
    faint = make_gas((64, 64), seed=3)
    faint = GasMap(faint.column_density / 10, wcs=faint.wcs, distance=faint.distance)
    fitted = segmenter(encoder).fit([gas, faint])
    bright, weak = fitted.segment(gas), fitted.segment(faint)
    assert bright.labels.data.max() == 3
    assert np.median(weak.labels.data[weak.labels.data > 0]) == 1
    assert bright.meta["background"] == weak.meta["background"]


def test_fitted_segmenter_can_be_sent_to_a_worker(encoder, gas):
    fitted = segmenter(encoder).fit(gas)
    fitted.encoder = None  # of the tests' own, which no other process can import
    back = pickle.loads(pickle.dumps(fitted))
    back.encoder = fitted.encoder = encoder
    np.testing.assert_array_equal(back.segment(gas).labels.data, fitted.segment(gas).labels.data)


def test_segment_does_not_keep_a_fit(encoder, gas, make_gas):
    own = segmenter(encoder)
    first = own.segment(gas).labels.data
    own.segment(make_gas((64, 64), seed=9))
    np.testing.assert_array_equal(own.segment(gas).labels.data, first)


@pytest.mark.parametrize("cut", [70, 61])
def test_halves_agree_with_the_whole(encoder, make_gas, cut):
    gas = make_gas((240, 64), nan=False, distance=3000 * u.pc)
    fitted = segmenter(encoder, 4).fit(gas)
    whole = fitted.segment(gas).labels.data
    upper = fitted.segment(gas[cut:]).labels.data
    lower = fitted.segment(gas[: cut + 100]).labels.data
    assert (whole[cut + 60 :] == upper[60:]).mean() > 0.99
    assert (whole[: cut + 40] == lower[: cut + 40]).mean() > 0.99


def test_missing_velocities_wcs_and_distance(encoder, make_gas):
    gas = make_gas(velocities=False, wcs=False, distance=None)
    result = segmenter(encoder).segment(gas)
    assert result.labels.data.max() == 3
    assert result.labels.wcs is None
    for name in ("area", "gas_mass", "mean_velocity", "virial_parameter", "sky_centroid"):
        assert name not in result.table.colnames
    with pytest.raises(ValueError, match="kind='sky' needs a WCS"):
        result.to_regions("sky")
    assert "gas_mass" not in segmenter(encoder).segment(make_gas(distance=None)).table.colnames


def test_min_area(encoder, gas):
    free = segmenter(encoder, 8, min_area=0).segment(gas)
    wide = segmenter(encoder, 8, min_area=300 * gas.pixel_area).segment(gas)
    assert len(wide.island_segments) < len(free.island_segments)
    sizes = np.bincount(wide.islands.data.ravel())[1:]
    assert sizes.min() >= 300
    with pytest.raises(ValueError, match="min_area=2.0 beam needs the beam"):
        segmenter(encoder, min_area=2 * u.beam).segment(gas)


def test_smallest_island_is_two_tokens(encoder, make_gas):
    gas = make_gas(nan=False)
    result = segmenter(encoder, 6, scale=4 * u.pix).segment(gas)
    assert np.bincount(result.islands.data.ravel())[1:].min() >= 32
    assert result.meta["token_width"] == "4 px"


def test_map_smaller_than_a_window_warns(encoder, make_gas):
    with pytest.warns(
        AstrofractalWarning, match=r"6 x 80 px\) is smaller than a window of the encoder \(8 px\)"
    ):
        segmenter(encoder).segment(make_gas((6, 80), nan=False))


@pytest.mark.parametrize(("n_views", "step"), [(8, 12), (2, 12), (40, 4), (1, 12)])
def test_windows_see_all_phases_of_a_patch(encoder, gas, n_views, step):
    """Windows of 32 px with tokens of 8 px: steps are odd multiples of half a token."""
    few = segmenter(encoder, n_views=n_views).segment(gas).meta["n_windows"]
    cells = gas.mask.size * 16  # of the working map, whose pixels are a quarter of the map's
    assert few == pytest.approx(cells / step**2, rel=0.35)


def test_stability_of_segments(encoder, gas):
    result = segmenter(encoder).segment(gas)
    assert result.table["stability"].min() > 0.5
    assert result.table["stability"].max() <= 1
    fitted = segmenter(encoder).fit(gas).segment(gas)
    np.testing.assert_allclose(fitted.table["stability"], result.table["stability"])


def test_segments_stay_where_the_gas_stays(encoder):
    """Turned, cut and farther away, with the grid of windows elsewhere on the gas."""
    fields = gaussian_filter(np.random.default_rng(0).normal(size=(3, 128, 112)), (0, 7, 7))
    kms = u.km / u.s
    gas = GasMap(
        10 ** (22 + 12 * fields[0]) / u.cm**2, 10 * fields[1] * kms, (0.5 + 3 * fields[2]) * kms,
        pixel_scale=0.0156 * u.pc,
    )  # fmt: skip
    own = segmenter(encoder, 5)
    labels = own.segment(gas).labels.data

    def agreement(one, other):
        return adjusted_rand_score(one.ravel(), other.ravel())

    turned = GasMap(
        *(values[::-1, ::-1] for values in (gas.column_density, gas.velocity, gas.dispersion)),
        pixel_scale=gas.pixel_scale,
    )
    assert agreement(own.segment(turned).labels.data[::-1, ::-1], labels) > 0.8
    assert agreement(own.segment(gas[8:]).labels.data, labels[8:]) > 0.8
    other = segmenter(encoder, 5, random_state=5).segment(gas).labels.data
    assert agreement(other, labels) > 0.9


def test_labels_do_not_depend_on_units_frames_types_and_threads(encoder, make_gas):
    from threadpoolctl import threadpool_limits

    gas = make_gas((96, 96))
    expected = segmenter(encoder).segment(gas).labels.data
    icrs = gas.wcs.deepcopy()
    galactic = gas.wcs.deepcopy()
    center = gas.wcs.pixel_to_world(*(gas.wcs.wcs.crpix - 1)).galactic
    galactic.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    galactic.wcs.crval = center.l.deg, center.b.deg
    channels = gas.column_density, gas.velocity, gas.dispersion
    big = [u.Quantity(values.value.astype(">f4"), values.unit) for values in channels]
    others = {
        "units": GasMap(
            channels[0].to(u.m**-2), channels[1].to(u.m / u.s), channels[2].to(u.cm / u.s),
            wcs=icrs, distance=gas.distance.to(u.kpc),
        ),
        "frame": GasMap(*channels, wcs=galactic, distance=gas.distance),
        "dtype": GasMap(*big, wcs=icrs, distance=gas.distance),
    }  # fmt: skip
    for name, other in others.items():
        found = segmenter(encoder).segment(other).labels.data
        assert (found == expected).mean() > 0.999, name
    with threadpool_limits(2):
        found = segmenter(encoder).segment(gas).labels.data
    assert (found == expected).mean() > 0.999


def test_scale_of_the_map(encoder, make_gas):
    """A map of four times the pixels is segmented on its own pixels."""
    gas = make_gas((96, 96), nan=False, velocities=False)
    fine = GasMap(
        gas.column_density.repeat(2, 0).repeat(2, 1), distance=gas.distance,
        pixel_scale=gas.pixel_scale / 2,
    )  # fmt: skip
    coarse = GasMap(gas.column_density, pixel_scale=gas.pixel_scale)
    own = segmenter(encoder, scale=2 * gas.pixel_scale, min_area=0)
    one, other = own.segment(coarse).labels.data, own.segment(fine)
    assert other.labels.data.shape == (192, 192)
    assert other.meta["token_width"] == "4 px"
    agreement = adjusted_rand_score(one.ravel(), other.labels.data[::2, ::2].ravel())
    assert agreement > 0.9


def test_isolated_data(encoder):
    column = np.full((60, 60), np.nan)
    column[20:40, 30:50] = 1e22 * np.linspace(1, 5, 20)
    column[2:4, 2:4] = 1e22
    gas = GasMap(column / u.cm**2)
    labels = segmenter(encoder, 2, min_area=10).segment(gas).labels.data
    assert (labels[20:40, 30:50] > 0).all()
    assert not labels[:10, :10].any()
    labels = segmenter(encoder, 2, min_area=0).segment(gas).labels.data
    assert (labels[~gas.mask] > 0).mean() > 0.98


def test_real_encoder(gas):
    own = FractalEncoder(weights="random")
    result = FeatureSegmenter(3, background=None, n_views=4, encoder=own).segment(gas)
    assert result.components.data.shape == (9, *gas.shape)
    assert result.meta["weights_id"] == "random-0"
    np.testing.assert_array_equal(result.labels.data == 0, gas.mask)


OTHER = {
    "n_segments": 4,
    "background": 1e21 / u.cm**2,
    "scale": 0.02 * u.pc,
    "min_area": 3,
    "n_views": 4,
    "encoder": None,
    "random_state": 1,
}


def test_scikit_learn_manners(encoder, gas):
    own = FeatureSegmenter(**OTHER)
    assert own.get_params(deep=False) == OTHER
    assert clone(own).get_params(deep=False) == OTHER
    fitted = segmenter(encoder, n_views=4).fit(gas)
    check_is_fitted(fitted)
    copy = clone(fitted)
    with pytest.raises(NotFittedError):
        check_is_fitted(copy)
    assert copy.n_views == 4
    for name, value in OTHER.items():
        assert f"{name}={value!r}" in repr(own)


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("fitted", [False, True])
def test_every_option_changes_the_fingerprint(encoder, gas, name, fitted):
    own = segmenter(encoder)
    if fitted:
        own.fit(gas)
    before = own.fingerprint()
    assert segmenter(encoder).set_params(**own.get_params(deep=False)).fingerprint() == (
        before if not fitted else segmenter(encoder).fingerprint()
    )
    other = OTHER[name]
    if name == "encoder":
        other = FractalEncoder(weights="random")
    own.set_params(**{name: other})
    assert own.fingerprint() != before


def test_what_is_fitted_changes_the_fingerprint(encoder, gas, make_gas):
    one, other, none = segmenter(encoder).fit(gas), segmenter(encoder), segmenter(encoder)
    other.fit(make_gas(seed=9))
    assert len({s.fingerprint() for s in (one, other, none)}) == 3
    assert one.fingerprint() == segmenter(encoder).fit(gas).fingerprint()


def test_save_and_load(encoder, gas, tmp_path):
    path = tmp_path / "own.safetensors"
    fitted = segmenter(encoder, scale=0.02 * u.pc, min_area=0.001 * u.pc**2).fit(gas)
    fitted.save(path)
    back = FeatureSegmenter.load(path, encoder=encoder)
    assert back.fingerprint() == fitted.fingerprint()
    assert repr(back) == repr(fitted)
    np.testing.assert_array_equal(back.segment(gas).labels.data, fitted.segment(gas).labels.data)
    with pytest.raises(FileExistsError):
        fitted.save(path)
    with pytest.raises(ValueError, match="weights 'patch-means'.*give encoder="):
        FeatureSegmenter.load(path)
    with pytest.raises(ValueError, match="give that encoder, or fit again"):
        FeatureSegmenter.load(path, encoder=FractalEncoder(weights="random"))
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="was changed after it was saved"):
        FeatureSegmenter.load(path, encoder=encoder)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a segmenter"):
        FeatureSegmenter.load(path, encoder=encoder)
    with pytest.raises(NotFittedError):
        segmenter(encoder).save(tmp_path / "none.safetensors")


def test_random_encoder_is_found_again(gas, tmp_path):
    own = FractalEncoder(weights="random", random_state=3)
    fitted = FeatureSegmenter(2, encoder=own, n_views=2).fit(gas)
    fitted.save(tmp_path / "own.safetensors")
    assert FeatureSegmenter.load(tmp_path / "own.safetensors").fingerprint() == fitted.fingerprint()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (
            {"n_segments": 0},
            ValueError,
            "n_segments must be 'auto' or an integer from 1 to 64, got 0",
        ),
        (
            {"n_segments": "six"},
            ValueError,
            "n_segments must be 'auto' or an integer .*, got 'six'",
        ),
        ({"n_segments": 1000}, ValueError, "n_segments must be .* from 1 to 64, got 1000"),
        ({"n_segments": True}, ValueError, "n_segments must be .*, got True"),
        ({"background": 1e21}, TypeError, r"background must be a Quantity such as 1e21 / u\.cm"),
        ({"background": "low"}, ValueError, "background must be .*, got 'low'"),
        ({"background": 1 * u.pc}, u.UnitConversionError, "background must be a Quantity"),
        ({"scale": 0.01}, TypeError, "scale must be a Quantity such as"),
        ({"scale": None}, ValueError, "scale must be a Quantity such as"),
        ({"scale": 3 * u.arcsec}, u.UnitConversionError, "scale must be a Quantity such as"),
        ({"scale": -1 * u.pc}, ValueError, "scale must be one positive value"),
        ({"n_views": 0}, ValueError, "n_views must be a positive integer, got 0"),
        ({"min_area": "x"}, TypeError, "min_area"),
        ({"random_state": -1}, ValueError, "random_state"),
    ],
)
def test_wrong_arguments(gas, options, error, match):
    own = FeatureSegmenter(**options)
    for act in (own.fit, own.segment):
        with pytest.raises(error, match=match):
            act(gas)


def test_wrong_calls(encoder, gas):
    with pytest.raises(ValueError, match="gas must contain at least one map"):
        segmenter(encoder).fit([])
    tiny = GasMap(np.full((3, 3), 1e22) / u.cm**2)
    with (
        pytest.warns(AstrofractalWarning, match="smaller than a window"),
        pytest.raises(ValueError, match="n_segments=12 is more than the 9 cells of gas"),
    ):
        segmenter(encoder, 12).segment(tiny)
    with pytest.raises(ValueError, match="background=1e\\+25 cm-2 leaves no gas in the map"):
        segmenter(encoder, background=1e25 / u.cm**2).segment(gas)
