"""What a notebook shows of a map, its segments, an estimator and an encoder."""

import base64
import html
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from astropy import units as u
from matplotlib.colors import to_hex
from matplotlib.image import imread

from astrofractal import FractalEncoder, GasMap, StellarMassEstimator
from astrofractal._utils.html import thumbnail
from astrofractal.segmentation import FeatureSegmenter, Segmentation
from tests.factories import make_gas, make_mapset


def facts(text):
    """Return the rows of the table, from HTML that must be well-formed."""
    text = re.sub(r"(<img[^>]*)>", r"\1/>", text)
    rows = ElementTree.fromstring(text).iter("tr")
    return {row[0].text: row[1].text for row in rows}


def images(text):
    """Return the inline pictures as arrays."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [imread(io.BytesIO(base64.b64decode(data))) for data in found]


def test_a_map_shows_its_channels():
    column = np.full((40, 60), 1e21)
    column[:10] = np.nan
    column[30:] = 5e22
    gas = make_gas(column, np.zeros((40, 60)), flags=["beam"])
    text = gas._repr_html_()
    assert [picture.shape[:2] for picture in images(text)] == [(40, 60), (40, 60)]
    picture = images(text)[0]
    np.testing.assert_allclose(picture[-5, 30, :3], 0.85, atol=0.01)  # unknown, at the bottom
    assert picture[5, 30, :3].mean() > picture[20, 30, :3].mean() + 0.3  # dense, at the top
    assert "1e+21 to 5e+22 cm-2" in text
    shown = facts(text)
    assert shown["pixels"] == "60 × 40"
    assert shown["masked"] == "25%"
    assert shown["center"] == "52.00000 31.00000 deg (icrs)"
    assert shown["flags"] == "beam"
    assert "beam" not in shown


def test_a_map_of_which_little_is_known():
    gas = GasMap(np.full((8, 8), 1e21) / u.cm**2)
    assert facts(gas._repr_html_()) == {"pixels": "8 × 8", "pixel scale": "unknown"}


def test_a_segmentation_shows_its_segments():
    labels = np.repeat([0, 1, 1, 2], 10)[:, None] * np.ones(60, int)
    gas = make_gas(np.where(labels == 0, np.nan, 1e21))
    result = Segmentation(
        gas, labels, np.zeros((3, 40, 60)), rgb=np.full((40, 60, 3), 0.5), n_segments=2,
    )  # fmt: skip
    text = result._repr_html_()
    segments, components = images(text)
    assert segments.shape[:2] == components.shape[:2] == (40, 60)
    top, bottom = (to_hex(segments[row, 30, :3]).upper() for row in (5, 20))
    assert [bottom, top] == result.colors  # the first row is at the bottom
    shown = facts(text)
    assert shown["pixels"] == "60 × 40"
    assert [value for name, value in shown.items() if "segment" in name] == [
        "50.0% of the map",
        "25.0% of the map",
    ]


def test_a_large_map_has_a_small_picture():
    values = np.random.default_rng(0).random((2000, 1000, 3))
    (picture,) = images(thumbnail(values, "noise"))
    assert max(picture.shape) <= 720


@pytest.mark.parametrize(
    "tool", [StellarMassEstimator(regressor="<ridge>"), FeatureSegmenter(n_segments=4)]
)
def test_a_tool_shows_every_option(tool):
    bundle = tool._repr_mimebundle_()
    assert bundle["text/plain"] == repr(tool)
    assert bundle["text/html"] == f"<pre>{html.escape(repr(tool))}</pre>"
    for name, value in tool.get_params(deep=False).items():
        assert f"{name}={value!r}" in repr(tool)


def test_an_estimator_that_is_not_calibrated():
    estimator = StellarMassEstimator(regressor="ridge")
    assert "calibration: none: call fit" in estimator._repr_html_()


def test_the_bundled_estimator_shows_how_good_it_is():
    shown = StellarMassEstimator()._repr_html_()
    assert "calibration: bundled" in shown
    assert "on unseen clouds, N+v+sigma: R2 0.32 " in shown


def test_a_calibrated_estimator_shows_its_skill():
    from astrofractal.mass import FeatureSet

    features = FeatureSet(pooling=None, contrasts=True)
    estimator = StellarMassEstimator(features=features, regressor="ridge")
    estimator.fit(make_mapset(), channels=[("column_density",)])
    shown = estimator._repr_html_()
    skill = estimator.calibrations_[("column_density",)].skill_
    assert f"on unseen clouds, N: R2 {skill['r2_protostar']:.2f} " in shown
    assert f"calibration: {estimator.reference_id_}" in shown


def test_an_encoder_shows_its_weights():
    encoder = FractalEncoder(weights="random", random_state=7, device="cpu")
    assert "weights_id='random-7'" in html.unescape(encoder._repr_html_())
