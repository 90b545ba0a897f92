"""Runs at the size of a test: the real algorithm, few images."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import astrofractal
from astrofractal.encoder import ChannelNormalization, FractalEncoder
from astrofractal.pretraining import export_run, pretrain

pytest.importorskip("lightly")

SMALL = {
    "n_images": 24,
    "batch_size": 4,
    "n_points": 2000,
    "n_prototypes": 32,
    "head_hidden": 32,
    "head_bottleneck": 16,
    "steps_per_checkpoint": 2,
}


def _checkpoint(folder):
    return torch.load(folder / "checkpoint.ckpt", map_location="cpu", weights_only=True)


def _assert_same_weights(one, two, **tolerance):
    state, other = one["state_dict"], two["state_dict"]
    assert state.keys() == other.keys()
    for name in state:
        torch.testing.assert_close(state[name], other[name], msg=name, **tolerance)


def _global_state():
    """Return what belongs to the user: generators of random numbers, threads and precision."""
    threads = torch.get_num_threads(), torch.get_float32_matmul_precision()
    numbers = (
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.mtrand._rand.get_state()[2],
    )
    return threads, numbers


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    pretrain("compact", output=folder, precision="32-true", n_workers=0, devices=1, **SMALL)
    return folder


def test_interrupted_run_ends_with_identical_weights(whole_run, tmp_path):
    folder = tmp_path / "interrupted"
    options = {"n_workers": 0, "devices": 1}
    before = _global_state()
    pretrain("compact", output=folder, precision="32-true", max_steps=2, **options, **SMALL)
    assert _global_state() == before
    assert _checkpoint(folder)["global_step"] == 2
    pretrain(resume=folder, **options)
    resumed = _checkpoint(folder)
    assert resumed["global_step"] == 6
    _assert_same_weights(_checkpoint(whole_run), resumed, rtol=0, atol=0)


def test_killed_run_resumes(whole_run, tmp_path):
    folder = tmp_path / "killed"
    code = (
        "from astrofractal.pretraining import pretrain\n"
        f"pretrain('compact', output={str(folder)!r}, precision='32-true', n_workers=0, devices=1,"
        f" **{SMALL!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint.ckpt").exists() and time.monotonic() < deadline:
        assert process.poll() is None or (folder / "checkpoint.ckpt").exists()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    pretrain(resume=folder, n_workers=0, devices=1)
    _assert_same_weights(_checkpoint(whole_run), _checkpoint(folder), rtol=0, atol=0)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "single"
    options = {"precision": "32-true", "n_workers": 0, "devices": 1, "max_steps": 2}
    # KoLeo compares the images of one process, so it is left out here.
    pretrain("compact", output=folder, **options, **{**SMALL, "koleo_weight": 0.0})
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="gloo through fork-free launch")
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_see_the_loss_of_one(two_steps, tmp_path, strategy):
    folder = tmp_path / strategy
    code = (
        "from astrofractal.pretraining import pretrain\n"
        f"pretrain('compact', output={str(folder)!r}, precision='32-true', n_workers=0, devices=2,"
        f" max_steps=2, strategy={strategy!r}, **{ {**SMALL, 'koleo_weight': 0.0}!r})\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(astrofractal.__file__).parents[1]),
    }
    subprocess.run([sys.executable, str(script)], check=True, timeout=240, env=environment)
    for name in ("loss", "loss_dino", "loss_ibot", "loss_structure"):
        assert _logged(folder, name) == pytest.approx(_logged(two_steps, name), rel=1e-5)
    _assert_same_weights(_checkpoint(two_steps), _checkpoint(folder), rtol=0, atol=1e-3)


def test_plain_run_does_not_go_on_sharded(two_steps):
    with pytest.raises(ValueError, match="strategy must be the one that .* got 'fsdp'"):
        pretrain(resume=two_steps, strategy="fsdp", n_workers=0)


def _logged(folder, name):
    header, *rows = (folder / "log-0" / "metrics.csv").read_text().splitlines()
    column = header.split(",").index(name)
    return [float(row.split(",")[column]) for row in rows if row.split(",")[column]]


@pytest.mark.parametrize(
    "name",
    ["loss_dino", "loss_ibot", "loss_koleo", "loss_structure", "std_class", "rank_central"],
)
def test_log_has_the_losses_and_the_feature_health(whole_run, name):
    assert _logged(whole_run, name)


def test_run_folder_is_not_overwritten(whole_run):
    with pytest.raises(FileExistsError, match="resume="):
        pretrain("compact", output=whole_run, **SMALL)


def test_export_gives_weights_that_the_encoder_loads(whole_run, tmp_path):
    path = tmp_path / "weights.safetensors"
    card = export_run(whole_run, path)
    assert card["images_seen"] == 24
    assert json.loads(path.with_suffix(".json").read_text()) == card
    assert next(iter(load_file(path).values())).dtype is torch.float16
    encoder = FractalEncoder(weights=path)
    assert encoder.weights_id == f"compact-{card['sha256'][:8]}"


@pytest.mark.parametrize("argument", ["resume", "run"])
def test_folder_without_a_run_is_named(tmp_path, argument):
    with pytest.raises(FileNotFoundError, match="has no pretraining run"):
        if argument == "resume":
            pretrain(resume=tmp_path / "nothing")
        else:
            export_run(tmp_path / "nothing", tmp_path / "weights.safetensors")


def test_second_stage_starts_from_the_networks_of_the_first(whole_run, tmp_path):
    options = {"precision": "32-true", "n_workers": 0, "devices": 1, **SMALL}
    folder = tmp_path / "second"
    pretrain(
        "compact_zoom",
        output=folder,
        start_from=whole_run,
        max_steps=1,
        learning_rate=0.0,
        learning_rate_end=0.0,
        **options,
    )
    first, second = (_checkpoint(run)["state_dict"] for run in (whole_run, folder))
    assert set(second) - set(first) == {"class_to_structure.weight", "class_to_structure.bias"}
    name = "student.backbone.blocks.0.attn.qkv.weight"
    assert torch.equal(first[name], second[name])
    card = export_run(folder, tmp_path / "second.safetensors")
    assert card["origin"]["recipe"] == "compact"
    assert card["origin"]["images_seen"] == SMALL["n_images"]
    assert card["steps"] == 1
    assert card["images_seen"] == SMALL["n_images"] + SMALL["batch_size"]


def test_start_from_refuses_what_does_not_fit(whole_run, tmp_path):
    options = {"n_workers": 0, "devices": 1, "precision": "32-true", **SMALL, "n_prototypes": 16}
    with pytest.raises(ValueError, match=r"start_from: .* does not fit recipe 'compact_zoom'"):
        pretrain("compact_zoom", output=tmp_path / "x", start_from=whole_run, **options)
    with pytest.raises(FileNotFoundError, match="no pretraining run"):
        pretrain("compact_zoom", output=tmp_path / "y", start_from=tmp_path, **options)
    assert not any(tmp_path.iterdir())
    with pytest.raises(ValueError, match="start_from is for a new run"):
        pretrain(resume=whole_run, start_from=whole_run)


def test_run_starts_from_weights_and_keeps_the_head_of_masses(whole_run, tmp_path):
    weights, folder = tmp_path / "first.safetensors", tmp_path / "invariant"
    export_run(whole_run, weights)
    options = {"n_workers": 0, "devices": 1, "precision": "32-true", "max_steps": 1, **SMALL}
    rates = {"learning_rate": 0.0, "learning_rate_end": 0.0}
    pretrain("compact_invariant", output=folder, start_from=weights, **rates, **options)
    found, before = _checkpoint(folder)["state_dict"], load_file(weights)
    name = "blocks.0.attn.qkv.weight"
    for network in ("student", "teacher"):
        torch.testing.assert_close(found[f"{network}.backbone.{name}"], before[name].float())
    assert torch.equal(found["to_structure.bias"], before["structure_readout.bias"].float())
    card = export_run(folder, tmp_path / "second.safetensors")
    assert card["heads"] == ["protostar_mass", "structure"]
    assert card["images_seen"] == SMALL["n_images"] + SMALL["batch_size"]
    assert card["origin"]["recipe"] == "compact"
    encoder = FractalEncoder(weights=tmp_path / "second.safetensors")
    gas = torch.randn(3, 3, 64, 64).numpy() + [[[22]], [[0]], [[0.4]]]
    assert encoder.encode(gas, pooling="protostar_mass", zoom=4).shape == (3, 2)
    # What the weights have and the recipe does not want is left behind.
    again = tmp_path / "again"
    pretrain(
        "compact_zoom", output=again, start_from=tmp_path / "second.safetensors", **rates, **options
    )
    assert "to_mass.weight" not in _checkpoint(again)["state_dict"]


_UNLABELED = {"protostars": False, "protostar_mass_weight": 0.0}


@pytest.mark.parametrize(
    "values",
    [
        {"source": "random_fields"},
        {"rendering": "palette", "center": "attractor", "structure_weight": 0.0, **_UNLABELED},
    ],
)
def test_weights_of_other_images_are_for_gas_maps_as_well(tmp_path, values):
    folder = tmp_path / "run"
    options = {"n_workers": 0, "devices": 1, "precision": "32-true", "max_steps": 2, **SMALL}
    pretrain("compact_invariant", output=folder, **options, **values)
    assert all(torch.isfinite(value).all() for value in _checkpoint(folder)["state_dict"].values())
    card = export_run(folder, tmp_path / "weights.safetensors")
    assert card["recipe_values"]["images"]["rendering"] == values.get("rendering", "gas")
    assert card["normalization"] == ChannelNormalization().to_dict()


def test_structure_has_no_more_than_its_share_of_the_gradient(tmp_path):
    folder = tmp_path / "share"
    options = {"n_workers": 0, "devices": 1, "precision": "32-true", "max_steps": 2, **SMALL}
    pretrain("compact_invariant", output=folder, structure_weight=1e4, **options)
    (factor,) = _logged(folder, "structure_factor")
    (structure,) = _logged(folder, "gradient_structure")
    names = ("dino", "ibot", "koleo", "center", "consistency", "protostar_mass")
    others = sum(_logged(folder, f"gradient_{name}")[0] for name in names)
    assert factor < 1
    assert factor * structure / (factor * structure + others) <= 0.33 + 1e-6


def test_resumed_run_of_symmetric_pairs_ends_with_identical_weights(tmp_path):
    options = {"n_workers": 0, "devices": 1}
    values = {"precision": "32-true", **options, **SMALL, "n_images": 16}
    whole, folder = tmp_path / "whole", tmp_path / "interrupted"
    pretrain("compact_invariant", output=whole, **values)
    pretrain("compact_invariant", output=folder, max_steps=2, **values)
    pretrain(resume=folder, **options)
    _assert_same_weights(_checkpoint(whole), _checkpoint(folder), rtol=0, atol=0)
