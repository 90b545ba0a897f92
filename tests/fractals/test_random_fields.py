import pickle

import numpy as np
import pytest

pytest.importorskip("numba")

from astrofractal.fractals import RandomFieldStream, draw_amplitude


def test_image_is_gas_and_depends_on_seed_and_index_alone():
    stream = pickle.loads(pickle.dumps(RandomFieldStream(3, 48)))
    images = np.stack([stream[i] for i in range(20)])
    again = [RandomFieldStream(3, 48, n_images=20)[i] for i in reversed(range(20))]
    np.testing.assert_array_equal(images, again[::-1])
    assert images.dtype == np.float32
    assert np.isfinite(images).all()
    assert (images[:, 2] > 0).all()
    for index, image in enumerate(images):
        amplitude = draw_amplitude(3, index)
        assert image[0].mean() == pytest.approx(amplitude.mean, abs=1e-3)
        assert image[0].std() == pytest.approx(amplitude.spread, rel=1e-3)
        assert image[1].std() == pytest.approx(amplitude.velocity, rel=1e-3)
        assert np.unravel_index(image[0].argmax(), (48, 48)) == (24, 24)
    others = np.stack([RandomFieldStream(4, 48)[i] for i in range(20)])
    every = np.concatenate([images, others])[:, 0].reshape(40, -1)
    assert abs(np.corrcoef(every) - np.eye(40)).max() < 0.95  # no two alike


def test_spectra_have_many_slopes():
    slopes = []
    k = np.hypot(np.fft.fftfreq(96, 1 / 96)[:, None], np.fft.rfftfreq(96, 1 / 96))
    for index in range(40):
        image = RandomFieldStream(0, 96)[index][0]
        window = np.hanning(96)[:, None] * np.hanning(96)
        power = abs(np.fft.rfft2((image - image.mean()) * window)) ** 2
        means = [power[(k >= low) & (k < 1.5 * low)].mean() for low in (4, 6, 9)]
        slopes.append(-np.polyfit(np.log([4, 6, 9]), np.log(means), 1)[0])
    assert min(slopes) < 2
    assert max(slopes) > 4.5
    assert np.std(slopes) > 0.7


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"size": 4}, "size must be an integer of at least 8, got 4"),
        ({"n_images": 2.5}, "n_images must be a positive integer, got 2.5"),
    ],
)
def test_wrong_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        RandomFieldStream(**{"seed": 0, **options})
    with pytest.raises(IndexError, match="between 0 and 2, got 3"):
        RandomFieldStream(0, n_images=3)[3]
