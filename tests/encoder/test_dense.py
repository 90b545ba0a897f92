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
        ({"min_good_fraction": 2}, "min_good_fraction must be between 0 and 1, got 2"),
    ],
)
def test_wrong_arguments(array, options, match):
    with pytest.raises(ValueError, match=match):
        dense_features(Positions(), array, **options)


def test_wrong_shape(array):
    with pytest.raises(ValueError, match="array must have the shape"):
        dense_features(Positions(), array[0])


def test_means_of_positions_are_taken_out(array):
    """The second feature tells nothing but the place in the window."""
    wide = np.tile(array, (1, 4, 4))
    plain = dense_features(Positions(), wide, stride=4)
    found = dense_features(Positions(), wide, stride=4, center_positions=True)
    assert plain.positions is None
    assert found.positions.shape == (4, 4, 2)
    assert found.values[..., 1].std() < 0.1 * plain.values[..., 1].std()
    assert np.corrcoef(found.values[..., 0].ravel(), plain.values[..., 0].ravel())[0, 1] > 0.97
    again = dense_features(
        Positions(), wide, stride=4, transform=lambda tokens: tokens - found.positions
    )
    np.testing.assert_allclose(again.values, found.values, atol=1e-4)


def test_one_window_keeps_its_features(array):
    one = dense_features(Positions(), array[:, :32, :32], center_positions=True)
    plain = dense_features(Positions(), array[:, :32, :32])
    assert one.n_windows == 1
    assert one.values.std() > 0.85 * plain.values.std()


def test_nothing_to_center_without_windows(array):
    assert dense_features(Positions(), array * np.nan, center_positions=True).positions is None
