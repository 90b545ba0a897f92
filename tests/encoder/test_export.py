"""The ONNX model gives the features of the encoder that it was made from."""

import json
import warnings

import numpy as np
import pytest

from astrofractal.encoder import FractalEncoder
from astrofractal.encoder.export import export_onnx

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def encoder():
    """Return the bundled encoder, or one with random weights in a source tree without them."""
    try:
        return FractalEncoder(device="cpu")
    except FileNotFoundError:
        return FractalEncoder(weights="random", device="cpu")


@pytest.fixture(scope="module")
def exported(encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "encoder.onnx"
    return path, export_onnx(encoder, path)


def test_parity(encoder, exported):
    path, _ = exported
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # one file, weights inside
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    images = random.normal(
        [[[[22]], [[0]], [[0.4]]]], [[[[0.5]], [[0.4]], [[0.2]]]], (5, 3, 64, 64)
    )
    images = images.astype(np.float32)
    images[0, :, :10] = np.nan
    images[1, 1:] = np.nan
    for batch in (images, images[:1]):
        (tokens,) = session.run(None, {"images": batch})
        expected = encoder.tokens(batch)
        assert tokens.shape == expected.shape
        assert np.abs(tokens - expected).max() < 1e-4 * np.abs(expected).max()


def test_metadata(encoder, exported):
    path, metadata = exported
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.get_modelmeta().custom_metadata_map
    assert {key: found[key] for key in metadata} == metadata
    assert found["weights_id"] == encoder.weights_id
    assert json.loads(found["card"])["architecture"] == encoder.model_name
    assert json.loads(found["n_prefix_tokens"]) == 5


def test_an_existing_file_is_kept(encoder, exported):
    with pytest.raises(FileExistsError):
        export_onnx(encoder, exported[0])


def test_other_channels(tmp_path):
    from astrofractal.encoder import ChannelNormalization

    one = FractalEncoder(
        "timm:test_vit",
        weights="random",
        in_chans=1,
        normalization=ChannelNormalization((22.0,), (0.5,)),
        device="cpu",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_onnx(one, tmp_path / "one.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "one.onnx"))
    images = np.full((2, 1, one.image_size, one.image_size), 21.5, np.float32)
    (tokens,) = session.run(None, {"images": images})
    assert np.allclose(tokens, one.tokens(images), atol=1e-3)
