"""Starts that are refused before anything is written, and what failed ones leave behind."""

import json

import pytest
import pytorch_lightning as pl
import torch

pytest.importorskip("lightly")

from astrofractal._utils.atomic import only_writer
from astrofractal.fractals import FlameStream, write_shards
from astrofractal.pretraining import export_run, pretrain

SMALL = {
    "n_images": 16,
    "batch_size": 4,
    "n_points": 2000,
    "n_prototypes": 32,
    "head_hidden": 32,
    "head_bottleneck": 16,
    "steps_per_checkpoint": 2,
}
OPTIONS = {"n_workers": 0, "devices": 1}


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder, FlameStream(1, 96, 2000, n_images=16), shard_size=8)
    return folder


@pytest.fixture(scope="module")
def half_run(tmp_path_factory, shards):
    """A run of half its steps on shards."""
    folder = tmp_path_factory.mktemp("runs") / "half"
    values = {"precision": "32-true", "max_steps": 2, "shards": shards, **OPTIONS, **SMALL}
    return pretrain("compact", output=folder, **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 65}, "image_size must be a multiple of the 8 px of a patch, got 65"),
        ({"local_grid": 9}, "local_grid must be at most 8 patches, got 9"),
        ({"block_side": 8}, "block_side must be at least 1 and less than 8 patches, got 8"),
        ({"mask_ratio": 0.999}, "mask_ratio must be a share that leaves and hides"),
        ({"model": "astrofractal_vit_huge"}, "astrofractal_vit_huge"),
        ({"max_steps": -1}, "max_steps must be a positive integer, got -1"),
        ({"max_steps": 0}, "max_steps must be a positive integer, got 0"),
        ({"n_workers": -1}, "n_workers must be an integer of at least 0, got -1"),
        ({"seed": 2}, "shards: seed of .* must be the recipe's seed=2, got 1"),
        ({"source_size": 64}, "shards: size of .* must be the recipe's source_size=64, got 96"),
        ({"n_points": 5}, "shards: n_points of .* must be the recipe's n_points=5, got 2000"),
        ({"source": "random_fields"}, "shards must be None with source='random_fields'"),
        (
            {"rendering": "palette", "structure_weight": 0, "cusp_probability": 0},
            "shards: rendering of .* must be the recipe's rendering='palette', got 'gas'",
        ),
    ],
)
def test_refused_start_writes_nothing(shards, tmp_path, values, message):
    options = {"precision": "32-true", **OPTIONS, **SMALL, "shards": shards}
    with pytest.raises((ValueError, RuntimeError), match=message):
        pretrain("compact", output=tmp_path / "run", **{**options, **values})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"predictor_dim": 64}, r"predictor.* is \(.*64.*\) and \(.*128.*\) in "),
        ({"class_structure_weight": 1.0}, r"class_to_structure.bias is \(.*\) and absent in "),
        ({"source": "random_fields"}, "source must be 'flames' to continue, got 'random_fields'"),
        ({"momentum": 5}, "momentum must be in"),
        ({"seed": 3}, "shards: seed of .* must be the recipe's seed=3, got 1"),
        ({"output": "x"}, "output is for a new run: .* got 'x'"),
    ],
)
def test_refused_resume_leaves_the_run_as_it_is(half_run, values, message):
    before = _files(half_run)
    with pytest.raises(ValueError, match=message):
        pretrain(resume=half_run, **OPTIONS, **values)
    assert _files(half_run) == before


def test_resumed_run_remembers_its_shards(half_run, shards, tmp_path):
    values = {"precision": "32-true", "shards": shards, **OPTIONS, **SMALL}
    whole = pretrain("compact", output=tmp_path / "whole", **values)
    pretrain(resume=half_run, **OPTIONS)
    cards = [export_run(run, tmp_path / f"{run.name}.safetensors") for run in (half_run, whole)]
    assert cards[0] == cards[1]  # with the checksum of the weights
    assert cards[0]["n_distinct"] == 16
    settings = json.loads((half_run / "recipe.json").read_text())
    assert settings["shards"] == str(shards)


def test_resumed_run_without_checkpoint_begins_where_it_should(half_run, tmp_path, monkeypatch):
    class Stop(pl.Callback):
        def on_train_start(self, *_):
            raise OSError(5, "no more")

    origin, run = tmp_path / "origin.safetensors", tmp_path / "run"
    export_run(half_run, origin)
    rates = {"learning_rate": 0.0, "learning_rate_end": 0.0, "max_steps": 2}
    options = {"precision": "32-true", **OPTIONS, **SMALL, **rates, "start_from": origin}
    with pytest.raises(OSError, match="no more"):
        pretrain("compact", output=run, callbacks=[Stop()], **options)
    assert {path.name for path in run.iterdir()} == {".lock", "recipe.json"}  # and no log-0
    pretrain(resume=run, max_steps=2, **OPTIONS)
    card = export_run(run, tmp_path / "weights.safetensors")
    assert card["origin"]["recipe"] == "compact"
    first, second = (
        torch.load(folder / "checkpoint.ckpt", weights_only=True)["state_dict"]
        for folder in (half_run, run)
    )
    name = "student.backbone.blocks.0.attn.qkv.weight"
    torch.testing.assert_close(
        second[name], first[name.replace("student", "teacher")].half().float()
    )


def test_next_start_clears_what_failed_ones_left(half_run, tmp_path):
    for name in ("log-0", "log-7", ".tmp-abc"):
        (tmp_path / name).mkdir()
    (tmp_path / "log-3").mkdir()
    (tmp_path / "log-3" / "metrics.csv").write_text("step\n")
    (tmp_path / "log-7" / "hparams.yaml").write_text("{}\n")
    values = {"precision": "32-true", "max_steps": 2, **OPTIONS, **SMALL}
    pretrain("compact", output=tmp_path, **values)
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {".lock", "recipe.json", "checkpoint.ckpt", "log-3", "log-4"}


def test_full_disk_leaves_the_last_checkpoint_alone(tmp_path, monkeypatch):
    values = {"precision": "32-true", "max_steps": 2, **OPTIONS, **SMALL}
    pretrain("compact", output=tmp_path / "run", **values)
    before = _files(tmp_path / "run")

    def save(_trainer, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", save)
    with pytest.raises(OSError, match="no space is left on the disk"):
        pretrain(resume=tmp_path / "run", **OPTIONS)
    assert _files(tmp_path / "run") == before


def test_second_process_is_refused(half_run):
    with only_writer(half_run), pytest.raises(BlockingIOError, match="is being written by process"):
        pretrain(resume=half_run, **OPTIONS)


@pytest.mark.parametrize("name", ["recipe.json", "checkpoint.ckpt"])
def test_damaged_file_is_named(half_run, tmp_path, name):
    for file in ("recipe.json", "checkpoint.ckpt"):
        (tmp_path / file).write_bytes((half_run / file).read_bytes())
    (tmp_path / name).write_bytes((half_run / name).read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"cannot read the .* of a run of '.*{name}': it is"):
        pretrain(resume=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match=rf"cannot read the .* of a run of '.*{name}': it is"):
        export_run(tmp_path, tmp_path / "weights.safetensors")
