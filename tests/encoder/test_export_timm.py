"""A folder for timm gives the features of the encoder that it was made from, without astrofractal."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from astrofractal.encoder import ChannelNormalization, FractalEncoder
from astrofractal.encoder.export import export_timm

# The first version that loads models from a folder.
timm = pytest.importorskip("timm", minversion="1.0.16")

# A process of its own: there timm must not know the architectures of astrofractal.
BEFORE = """
import sys
import numpy as np
import torch
folder, images, tokens = sys.argv[1:]
maps = torch.from_numpy(np.load(images))
"""
AFTER = """
assert "astrofractal" not in sys.modules
np.save(tokens, tokens_.detach().numpy())
"""


def code_of(readme):
    """Return what a README tells to run, with the folder and the result named as here."""
    code = re.search("```python\n(.*?)```", readme, re.S)[1]
    code = code.replace('"local-dir:FOLDER"', 'f"local-dir:{folder}"')
    return BEFORE + code.replace("tokens = ", "tokens_ = ") + AFTER


@pytest.mark.parametrize("name", ["bundled", "another"])
def test_tokens_are_the_same(name, tmp_path):
    if name == "bundled":
        encoder = FractalEncoder(device="cpu")
    else:
        normalization = ChannelNormalization(center=(22.0,), scale=(0.5,))
        encoder = FractalEncoder(
            "timm:test_vit", weights="random", in_chans=1, normalization=normalization,
            device="cpu",
        )  # fmt: skip
    config = export_timm(encoder, tmp_path / "model")
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    heads = ["heads.safetensors"] if encoder.heads else []
    assert names == ["README.md", "config.json", *heads, "model.safetensors"]
    assert json.loads((tmp_path / "model" / "config.json").read_text("utf-8")) == config
    side = encoder.image_size
    random = np.random.default_rng(1)
    center = np.reshape([22, 0, 0.4], (3, 1, 1))
    images = random.normal(center, 0.3, (2, 3, side, side)).astype(np.float32)[
        :, : encoder.in_chans
    ]
    images[0, :, :10] = np.nan
    np.save(tmp_path / "images.npy", images)
    readme = (tmp_path / "model" / "README.md").read_text("utf-8")
    if name == "bundled":
        stages = (
            "compact (seed 1), compact_zoom (seed 2), compact_zoom (seed 3), "
            "compact_invariant (seed 11), compact_invariant (seed 12)"
        )
        assert f"530,112 images seen; recipes, the first stage first: {stages}." in readme
    command = [sys.executable, "-W", "ignore", "-c", code_of(readme), tmp_path / "model"]
    command += [tmp_path / "images.npy", tmp_path / "tokens.npy"]
    subprocess.run(command, check=True, cwd=tmp_path)
    tokens, expected = np.load(tmp_path / "tokens.npy"), encoder.tokens(images)
    assert tokens.shape == expected.shape
    assert np.abs(tokens - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["bundled", "random"])
def test_folder_comes_back_as_the_same_encoder(name, tmp_path):
    encoder = FractalEncoder(weights=name)
    export_timm(encoder, tmp_path / "model")
    for again in (
        FractalEncoder.from_pretrained(tmp_path / "model"),
        FractalEncoder.from_pretrained(str(tmp_path / "model"), batch_size=2),
        FractalEncoder(weights=tmp_path / "model"),
    ):
        assert again.fingerprint() == encoder.fingerprint()
        assert again.weights_id == encoder.weights_id
        assert again.card == encoder.card


def test_pretrained_file_needs_no_name_of_its_model(tmp_path):
    normalization = ChannelNormalization(center=(22.0,), scale=(0.5,))
    options = {"in_chans": 1, "normalization": normalization}
    encoder = FractalEncoder("timm:test_vit", weights="random", **options)
    encoder.save(tmp_path / "mine.safetensors")
    again = FractalEncoder.from_pretrained(tmp_path / "mine.safetensors")
    assert (again.model_name, again.in_chans) == ("test_vit", 1)
    assert again.normalization == normalization


def test_hub_is_asked_only_for_what_is_not_here(tmp_path, monkeypatch):
    asked = []

    def snapshot_download(name, *, local_files_only=False, **_):
        asked.append(local_files_only)
        if local_files_only:
            raise LocalEntryNotFoundError(name)
        raise ConnectionError(110, "no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(
        FileNotFoundError, match="'owner/name', no model .*no network.*give the path"
    ):
        FractalEncoder.from_pretrained("owner/name")
    assert asked == [True, False]
    export_timm(FractalEncoder(weights="random"), tmp_path / "cached")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: tmp_path / "cached")
    assert FractalEncoder.from_pretrained("owner/name").weights_id == "random-0"
    with pytest.raises(FileNotFoundError, match=r"source: no file or folder '.*x.safetensors'"):
        FractalEncoder.from_pretrained("owner/x.safetensors")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", "is not JSON"),
        ("config.json", "{}", "config.json' has no card of astrofractal"),
        ("config.json", '{"astrofractal": {"card": {}}}', "config.json' lacks architecture"),
        ("model.safetensors", "x", "model.safetensors' is damaged"),
        ("heads.safetensors", "x", "heads.safetensors' is damaged"),
    ],
)
def test_damaged_folder_is_named(tmp_path, file, content, message):
    export_timm(FractalEncoder(), tmp_path / "model")
    (tmp_path / "model" / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        FractalEncoder.from_pretrained(tmp_path / "model")


def test_an_existing_folder_is_kept(tmp_path):
    encoder = FractalEncoder(weights="random", device="cpu")
    (tmp_path / "model").mkdir()
    with pytest.raises(FileExistsError, match="model"):
        export_timm(encoder, tmp_path / "model")
    export_timm(encoder, tmp_path / "model", overwrite=True)
    assert "None (seed 0)" in (tmp_path / "model" / "README.md").read_text("utf-8")
