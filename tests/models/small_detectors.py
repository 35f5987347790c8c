"""The detectors of the configs, made small: what tests that train them start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from foveal.config import load_config
from foveal.registry import MODELS

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"
# two of one stage, two of two, one that asks queries: every kind of target once
EVERY_KIND = (
    "retinanet/retinanet_r18_fpn_1x_coco",
    "atss/atss_r50_fpn_1x_coco",
    "mask_rcnn/mask-rcnn_r50_fpn_1x_coco",
    "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco",
)
OTHERS = (
    "demo/detector",
    "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco",
    "rtmdet/rtmdet_tiny_8xb32-300e_coco",
    "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco",
    "yolox/yolox_tiny_8xb8-300e_coco",
    "mamba_yolo/mamba_yolo_t_8xb64-300e_coco",
    "centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco",
    "femtodet/femtodet_large_coco",
    "relationnet2/retinanet_r50_fpn_relation_1x_coco",
    "recursivedet/recursivedet_r50_fpn_100-proposals_ms-480-800-3x_coco",
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco",
    "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco",
    "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco",
    "conditional_detr/conditional-detr_r50_8xb2-50e_coco",
    "dino/dino-4scale_r50_8xb2-12e_coco",
    "mask2former/mask2former_r50_8xb2-lsj-50e_coco",
)


# a quarter of the width of pyramid and heads
NARROW = {256: 64, 1024: 256}
WIDTHS = ("out_channels", "in_channels", "feat_channels", "conv_out_channels", "fc_out_channels")


def small_detector(name: str, narrow: bool = False, layers: int | None = None, **backbone: Any) -> nn.Module:
    """Return a config's detector with random weights, a ResNet-50 in it replaced by a ResNet-18, in training mode.

    Args:
        name: Of the config, without its ending.
        narrow: Make pyramid and heads, of those that name their widths, a quarter as wide.
        layers: Of a transformer's encoder and decoder, each; None: as many as the config says.
        backbone: What is changed in the backbone's arguments.
    """
    model = load_config(CONFIGS / f"{name}.py").model
    model.backbone.update(backbone)
    model.backbone.pop("init_cfg", None)
    # what works on whole batches, such as another size for each, is not what is looked at
    model.data_preprocessor.pop("batch_augments", None)
    if model.backbone.type == "ResNet" and model.backbone.depth == 50:
        model.backbone.depth = 18
        if model.get("neck"):
            model.neck.pop("in_channels", None)
        head = model.get("panoptic_head")
        if head:
            head.in_channels = [64, 128, 256, 512]
    if model.get("as_two_stage"):
        model.num_queries = 60  # small images have few places
    for part in ("encoder", "decoder"):
        if layers is not None and model.get(part):
            model[part].num_layers = layers
    if narrow:
        for part in ("neck", "rpn_head", "roi_head", "bbox_head"):
            _narrow(model.get(part))
    built = MODELS.build(model)
    built.init_weights()
    return built.train()


def _narrow(node: Any) -> None:
    """Replace the widths within a part's config."""
    if isinstance(node, list):
        for item in node:
            _narrow(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in WIDTHS and not isinstance(value, list | dict):
                node[key] = NARROW.get(value, value)
            _narrow(value)
