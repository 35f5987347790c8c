import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from foveal.backbones.catalog import CATALOG
from foveal.engine import LearningRateDecayOptimizerConstructor
from foveal.errors import ConfigError
from foveal.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS

NAME = "LearningRateDecayOptimizerConstructor"


class Model(nn.Module):
    """A backbone and the smallest head."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(4, 2)


def build(name, **options):
    with torch.device("meta"):
        return Model(MODELS.build({**CATALOG[name].backbone, **options}))


def wrapper(model, constructor=NAME, lr=1e-4, weight_decay=0.05, **paramwise):
    decay = {} if weight_decay is None else {"weight_decay": weight_decay}
    cfg = {
        "type": "OptimWrapper",
        "optimizer": {"type": "AdamW", "lr": lr, **decay},
        "constructor": constructor,
        "paramwise_cfg": paramwise,
    }
    with DefaultScope.overwrite_default_scope("foveal"):
        return build_optim_wrapper(model, cfg)


def layers(model, rate=0.5, lr=1.0, **paramwise):
    """The layer of every trained parameter, read off its learning rate."""
    groups = wrapper(model, lr=lr, decay_rate=rate, **paramwise).optimizer.param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    heads = paramwise["num_layers"] + 1
    found = {}
    for group in groups:
        layer = next(i for i in range(heads + 1) if lr * rate ** (heads - i) == group["lr"])
        for parameter in group["params"]:
            assert names[id(parameter)] not in found
            found[names[id(parameter)]] = layer
    assert set(found) == {name for name, p in model.named_parameters() if p.requires_grad}
    return found


# The layers that the rule of facebookresearch/ConvNeXt (and mmdet, mmseg) gives; HorNet and UniRepLKNet have copies
# of it, HorNet's with two blocks a layer. Written out by hand: prefix of the names, layer.
TINY_6 = {
    "downsample_layers.0": 0,
    "stages.0": 1,
    "downsample_layers.1": 2,
    "stages.1": 2,
    "downsample_layers.2": 3,
    **{f"stages.2.{block}": layer for block, layer in zip(range(9), (3, 3, 3, 4, 4, 4, 5, 5, 5), strict=True)},
    "downsample_layers.3": 6,
    "stages.3": 6,
    **{f"norm{i}": 7 for i in range(4)},
}
BASE_12 = {
    **TINY_6,
    **{f"stages.2.{b}": 3 for b in (0, 1, 2)},
    **{f"stages.2.{b}": 4 for b in (3, 4, 5)},
    **{f"stages.2.{b}": 5 for b in (6, 7, 8)},
    **{f"stages.2.{b}": 6 for b in (9, 10, 11)},
    **{f"stages.2.{b}": 7 for b in (12, 13, 14)},
    **{f"stages.2.{b}": 8 for b in (15, 16, 17)},
    **{f"stages.2.{b}": 9 for b in (18, 19, 20)},
    **{f"stages.2.{b}": 10 for b in (21, 22, 23)},
    **{f"stages.2.{b}": 11 for b in (24, 25, 26)},
    "downsample_layers.3": 12,
    "stages.3": 12,
    **{f"norm{i}": 13 for i in range(4)},
}
# eighteen blocks by threes reach layer 8; layers 9 to 11 stay empty
UNIREPLKNET_T_12 = {key: layer for key, layer in BASE_12.items() if key not in {f"stages.2.{b}" for b in range(18, 27)}}
HORNET_TINY_12 = {**UNIREPLKNET_T_12, **{f"stages.2.{b}": 3 + b // 2 for b in range(18)}}
STAGES = {
    **{f"downsample_layers.{i}": 0 for i in range(4)},
    **{f"stages.{i}": i + 1 for i in range(4)},
    **{f"norm{i}": 7 for i in range(4)},
}


@pytest.mark.parametrize(
    ("name", "num_layers", "decay_type", "table"),
    [
        ("convnext_tiny", 6, "layer_wise", TINY_6),
        ("convnext_base", 12, "layer_wise", BASE_12),
        ("unireplknet_t", 12, "layer_wise", UNIREPLKNET_T_12),
        ("unireplknet_s", 12, "layer_wise", BASE_12),
        ("hornet_tiny_7x7", 12, "layer_wise", HORNET_TINY_12),
        ("convnext_tiny", 6, "stage_wise", STAGES),
        ("hornet_tiny_gf", 6, "stage_wise", STAGES),
    ],
)
def test_layers_are_the_official_ones(name, num_layers, decay_type, table):
    found = layers(build(name), num_layers=num_layers, decay_type=decay_type)
    assert found.pop("head.weight") == found.pop("head.bias") == num_layers + 1
    used = set()
    for key, layer in found.items():
        prefix = max((p for p in table if key.startswith(f"backbone.{p}.")), key=len)
        used.add(prefix)
        assert layer == table[prefix], key
    assert used == set(table)


# One name in each family and, with num_layers=6, the layers of some of its parameters.
OTHERS = {
    "swin_tiny": {
        "patch_embed.projection.weight": 0,
        "stages.0.blocks.1.norm1.weight": 1,
        "stages.0.downsample.reduction.weight": 2,
        "stages.1.downsample.reduction.weight": 3,
        "stages.2.blocks.5.norm1.weight": 4,
        "stages.2.downsample.norm.weight": 6,
        "stages.3.blocks.0.norm1.weight": 6,
        "norm0.weight": 7,
    },
    "nat_mini": {
        "patch_embed.proj.0.weight": 0,
        "levels.0.blocks.0.norm1.weight": 1,
        "levels.1.downsample.norm.weight": 3,
        "levels.2.blocks.5.norm1.weight": 4,
        "levels.3.blocks.0.norm1.weight": 6,
        "norm3.weight": 7,
    },
    "dinat_s_tiny": {"patch_embed.norm.weight": 0, "layers.0.downsample.norm.weight": 2, "norm1.weight": 7},
    "efficientvim_m1": {
        "stages.0.blocks.0.alpha": 1,
        "stages.0.downsample.conv.0.conv.weight": 2,
        "stages.1.blocks.1.alpha": 2,
        "stages.1.downsample.conv.0.conv.weight": 6,
        "stages.2.blocks.0.alpha": 6,
    },
    "inceptionnext_tiny": {
        "stem.0.weight": 0,
        "stages.1.downsample.1.weight": 2,
        "stages.2.downsample.1.weight": 3,
        "stages.2.blocks.8.norm.weight": 5,
        "stages.3.downsample.1.weight": 6,
    },
    "shvit_s4": {
        "patch_embed.0.c.weight": 0,
        "blocks1.3.conv.m.c.weight": 1,
        "blocks2.1.conv1.c.weight": 2,
        "blocks2.3.conv.m.c.weight": 2,
        "blocks2.6.conv.m.c.weight": 3,
        "blocks3.0.0.m.c.weight": 6,
    },
    "mit_b0": {
        "layers.0.0.projection.weight": 0,
        "layers.0.1.0.norm1.weight": 1,
        "layers.0.2.weight": 1,
        "layers.1.0.projection.weight": 2,
        "layers.3.2.weight": 6,
    },
    "transnext_micro": {
        "patch_embed1.proj.weight": 0,
        "norm1.weight": 1,
        "patch_embed2.proj.weight": 2,
        "block3.14.norm1.weight": 5,
        "norm3.weight": 5,
        "norm4.weight": 6,
    },
    "mobilenet_v2": {
        "conv1.conv.weight": 0,
        "layer1.0.linear_conv.conv.weight": 1,
        "layer2.1.linear_conv.conv.weight": 1,
        "layer3.2.linear_conv.conv.weight": 2,
        "layer4.3.linear_conv.conv.weight": 4,
        "layer5.2.linear_conv.conv.weight": 5,
        "layer6.0.linear_conv.conv.weight": 6,
        "conv2.conv.weight": 6,
    },
    "resnet50": {"conv1.weight": 0, "bn1.weight": 0, "layer1.2.conv1.weight": 1, "layer3.5.conv1.weight": 4},
    "cvt_13": {
        "stage0.patch_embed.proj.weight": 0,
        "stage0.blocks.0.norm1.weight": 1,
        "stage1.patch_embed.proj.weight": 2,
        "stage2.cls_token": 6,
        "stage2.blocks.9.norm1.weight": 6,
    },
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_families(name):
    found = layers(build(name), num_layers=6)
    for key, layer in OTHERS[name].items():
        assert found[f"backbone.{key}"] == layer, key


@pytest.mark.parametrize("name", ["poolformer_s12", "resnet18", "swin_tiny_patch4_window7_224"])
def test_timm(name):
    pytest.importorskip("timm")
    with torch.device("meta"):
        model = Model(MODELS.build({"type": "TimmBackbone", "model_name": name}))
    found = layers(model, num_layers=6)
    of_backbone = [layer for key, layer in found.items() if key.startswith("backbone.")]
    assert of_backbone == sorted(of_backbone)
    assert set(of_backbone) >= {0, 1, 2, 3, 6}
    assert max(of_backbone) == 6


@pytest.mark.parametrize("name", sorted({v.backbone["type"]: name for name, v in CATALOG.items()}.values()))
def test_every_family_has_a_place_for_every_parameter(name):
    model = build(name)
    found = layers(model, num_layers=12)
    outside = {key for key, layer in found.items() if key.startswith("backbone.") and layer == 13}
    assert all(key.startswith("backbone.norm") for key in outside), outside
    first, last = (next(iter(model.backbone.parameters())), list(model.backbone.parameters())[-1])
    assert found[next(key for key, p in model.named_parameters() if p is first)] == 0
    assert found[next(key for key, p in model.named_parameters() if p is last)] >= 12


def test_rates_never_exceed_that_of_the_heads():
    found = layers(build("convnext_base"), num_layers=6)
    assert max(layer for key, layer in found.items() if ".stages.2." in key) == 5


def test_toy_step():
    torch.manual_seed(0)
    arch = {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)}
    model = Model(MODELS.build({"type": "ConvNeXt", "arch": arch, "frozen_stages": 1, "layer_scale_init_value": 1.0}))
    optim = wrapper(model, lr=0.1, weight_decay=0.2, decay_rate=0.5, decay_type="stage_wise", num_layers=6)
    by_name = {g["group_name"]: g for g in optim.optimizer.param_groups}
    # stage 0 is frozen; what is left of layer 0 is the downsampling between the stages
    assert set(by_name) == {f"layer_{i}_{kind}" for i in (0, 2, 3, 4, 7) for kind in ("decay", "no_decay")}
    assert by_name["layer_0_decay"]["lr"] == pytest.approx(0.1 * 0.5**7)
    assert by_name["layer_4_no_decay"]["lr"] == pytest.approx(0.1 * 0.5**3)
    assert by_name["layer_4_no_decay"]["weight_decay"] == 0
    assert by_name["layer_4_decay"]["weight_decay"] == 0.2
    assert by_name["layer_7_decay"]["lr_scale"] == 1
    assert len(by_name["layer_7_decay"]["params"]) == 1  # the head's matrix; its bias and the output norms are without
    trained = [p for g in by_name.values() for p in g["params"]]
    assert len({id(p) for p in trained}) == len(trained) == sum(p.requires_grad for p in model.parameters())

    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    maps = model.backbone(torch.randn(2, 3, 64, 64))
    optim.update_params(sum(x.square().mean() for x in maps) + model.head(torch.randn(2, 4)).square().mean())
    moved = {name: (p - before[name]).abs().max().item() for name, p in model.named_parameters()}
    assert moved["backbone.downsample_layers.0.0.weight"] == moved["backbone.stages.0.0.dwconv.weight"] == 0
    # AdamW's first step is about lr times the sign of the gradient; biases have no weight decay
    assert moved["backbone.stages.3.0.dwconv.bias"] == pytest.approx(0.1 * 0.5**3, rel=0.02)
    assert moved["backbone.downsample_layers.1.1.bias"] == pytest.approx(0.1 * 0.5**7, rel=0.02)
    assert moved["head.bias"] == pytest.approx(0.1, rel=0.02)


def test_known_by_the_names_of_official_configs():
    for name in (NAME, "LearningRateDecayOptimizerConstructorHorNet", f"UniRepLKNet{NAME}", f"mmdet.{NAME}"):
        cfg = {
            "type": name.removeprefix("mmdet."),
            "optim_wrapper_cfg": {"optimizer": {"type": "SGD", "lr": 1}},
            "paramwise_cfg": {"decay_rate": 0.9, "num_layers": 6},
        }
        assert isinstance(OPTIM_WRAPPER_CONSTRUCTORS.build(cfg), LearningRateDecayOptimizerConstructor)


def test_without_a_weight_decay_the_optimizers_own_stays():
    groups = wrapper(build("convnext_atto"), weight_decay=None, decay_rate=0.9, num_layers=6).optimizer.param_groups
    assert {(g["group_name"].endswith("no_decay"), g["weight_decay"]) for g in groups} == {(True, 0.0), (False, 0.01)}


@pytest.mark.parametrize(
    ("paramwise", "words"),
    [
        ({"num_layers": 6}, "decay_rate must be above 0 and at most 1, got None"),
        ({"decay_rate": 1.5, "num_layers": 6}, "decay_rate must be above 0 and at most 1, got 1.5"),
        ({"decay_rate": 0.9}, "num_layers must be a number of layers, got None"),
        ({"decay_rate": 0.9, "num_layers": 3}, "num_layers must be at least 4, the stages of ConvNeXt; got 3"),
        ({"decay_rate": 0.9, "num_layers": 6, "decay_type": "stagewise"}, "must be layer_wise or stage_wise, got"),
        ({"layer_decay_rate": 0.9, "num_layers": 6}, "takes decay_rate, decay_type, num_layers, not 'layer_decay"),
    ],
)
def test_bad_options(paramwise, words):
    with pytest.raises(ConfigError, match=words):
        wrapper(build("convnext_atto"), **paramwise)


def test_models_that_have_no_stages():
    with pytest.raises(ConfigError, match="models with a backbone; Linear has none"):
        wrapper(nn.Linear(2, 2), decay_rate=0.9, num_layers=6)
    with pytest.raises(ConfigError, match="cannot tell the stages of Linear by its parameters' names, such as 'weight"):
        wrapper(Model(nn.Linear(2, 2)), decay_rate=0.9, num_layers=6)
