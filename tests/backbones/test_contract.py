"""What every backbone promises. A new family adds one line to FAMILIES."""

import math
import re

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from foveal.backbones.catalog import CATALOG
from foveal.registry import MODELS

# the smallest network of each family that has all of its parts
FAMILIES = {
    "CSPDarknet": {"deepen_factor": 0.33, "widen_factor": 0.125},
    "CSPNeXt": {"deepen_factor": 0.167, "widen_factor": 0.125},
    "ConvNeXt": {"arch": {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}},
    "ConvNeXtIsotropic": {"arch": {"depth": 3, "dim": 16}},
    "CvT": {"arch": {"depths": (1, 1, 2), "dims": (8, 16, 24), "num_heads": (1, 2, 3)}},
    "DiNAT": {
        "arch": {
            "embed_dim": 8,
            "depths": (2, 1, 2, 1),
            "num_heads": (1, 2, 2, 4),
            "mlp_ratio": 2.0,
            "kernel_size": 3,
            "layer_scale": 1e-5,
        },
        "task": "segmentation",
    },
    "DiNAT_s": {
        "arch": {
            "embed_dim": 8,
            "depths": (2, 1, 2, 1),
            "num_heads": (1, 2, 2, 4),
            "mlp_ratio": 2.0,
            "kernel_size": 3,
        },
        "task": "classification",
    },
    "EfficientViM": {"arch": {"depths": (1, 1, 1), "embed_dim": (16, 24, 32), "state_dim": (9, 4, 4)}},
    "FFNetResNet": {"arch": {"stem": "B", "depths": (1, 1, 2, 1), "channels": (8, 16, 24, 32), "bottleneck": False}},
    "FemtoNet": {"widen_factor": 0.25, "diff_conv": True},
    "HorNet": {"arch": {"depths": (1, 1, 2, 1), "base_dim": 16, "filters": {"classification": 64}}},
    "InceptionNeXt": {
        "arch": {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32), "band_kernel_size": 5, "branch_ratio": 0.25}
    },
    "MobileNetV2": {"widen_factor": 0.25},
    "MobileNetV3": {"arch": "small"},
    "MixVisionTransformer": {"embed_dims": 8, "num_layers": (1, 1, 2, 1), "num_heads": (1, 2, 3, 4)},
    "NAT": {
        "arch": {
            "embed_dim": 8,
            "depths": (1, 1, 2, 1),
            "num_heads": (1, 2, 2, 4),
            "mlp_ratio": 2.0,
            "kernel_size": 3,
            "layer_scale": None,
        }
    },
    "ODMamba": {"arch": {"depths": (1, 1, 2, 1), "channels": (8, 16, 24, 32)}},
    "ResNet": {"depth": 50, "base_channels": 8},
    "ResNetV1c": {"depth": 18, "base_channels": 8},
    "ResNetV1d": {"depth": 18, "base_channels": 8},
    "SHViT": {"arch": {"depths": (1, 1, 1), "dims": (16, 24, 32), "partial_dims": (8, 8, 12)}},
    "StrideFormer": {
        "mobileV3_cfg": [
            [[3, 16, 16, True, "ReLU", 2]],
            [[3, 32, 16, True, "HSwish", 2]],
            [[5, 32, 24, True, "HSwish", 2]],
            [[3, 48, 32, True, "HSwish", 2]],
        ],
        "channels": [16, 16, 16, 24],
        "embed_dims": [24, 32],
        "key_dims": (8, 8),
        "depths": (3, 3),
        "num_heads": 2,
        "inj_type": "AAMSx8",
        "out_channels": 32,
        "drop_path_rate": 0.0,
    },
    "SwinTransformer": {"embed_dims": 8, "depths": (2, 1, 2, 1), "num_heads": (1, 2, 2, 4), "window_size": 5},
    "TimmBackbone": {"model_name": "convnext_atto"},
    "TransNeXt": {
        "arch": {
            "depths": (1, 1, 2, 1),
            "embed_dims": (8, 16, 24, 32),
            "num_heads": (1, 2, 3, 4),
            "sr_ratios": (8, 4, 2, 1),
            "pretrain_size": 96,
        }
    },
    "UniRepLKNet": {
        "arch": {
            "depths": (1, 1, 2, 1),
            "dims": (16, 24, 32, 40),
            "kernel_sizes": ((3,), (13,), (13, 3), (13,)),
        }
    },
}

# parameters without effect on the maps of a batch: shifts that batch normalisation or a softmax takes away again
IDLE = {
    "CvT": r"(attn\.proj_k|conv_proj_k\.bn)\.bias$",
    "EfficientViM": r"mixer\.A$",
    "SHViT": r"pre_norm\.bias$",
    # of 64 pixels one is left, which can attend to nothing else
    "StrideFormer": r"trans2\..*(to_[qk]\.bn\.bias|pos_embed|stride_conv\.bn\.bias)$",
}

family = pytest.mark.parametrize("name", FAMILIES)


def build(name, **kwargs):
    model = MODELS.build({"type": name, **FAMILIES[name], **kwargs})
    # scales and norms that start at 0 or 1e-6 would hide mistakes behind them
    for key, value in model.named_parameters():
        if value.ndim == 1 and not key.endswith("bias"):
            nn.init.uniform_(value, 0.5, 1.5)
    return model


def image(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def gradients(model, x):
    maps = model(x)
    sum((y * image(*y.shape)).mean() for y in maps).backward()
    return {key: value.grad for key, value in model.named_parameters()}


def test_every_family_is_held_to_the_contract():
    MODELS.import_from_location()
    missing = {variant.backbone["type"] for variant in CATALOG.values()} - FAMILIES.keys()
    assert not missing, f"add to FAMILIES: {missing}"


@family
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 96)])
def test_maps_have_the_declared_channels_and_strides(name, size):
    model = build(name).eval()
    with torch.no_grad():
        maps = model(image(1, 3, *size))
    assert isinstance(maps, tuple)
    assert tuple(y.shape[1] for y in maps) == model.out_channels
    assert list(model.out_strides) == sorted(model.out_strides)
    for y, stride in zip(maps, model.out_strides, strict=True):
        assert y.shape[0] == 1 and y.isfinite().all()
        for length, pixels in zip(y.shape[2:], size, strict=True):
            assert pixels // stride <= length <= math.ceil(pixels / stride)


@family
def test_eval_is_deterministic_and_does_not_mix_the_batch(name):
    model = build(name, drop_path_rate=0.5).eval()
    x = image(2, 3, 32, 48)
    with torch.no_grad():
        both, again, second = model(x), model(x), model(x[1:])
    for a, b, c in zip(both, again, second, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a[1:], c, rtol=1e-4, atol=1e-5)


@family
def test_drop_path_acts_while_training(name):
    model = build(name, drop_path_rate=0.9).train()
    x = image(4, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(model(x)[-1], model(x)[-1])


@family
def test_every_parameter_gets_a_gradient(name):
    got = gradients(build(name).train(), image(2, 3, 64, 64))
    idle = {key for key in got if name in IDLE and re.search(IDLE[name], key)}
    assert not [key for key, grad in got.items() if grad is None or not (grad.any() or key in idle)]


@family
def test_gradient_checkpointing_changes_no_gradient(name):
    plain, saving = build(name), build(name, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    x = image(2, 3, 64, 64)
    want, got = gradients(plain.train(), x), gradients(saving.train(), x)
    for key, value in want.items():
        torch.testing.assert_close(got[key], value, rtol=1e-5, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")


@family
def test_a_subset_of_levels_equals_those_of_the_full_run(name):
    full = build(name).eval()
    last = len(full.out_indices) - 1
    kept = sorted({min(1, last), last})
    some = build(name, out_indices=[full.out_indices[i] for i in kept]).eval()
    some.load_state_dict(full.state_dict(), strict=False)
    x = image(1, 3, 40, 56)
    with torch.no_grad():
        want, got = full(x), some(x)
    assert some.out_channels == tuple(full.out_channels[i] for i in kept)
    assert some.out_strides == tuple(full.out_strides[i] for i in kept)
    assert len(got) == len(kept) and all(torch.equal(a, want[i]) for a, i in zip(got, kept, strict=True))


@family
def test_frozen_stages_keep_still(name):
    model = build(name, frozen_stages=min(1, len(build(name).out_indices) - 1)).train()
    frozen = {key for key, value in model.named_parameters() if not value.requires_grad}
    assert frozen and len(frozen) < len(list(model.parameters()))
    got = gradients(model, image(2, 3, 64, 64))
    assert {key for key, grad in got.items() if grad is None} == frozen
    owners = {key.rpartition(".")[0] for key in frozen}
    assert not any(module.training for path, module in model.named_modules() if path in owners)


@family
@pytest.mark.parametrize("norm_eval", [True, False])
def test_norm_eval_holds_batch_norm(name, norm_eval):
    model = build(name, norm_eval=norm_eval).train()
    assert all(m.training is not norm_eval for m in model.modules() if isinstance(m, _BatchNorm))
    assert model.training


@family
def test_saved_weights_give_the_same_maps(name, tmp_path):
    first, second = build(name).eval(), build(name).eval()
    torch.save(first.state_dict(), tmp_path / "weights.pth")
    second.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
    x = image(1, 3, 32, 64)
    with torch.no_grad():
        for a, b in zip(first(x), second(x), strict=True):
            assert torch.equal(a, b)


@family
def test_compiles_without_a_break(name):
    model = build(name).eval()
    x = image(1, 3, 64, 64)
    with torch.no_grad():
        # graph breaks are found while tracing; what a compiler makes of the graph, exporting shows below
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        for a, b in zip(compiled(x), model(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@family
def test_exports(name):
    model = build(name).eval()
    x = image(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(torch.export.export(model, (x,)).module()(x), model(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@family
def test_trains_in_bfloat16(name):
    model = build(name).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(y.float().square().mean() for y in model(image(2, 3, 64, 64)))
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())


@family
def test_more_than_three_channels(name):
    model = build(name, in_channels=5).eval()
    with torch.no_grad():
        assert len(model(image(1, 5, 32, 32))) == len(model.out_channels)


@family
@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 1, 64, 64), r"\[N, 3, H, W\], got shape \[1, 1, 64, 64\]"), ((1, 3, 64, 16), "at least 32 x 32 pixels")],
)
def test_wrong_images_are_refused(name, shape, message):
    with pytest.raises(ValueError, match=message):
        build(name)(image(*shape))


@family
@pytest.mark.parametrize("kwargs", [{"out_indices": (19,)}, {"frozen_stages": 19}])
def test_levels_out_of_range_are_refused(name, kwargs):
    with pytest.raises(ValueError, match=r"9"):
        build(name, **kwargs)
