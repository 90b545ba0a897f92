import hashlib
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

pytest.importorskip("numba")

from astrofractal.fractals import (
    FlameStream,
    as_gas,
    draw_amplitude,
    frame_system,
    write_contact_sheet,
)
from astrofractal.fractals.renderer import find_flame, smooth


def _hash(images):
    return hashlib.sha256(b"".join(image.astype("<f4").tobytes() for image in images)).hexdigest()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"n_points": 50_000}, "6fdf834d6c7afb5e"),
        ({"rendering": "palette", "center": "attractor"}, "c9ce0f38a6d1ad55"),
        ({"rendering": "moments", "coverage": 0.8}, "a6e42acf0584b466"),
    ],
)
def test_images_never_change(options, expected):
    # With basic operations in a fixed order these are the same on any processor.
    stream = FlameStream(1, 96, **options)
    assert _hash(stream[i] for i in range(20))[:16] == expected


def test_image_depends_on_seed_and_index_alone():
    stream = FlameStream(4, 32, 4000)
    images = [stream[i] for i in range(8)]
    backwards = [FlameStream(4, 32, 4000, n_images=50)[i] for i in reversed(range(8))]
    np.testing.assert_array_equal(images, backwards[::-1])
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        np.testing.assert_array_equal(images, list(pool.map(stream.__getitem__, range(8))))
    others = [FlameStream(5, 32, 4000)[i] for i in range(8)]
    every = np.reshape([*images, *others], (16, 3, -1))[:, 0]
    assert abs(np.corrcoef(every) - np.eye(16)).max() < 0.9  # no two alike


@pytest.mark.parametrize("rendering", ["gas", "moments", "palette"])
@pytest.mark.parametrize("center", ["peak", "attractor"])
def test_no_blank_images(rendering, center):
    stream = FlameStream(0, 32, 3000, rendering, center=center)
    images = np.stack([stream[i] for i in range(40)])
    assert images.dtype == np.float32
    assert np.isfinite(images).all()
    assert (images.std(axis=(2, 3)).max(axis=1) > 0.02).all()
    if rendering == "palette":
        assert images.min() >= 0
        assert images.max() <= 1
    else:
        assert (images[:, 2] >= 0).all()


@pytest.mark.parametrize("index", range(5))
def test_same_flame_at_any_size(index):
    small, large = FlameStream(2, 32, 50_000, "moments"), FlameStream(2, 64, 200_000, "moments")
    binned = large[index].reshape(3, 32, 2, 32, 2).mean(axis=(2, 4))
    assert np.corrcoef(small[index][0].ravel(), binned[0].ravel())[0, 1] > 0.9


def test_peak_is_at_the_center():
    excess = {}
    for center in ("peak", "attractor"):
        stream = FlameStream(0, 32, 10_000, "moments", center=center)
        images = np.stack([stream[i][0] for i in range(40)])
        excess[center] = np.mean(
            images[:, 14:18, 14:18].mean(axis=(1, 2)) - images.mean(axis=(1, 2))
        )
    assert excess["peak"] > 0.5
    assert excess["peak"] > excess["attractor"] + 0.1


@pytest.mark.parametrize("index", range(10))
def test_more_coverage_takes_no_fewer_attempts(index):
    sparse, dense = (find_flame(0, index, coverage=c, center="attractor")[3] for c in (0.0, 0.8))
    assert dense >= sparse


def test_coverage_fills_the_frame():
    dense = np.mean([FlameStream(0, 32, 20_000, "moments", coverage=0.9)[i][0] for i in range(10)])
    thin = np.mean([FlameStream(0, 32, 20_000, "moments", coverage=0.0)[i][0] for i in range(10)])
    assert dense > thin


@pytest.mark.parametrize("index", range(10))
def test_stream_rejects_what_is_degenerate(index):
    system = FlameStream(0, center="attractor").system(index)
    assert system.n_maps >= 2
    assert not {"noise", "blur", "gaussian"} & {n for row in system.variations for n in row}
    assert frame_system(system, coverage=0.2)[1] in ("accepted", "blob", "flat", "one color")


@pytest.mark.parametrize("index", range(10))
def test_gas_channels(index):
    image, moments = (FlameStream(3, 48, 20_000, kind)[index] for kind in ("gas", "moments"))
    amplitude = draw_amplitude(3, index)
    np.testing.assert_array_equal(image, as_gas(moments, amplitude))
    assert image[0].mean() == pytest.approx(amplitude.mean, abs=1e-3)
    assert image[0].std() == pytest.approx(amplitude.spread, rel=1e-3)
    assert image[1].std() == pytest.approx(amplitude.velocity, rel=1e-3)
    column = 10.0 ** image[0].astype(float)
    assert abs((column * image[1]).sum() / column.sum()) < 1e-4
    assert np.corrcoef(image[0].ravel(), moments[0].ravel())[0, 1] > 0.9999


def test_amplitudes_bracket_real_ones():
    drawn = np.array([draw_amplitude(0, i) for i in range(500)])
    mean, spread, velocity = drawn[:, 0], drawn[:, 1], drawn[:, 2]
    assert 21.9 < mean.mean() < 22.1
    assert 0.4 < mean.std() < 0.5
    assert spread.min() > 0.17
    assert spread.max() < 0.76
    assert velocity.min() > 0.09
    assert velocity.max() < 0.81
    assert len(np.unique(mean)) == 500


def test_smoothing_keeps_totals_and_ratios():
    rng = np.random.default_rng(0)
    count = rng.poisson(3, (40, 40)).astype(np.float32)
    fields = np.stack([count, 0.25 * count, 0.0625 * count, 0 * count], axis=-1)
    smoothed = smooth(fields)
    assert smoothed[..., 0].mean() == pytest.approx(count.mean(), rel=0.05)
    assert smoothed[..., 0].std() < 0.4 * count.std()
    np.testing.assert_allclose(smoothed[..., 1], 0.25 * smoothed[..., 0], rtol=1e-5)
    flat = np.ones((20, 20, 4), np.float32)
    np.testing.assert_allclose(smooth(flat), 1, rtol=1e-6)


def test_dataset_manners():
    stream = FlameStream(0, 32, 2000, n_images=3)
    assert len(stream) == 3
    copy = pickle.loads(pickle.dumps(stream))
    np.testing.assert_array_equal(copy[np.int64(2)], stream[2])
    assert "center='peak'" in repr(stream)
    with pytest.raises(IndexError, match="between 0 and 2, got 3"):
        stream[3]
    assert len(list(stream)) == 3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"size": 4}, "size must be an integer of at least 8, got 4"),
        ({"n_points": 0}, "n_points must be a positive integer, got 0"),
        ({"rendering": "jpeg"}, "rendering must be one of 'gas'"),
        ({"center": "left"}, "center must be one of 'peak'"),
        ({"coverage": 1.5}, "coverage must be between 0 and 1, got 1.5"),
        ({"n_images": 2.5}, "n_images must be a positive integer, got 2.5"),
    ],
)
def test_wrong_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        FlameStream(**{"seed": 0, **options})


def test_unreachable_coverage(monkeypatch):
    monkeypatch.setattr("astrofractal.fractals.renderer.MAX_ATTEMPTS", 5)
    with pytest.raises(ValueError, match=r"coverage must be reachable, got 1.0: 5 candidates"):
        FlameStream(2, coverage=1.0)[0]


def test_wrong_moments():
    with pytest.raises(ValueError, match=r"shape \(3, size, size\), got \(3, 4, 5\)"):
        as_gas(np.zeros((3, 4, 5)), draw_amplitude(0, 0))


@pytest.mark.parametrize("rendering", ["moments", "palette"])
def test_contact_sheet(tmp_path, rendering):
    from matplotlib.image import imread

    stream = FlameStream(0, 16, 1000, rendering)
    write_contact_sheet([stream[i] for i in range(10)], tmp_path / "s.png", rendering=rendering)
    width = 8 * 18 + 2
    assert imread(tmp_path / "s.png").shape[:2] == (
        38,
        width * (3 if rendering == "moments" else 1),
    )
    with pytest.raises(ValueError, match="images must not be empty"):
        write_contact_sheet([], tmp_path / "t.png")
