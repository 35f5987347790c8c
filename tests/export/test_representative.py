"""One model of every kind, at its full width, in onnxruntime at two sizes: what the models compute (minutes)."""

from pathlib import Path

import onnx
import pytest
import torch

import foveal
from foveal.config import load_config
from foveal.export import ExportGraph, export_model, load_exported
from foveal.export.compare import differences
from foveal.export.tensorrt_operators import problems
from foveal.registry import MODELS

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
CLASSIFIERS = (
    "convnext_atto",
    "inceptionnext_atto",
    "hornet_tiny_7x7",
    "hornet_tiny_gf",
    "unireplknet_a",
    "transnext_micro",
    "shvit_s1",
    "efficientvim_m1",
    "cvt_13",
    "nat_mini",
    "dinat_mini",
    "mit_b0",
    "swin_tiny",
)
RESTORERS = ("espcn_x2", "cfsr_x2", "swinir_lightweight_sr_x2", "mambair_lightsr_x2")
DETECTORS = (
    "retinanet/retinanet_r50_fpn_1x_coco",
    "fcos/fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco",
    "mask_rcnn/mask-rcnn_r50_fpn_1x_coco",
    "rtmdet/rtmdet_tiny_8xb32-300e_coco",
    "dino/dino-4scale_r50_8xb2-12e_coco",
)
SEGMENTORS = (
    "upernet/upernet_r50_4xb4-160k_ade20k-512x512",
    "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512",
    "deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512",
    "mask2former/mask2former_r50_8xb2-160k_ade20k-512x512",
)
SIZES = {"classifier": ((224, 224), (256, 192)), "restorer": ((48, 64), (40, 56)), "config": ((256, 288), (320, 256))}


def model_of(name):
    torch.manual_seed(0)
    if name in RESTORERS:
        return foveal.create_restorer(name), SIZES["restorer"]
    if name in CLASSIFIERS:
        return foveal.create_classifier(name), SIZES["classifier"]
    node = load_config(CONFIGS / f"{name}.py").model
    without_pretrained(node)
    return MODELS.build(node).eval(), SIZES["config"]


def without_pretrained(node):
    for child in node if isinstance(node, list) else node.values():
        if isinstance(child, dict | list):
            without_pretrained(child)
    if isinstance(node, dict) and (node.get("init_cfg") or {}).get("type") == "Pretrained":
        del node["init_cfg"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLASSIFIERS, *RESTORERS, *DETECTORS, *SEGMENTORS])
def test_two_sizes(name, tmp_path):
    model, sizes = model_of(name)
    graph = ExportGraph(model)
    for number, size in enumerate(sizes):
        path = export_model(model, tmp_path / f"model{number}", size=size)
        proto = onnx.load(str(path))
        assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
        channels = proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value
        images = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(number + 1))
        with torch.no_grad():
            want = {name: x.numpy() for name, x in graph.named(images).items()}
        assert differences(want, load_exported(path)(images.numpy())) == []
        assert list(problems(proto)) == []


# what TensorRT for RTX lacks, suppression and RoIAlign, is left to the program around an engine
SUPPRESSING = ("retinanet", "fcos", "rtmdet")
TWO_STAGES = ("faster_rcnn", "mask_rcnn")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*CLASSIFIERS, *RESTORERS, *(d for d in DETECTORS if not d.startswith(TWO_STAGES)), *SEGMENTORS]
)
def test_an_engine_for_rtx_is_built(name, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx, which builds engines without a GPU")
    model, sizes = model_of(name)
    raw = name.startswith(SUPPRESSING)
    path = export_model(model, tmp_path / "model", "tensorrt", size=sizes[0], postprocess=not raw)
    assert path.stat().st_size > 10_000
