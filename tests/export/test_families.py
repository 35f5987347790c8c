"""The smallest network of every family and kind of head as ONNX and as an engine; full widths: test_representative."""

import onnx
import pytest
import torch

import foveal
from foveal.export import export_model
from foveal.export.tensorrt import build_engine
from foveal.export.tensorrt_operators import problems
from foveal.models.classifier import ImageClassifier
from foveal.registry import MODELS
from tests.backbones.test_contract import FAMILIES
from tests.models.small_detectors import small_detector

BACKBONES = (
    "ConvNeXt",
    "InceptionNeXt",
    "HorNet",
    "UniRepLKNet",
    "TransNeXt",
    "SHViT",
    "EfficientViM",
    "CvT",
    "NAT",
    "DiNAT",
    "MixVisionTransformer",
    "SwinTransformer",
    "ResNet",
)
RESTORERS = {
    "espcn_x2": {},
    "cfsr_x2": {"embed_dim": 12, "depths": (1,)},
    "swinir_lightweight_sr_x2": {"depths": (2,), "num_heads": (2,), "embed_dim": 12},
    "mambair_lightsr_x2": {"depths": (1,)},
}
# without suppression and RoIAlign, which TensorRT for RTX lacks
DETECTORS = ("retinanet/retinanet_r50_fpn_1x_coco", "rtmdet/rtmdet_tiny_8xb32-300e_coco")
HEADS = {
    "UPerHead": {"channels": 16},
    "SegformerHead": {"channels": 16},
    "DepthwiseSeparableASPPHead": {"in_channels": 256, "channels": 16, "c1_in_channels": 32, "c1_channels": 8},
}


def build(name):
    if name in BACKBONES:
        return ImageClassifier({"type": name, **FAMILIES[name]}, {"type": "LinearClsHead", "num_classes": 7}), (64, 96)
    if name in RESTORERS:
        return foveal.create_restorer(name, **RESTORERS[name]), (24, 32)
    if name in DETECTORS:
        return small_detector(name, narrow=True), (64, 96)
    backbone = {"type": "ResNetV1c", "depth": 50, "base_channels": 8}
    head = {"type": name, "num_classes": 5, "norm_cfg": {"type": "BN"}, **HEADS[name]}
    return MODELS.build({"type": "EncoderDecoder", "backbone": backbone, "decode_head": head}), (64, 96)


@pytest.mark.parametrize("name", [*BACKBONES, *RESTORERS, *DETECTORS, *HEADS])
def test_a_file_computes_the_same_and_becomes_an_engine(name, tmp_path):
    """`export_model` compares the file in onnxruntime with the model."""
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx, which builds engines without a GPU")
    torch.manual_seed(0)
    model, size = build(name)
    path = export_model(model.eval(), tmp_path / "model", size=size, postprocess=name not in DETECTORS)
    assert list(problems(onnx.load(path))) == []
    assert len(build_engine(path)) > 10_000
