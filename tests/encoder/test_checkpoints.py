"""Weights of other layouts give the features of the timm model that they stand for."""

import numpy as np
import pytest
import timm
import torch

from astrofractal.encoder import ChannelNormalization, FractalEncoder
from astrofractal.encoder.backbone import convert_state_dict, read_checkpoint

SMALL = {"img_size": 32, "embed_dim": 32, "depth": 4, "num_heads": 2, "num_classes": 0}


def small(name="vit_tiny_patch16_224", **options):
    torch.manual_seed(3)
    return timm.create_model(name, **{**SMALL, **options}).eval()


def check(state, model, images=None):
    """Load a converted state strictly and compare the features."""
    other = small()
    other.load_state_dict(convert_state_dict(state, other))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(other.forward_features(images), model.forward_features(images))


def test_timm_state_stays_itself():
    model = small()
    state = model.state_dict()
    converted = convert_state_dict(state, model)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[name], state[name]) for name in state)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "backbone.", "teacher_backbone.vit.", "model.module.backbone."]
)
@pytest.mark.parametrize("container", [None, "state_dict", "model"])
def test_wrappers(prefix, container):
    model = small()
    state = {prefix + name: value for name, value in model.state_dict().items()}
    if prefix:
        state |= {"teacher_head.layers.0.weight": torch.zeros(2), "loss.center": torch.zeros(3)}
    check(state if container is None else {container: state, "epoch": 3}, model)


def test_the_teacher_is_taken_before_the_student():
    model = small()
    teacher = model.state_dict()
    state = {f"student_backbone.vit.{k}": torch.zeros_like(v) for k, v in teacher.items()}
    state |= {f"teacher_backbone.vit.{k}": v for k, v in teacher.items()}
    check({"state_dict": state}, model)
    check({"student": {"backbone.pos_embed": torch.zeros(1)}, "teacher": teacher}, model)


def test_dinov2_training_checkpoint_with_chunks():
    model = small()
    state = {}
    for name, value in model.state_dict().items():
        if name.startswith("blocks."):
            number = int(name.split(".")[1])
            name = name.replace("blocks.", f"blocks.{number // 2}.", 1)
        state[f"backbone.{name}"] = value
    state["backbone.mask_token"] = torch.zeros(1, 32)
    state["dino_head.mlp.0.weight"] = torch.zeros(4, 4)
    check({"teacher": state, "iteration": 100}, model)


def test_dinov2_registers_and_swiglu():
    # timm's model has no position for the class and register tokens; DINOv2 adds one to the class
    model = small(
        reg_tokens=2, no_embed_class=True, init_values=1e-5, mlp_layer=timm.layers.SwiGLUPacked,
        act_layer=torch.nn.SiLU,
    )  # fmt: skip
    timm_state = model.state_dict()
    state = dict(timm_state)
    state["register_tokens"] = state.pop("reg_token")
    class_position = torch.randn(1, 1, 32)
    state["cls_token"] = state["cls_token"] - class_position
    state["pos_embed"] = torch.cat([class_position, state["pos_embed"]], dim=1)
    state["mask_token"] = torch.zeros(1, 32)
    state = {
        k.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): v for k, v in state.items()
    }
    converted = convert_state_dict(state, model)
    assert converted.keys() == timm_state.keys()
    for name, value in timm_state.items():
        assert torch.allclose(converted[name], value, atol=1e-6)


def test_torchvision_transformer():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(4)
    other = torchvision.models.VisionTransformer(
        image_size=32, patch_size=16, num_layers=4, num_heads=2, hidden_dim=32, mlp_dim=128
    ).eval()
    state = {f"backbone.vit.{name}": value for name, value in other.state_dict().items()}
    model = small()
    model.load_state_dict(convert_state_dict(state, model))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        hidden = other._process_input(images)
        hidden = torch.cat([other.class_token.expand(2, -1, -1), hidden], dim=1)
        expected = other.encoder(hidden)
        assert torch.allclose(model.forward_features(images), expected, atol=1e-4)


def test_lightly_wrapper():
    lightly_models = pytest.importorskip("lightly.models.modules")
    if not hasattr(lightly_models, "MaskedVisionTransformerTIMM"):
        pytest.skip("this lightly has no MaskedVisionTransformerTIMM")
    model = small()
    wrapper = torch.nn.Module()
    wrapper.teacher_backbone = lightly_models.MaskedVisionTransformerTIMM(vit=model)
    wrapper.teacher_head = torch.nn.Linear(2, 2)
    state = wrapper.state_dict()
    assert any("mask_token" in name for name in state)
    check({"state_dict": state, "pytorch-lightning_version": "2"}, wrapper.teacher_backbone.vit)


def test_files(tmp_path):
    from safetensors.torch import save_file

    state = small().state_dict()
    torch.save({"state_dict": state}, tmp_path / "model.ckpt")
    save_file(state, tmp_path / "model.safetensors")
    for name in ("model.ckpt", "model.safetensors"):
        assert convert_state_dict(read_checkpoint(tmp_path / name), small()).keys() == state.keys()


class Code:
    """Something that only unpickling with code can make."""


def test_code_is_not_executed(tmp_path):
    torch.save({"model": Code()}, tmp_path / "model.pth")
    with pytest.raises(ValueError, match="without executing code"):
        read_checkpoint(tmp_path / "model.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a safetensors file"):
        read_checkpoint(tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1], "must be a dictionary"),
        ({"epoch": 1}, "found no tensors"),
        ({"state_dict": {"head.weight": torch.zeros(1)}}, "no vision backbone"),
    ],
)
def test_what_is_no_backbone_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        convert_state_dict(state, small())


def test_encoder_takes_a_checkpoint_with_another_number_of_channels(tmp_path):
    name = "vit_tiny_patch16_224"
    torch.manual_seed(5)
    model = timm.create_model(name, in_chans=1, num_classes=0)
    state = {f"teacher_backbone.vit.{k}": v for k, v in model.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "run.ckpt")
    encoder = FractalEncoder(
        f"timm:{name}", weights=tmp_path / "run.ckpt", in_chans=1, device="cpu",
        normalization=ChannelNormalization((0.0,), (1.0,)),
    )  # fmt: skip
    images = np.random.default_rng(0).normal(size=(1, 1, 224, 224)).astype(np.float32)
    with torch.no_grad():
        expected = model.eval().forward_features(torch.from_numpy(images)).numpy()
    assert np.allclose(encoder.tokens(images), expected, atol=1e-4)
    with pytest.raises(ValueError, match="another shape"):
        FractalEncoder(f"timm:{name}", weights=tmp_path / "run.ckpt", device="cpu")
