"""Dense features: cover, blending, masks, anchors."""

import numpy as np
import pytest

from astrofractal.encoder.dense import dense_features


class Positions:
    """Tokens: the mean of the first channel in the patch, and the token's place in the window."""

    image_size, patch_size, embed_dim, in_chans, batch_size = 32, 8, 2, 3, 5

    def patch_features(self, images):
        assert np.isfinite(images[:, 0]).all()
        mean = images[:, 0].reshape(len(images), 4, 8, 4, 8).mean((2, 4))
        place = np.broadcast_to(np.arange(16.0).reshape(4, 4), mean.shape)
        return np.stack([mean, place], axis=-1).astype(np.float32)


@pytest.fixture
def array():
    return np.random.default_rng(0).normal(22, 0.3, (3, 83, 61)).astype(np.float32)


@pytest.mark.parametrize("stride", [8, 4, 2])
@pytest.mark.parametrize("shape", [(83, 61), (32, 32), (5, 90), (1, 1)])
def test_cells_cover_any_map(array, stride, shape):
    found = dense_features(Positions(), np.full((3, *shape), 7.0, np.float32), stride=stride)
    assert found.valid.all()
    np.testing.assert_allclose(found.values[..., 0], 7, rtol=1e-6)
    for n_cells, origin, length in zip(found.valid.shape, found.origin, shape, strict=True):
        assert -stride < origin <= 0
        assert origin + (n_cells - 1) * stride < length <= origin + n_cells * stride


def test_one_phase_is_the_mean_of_each_patch(array):
    found = dense_features(Positions(), array[:, :64, :56], stride=8)
    expected = array[0, :64, :56].reshape(8, 8, 7, 8).mean((1, 3))
    np.testing.assert_allclose(found.values[..., 0], expected, rtol=1e-6)


def test_shares_of_one_map_agree_where_their_anchors_do(array):
    whole = dense_features(Positions(), array, stride=4, anchor=(30, 41))
    part = dense_features(Positions(), array[:, 13:, 7:], stride=4, anchor=(17, 34))
    rows = (13 + part.origin[0] - whole.origin[0]) // 4
    columns = (7 + part.origin[1] - whole.origin[1]) // 4
    same = whole.values[rows:, columns:]
    assert same.shape == part.values.shape
    np.testing.assert_allclose(same[8:, 8:], part.values[8:, 8:], rtol=1e-5)


def test_shift_by_half_a_patch_changes_little():
    y, x = np.indices((120, 120))
    smooth = np.broadcast_to(22 + np.sin(x / 15) + np.cos(y / 12), (3, 120, 120))
    one = dense_features(Positions(), smooth, stride=4).values[6:-6, 6:-6, 0]
    other = dense_features(Positions(), smooth[:, 4:, 4:], stride=4).values[5:, 5:, 0]
    other = other[: one.shape[0], : one.shape[1]]
    assert np.abs(one - other).mean() < 0.05 * np.ptp(smooth[0])
    assert np.abs(one - other).max() < 0.15 * np.ptp(smooth[0])


def test_masked_pixels_are_filled_and_windows_of_them_left_out(array):
    array = array.copy()
    array[:, :, 20:] = np.nan
    found = dense_features(Positions(), array, stride=8, min_good_fraction=0.3)
    assert found.valid[:, :2].all()
    assert not found.valid[:, 4:].any()
    assert (found.values[~found.valid] == 0).all()
    everything = dense_features(Positions(), array * np.nan)
    assert everything.n_windows == 0
    assert not everything.valid.any()


def test_absent_channel_is_left_to_the_encoder(array):
    array = array.copy()
    array[1] = np.nan
    seen = []

    class Spy(Positions):
        def patch_features(self, images):
            seen.append(np.isnan(images[:, 1]).all())
            return super().patch_features(images)

    dense_features(Spy(), array)
    assert all(seen)
    assert np.isnan(array[1]).all()


def test_transform_is_applied_before_blending(array):
    full = dense_features(Positions(), array, stride=4)
    one = dense_features(Positions(), array, stride=4, transform=lambda t: t[..., :1] * 2)
    np.testing.assert_allclose(one.values[..., 0], 2 * full.values[..., 0], rtol=1e-5)


def test_input_is_not_changed_and_half_precision_is_close(array):
    array = array.copy()
    array[0, 3:9, 4:11] = np.nan
    before = array.copy()
    one = dense_features(Positions(), array)
    half = dense_features(Positions(), array, dtype=np.float16)
    np.testing.assert_array_equal(array, before)
    assert half.values.dtype == np.float16
    np.testing.assert_allclose(half.values, one.values, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"stride": 3}, "stride must divide the patch size of 8 pixels, got 3"),
        ({"stride": 0}, "stride"),
        ({"stride": 4, "step": 6}, "step must be a multiple of stride=4"),
        ({"step": 40}, "leave no gap"),
    ],
)
def test_wrong_arguments(array, options, match):
    with pytest.raises(ValueError, match=match):
        dense_features(Positions(), array, **options)


def test_scatter_is_what_windows_do_not_agree_in(array):
    """The first feature tells of the gas alone, the second of nothing but the place in the window."""
    wide = np.broadcast_to(22 + np.sin(np.arange(160) / 15), (3, 160, 160))
    plain = dense_features(Positions(), wide, stride=2, step=10)
    found = dense_features(Positions(), wide, stride=2, step=10, with_scatter=True)
    np.testing.assert_array_equal(found.values, plain.values)
    assert plain.scatter is None
    assert found.scatter.shape == (2, 2)
    np.testing.assert_allclose(found.scatter, found.scatter.T)
    assert found.scatter[0, 0] < 0.1 * found.values[..., 0].var()
    assert found.scatter[1, 1] > 5 * found.values[..., 1].var()


def test_scatter_of_one_window_is_none(array):
    one = dense_features(Positions(), array[:, :32, :32], stride=8, step=32, with_scatter=True)
    assert one.n_windows == 1
    np.testing.assert_allclose(one.scatter, 0, atol=1e-4)
    assert dense_features(Positions(), array * np.nan, with_scatter=True).scatter is None


def test_windows_are_turned_and_their_tokens_turned_back(array):
    """The mean of a patch is where the patch is, however the window was turned."""
    plain = dense_features(Positions(), array, step=16)
    found = dense_features(Positions(), array, step=16, turn=True)
    np.testing.assert_allclose(found.values[..., 0], plain.values[..., 0], rtol=1e-6)
    assert np.abs(found.values[..., 1] - plain.values[..., 1]).max() > 3


def test_cuts_of_one_map_see_the_same_orientations(array):
    options = {"stride": 2, "step": 6, "turn": True}
    whole = dense_features(Positions(), array, anchor=(30, 41), **options).values
    part = dense_features(Positions(), array[:, 12:, 8:], anchor=(18, 33), **options).values
    same = whole[6:, 4:]
    assert same.shape == part.shape
    np.testing.assert_allclose(same[17:, 17:], part[17:, 17:], rtol=1e-5)
