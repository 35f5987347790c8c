"""Names, arguments and official files."""

import re

import pytest
import torch

from foveal.backbones import ConvNeXt
from foveal.backbones.catalog import CATALOG, register_family
from foveal.registry import MODELS
from foveal.zoo import create_backbone, create_classifier, list_backbones, load_backbone
from foveal.zoo.create import classifier_nodes, find_variant


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """ConvNeXt atto as Facebook would have released it."""
    model = create_classifier("convnext_atto")
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.1)
    state = {k.removeprefix("backbone.").removeprefix("head.tail."): v for k, v in model.state_dict().items()}
    assert "norm.weight" in state and "head.bias" in state
    path = tmp_path_factory.mktemp("zoo") / "convnext_atto.pth"
    torch.save({"model": state}, path)
    return path, state


def detector_file(path, **extra):
    """A detector's checkpoint around a dense ConvNeXt atto."""
    state = {f"backbone.{k}": torch.randn_like(v) for k, v in ConvNeXt("atto").state_dict().items()}
    torch.save({"state_dict": {**state, "neck.conv.weight": torch.zeros(1), **extra}, "meta": {"epoch": 3}}, path)
    return state


def test_names_are_listed_in_order():
    names = list_backbones("convnext_*")
    assert names[:2] == ["convnext_atto", "convnext_femto"] and names[8] == "convnext_xlarge"
    assert {"resnet18", "resnet152"} <= set(list_backbones())
    assert list_backbones("nothing*") == []


@pytest.mark.parametrize("name", list_backbones())
def test_every_name_builds_both_forms(name):
    variant = find_variant(name)
    with torch.device("meta"):
        backbone = MODELS.build(dict(variant.backbone))
        classifier = MODELS.build({"type": "ImageClassifier", **classifier_nodes(variant, {"num_classes": 11})})
    assert len(backbone.out_channels) == len(backbone.out_strides) >= 1
    assert classifier.head.num_classes == 11


def test_classifier_from_the_official_file(official):
    path, state = official
    model = create_classifier("convnext_atto", path, drop_path_rate=0.3)
    assert torch.equal(model.backbone.stages[0][0].dwconv.weight, state["stages.0.0.dwconv.weight"])
    assert torch.equal(model.head.tail.head.weight, state["head.weight"])
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


def test_classifier_from_our_own_file(official, tmp_path):
    model = create_classifier("convnext_atto", official[0])
    torch.save({"state_dict": model.state_dict(), "meta": {}}, tmp_path / "ours.pth")
    again = create_classifier("convnext_atto", tmp_path / "ours.pth")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_backbone_from_the_classification_file(official):
    path, state = official
    model = create_backbone("convnext_atto", path, out_indices=(1, 2))
    assert torch.equal(model.stages[3][1].gamma, state["stages.3.1.gamma"])
    assert torch.equal(model.norm2.weight, torch.ones(160))


def test_backbone_from_a_detector_file(tmp_path):
    state = detector_file(tmp_path / "detector.pth")
    model = create_backbone("convnext_atto", tmp_path / "detector.pth", out_indices=(1, 2, 3))
    assert torch.equal(model.norm3.weight, state["backbone.norm3.weight"])
    assert not hasattr(model, "norm0")


def test_averaged_weights_are_taken_where_asked_for(official, tmp_path):
    averaged = {key: value + 1 for key, value in official[1].items()}
    torch.save({"model": official[1], "model_ema": averaged}, tmp_path / "both.pth")
    for create in (create_backbone, create_classifier):
        for prefer, want in ((False, official[1]), (True, averaged)):
            model = create("convnext_atto", tmp_path / "both.pth", prefer_ema=prefer)
            weight = getattr(model, "backbone", model).stages[0][0].dwconv.weight
            assert torch.equal(weight, want["stages.0.0.dwconv.weight"])


def test_load_backbone_without_a_name(official):
    model = ConvNeXt("atto")
    load_backbone(model, official[0])
    assert torch.equal(model.stages[0][0].gamma, official[1]["stages.0.0.gamma"])


def test_a_file_with_some_output_norms_is_refused(tmp_path):
    state = detector_file(tmp_path / "a.pth")
    torch.save({k: v for k, v in state.items() if "norm1" not in k.split(".")[1]}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"missing in the file: norm1\.weight"):
        create_backbone("convnext_atto", tmp_path / "b.pth")


def test_another_variants_file_is_named(official):
    with pytest.raises(ValueError, match=r"wrong shape: downsample_layers\.0\.0\.weight is \[40, (.|\n)*convnext_atto"):
        create_backbone("convnext_femto", official[0])
    with pytest.raises(ValueError, match=r"128 unexpected(.|\n)*its shapes are those of convnext_atto"):
        create_classifier("resnet18", official[0])


def test_another_number_of_classes_is_refused(official):
    with pytest.raises(
        ValueError, match=r"wrong shape: head\.tail\.head\.weight is \[1000, 320\] in the file, \[10, 320\]"
    ):
        create_classifier("convnext_atto", official[0], num_classes=10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: create_backbone("convnext_tyny"), "nearest names: convnext_tiny"),
        (lambda: create_classifier("???"), "foveal.list_backbones"),
        (lambda: create_backbone("timm/rsnet18"), "nearest names: resnet18"),
        (lambda: create_backbone("convnext_tiny", out_indices=(4,)), "stages 0 to 3"),
        (lambda: create_backbone("convnext_tiny", dropath=1), "no argument 'dropath'"),
        (lambda: create_classifier("convnext_tiny", num_clases=1), "no argument 'num_clases'"),
        (lambda: create_backbone("convnext_tiny", "/nowhere/x.pth"), "does not exist"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", {variant.backbone["type"]: name for name, variant in CATALOG.items()}.values())
def test_key_patterns_tell_the_forms_apart(name):
    """The patterns that a family declares are those by which its two forms really differ."""
    variant = find_variant(name)
    with torch.device("meta"):
        dense = set(MODELS.build(dict(variant.backbone)).state_dict())
        classifier = MODELS.build({"type": "ImageClassifier", **classifier_nodes(variant, {})})
    trunk, head = set(classifier.backbone.state_dict()), classifier.head
    tail = set(getattr(head, "tail", head).state_dict())
    assert {key for key in dense | trunk | tail if re.match(variant.tail_keys or "$", key)} == tail
    assert {key for key in dense | trunk | tail if re.match(variant.output_keys or "$", key)} == dense - trunk
    assert trunk <= dense


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="convnext_tiny is registered twice"):
        register_family(ConvNeXt, {"convnext_tiny": {}})
    assert CATALOG["convnext_tiny"].head is not None
