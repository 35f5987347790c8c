"""Whole detectors against what mmdet computes: outputs, losses, gradients and predictions."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path

import pytest
import torch
from mmengine.structures import InstanceData
from torch.nn import Dropout, MultiheadAttention
from torch.nn.modules.batchnorm import _BatchNorm

from foveal.registry import MODELS
from foveal.structures import DataSample

FIXTURES = Path(__file__).resolve().parent.parent / "reference" / "models"
FLOAT32 = ("retinanet_r50_fpn_1x_coco", "faster-rcnn_r50_fpn_1x_coco")
NAMES = (
    "retinanet_r50_fpn_1x_coco",
    "fcos_r50-caffe_fpn_gn-head_1x_coco",
    "rtmdet_tiny_8xb32-300e_coco",
    "ssdlite_mobilenetv2-scratch_8xb24-600e_coco",
    "atss_r50_fpn_1x_coco",
    "yolox_s_8xb8-300e_coco",
    "rtmdet-ins_tiny_8xb32-300e_coco",
    "centernet_r18-dcnv2_8xb16-crop512-140e_coco",
    "faster-rcnn_r50_fpn_1x_coco",
    "mask-rcnn_r50_fpn_1x_coco",
    "cascade-mask-rcnn_r50_fpn_1x_coco",
    "cascade-rcnn_r50_fpn_1x_coco",
    "sparse-rcnn_r50_fpn_1x_coco",
    "deformable-detr_r50_16xb2-50e_coco",
    "deformable-detr-refine-twostage_r50_16xb2-50e_coco",
    "conditional-detr_r50_8xb2-50e_coco",
    "dino-4scale_r50_8xb2-12e_coco",
    "mamba-yolo_t_coco",
)
QUERIES = ("all_layers_cls_scores", "all_layers_bbox_preds")
OUTPUTS = {
    "CenterNetHead": ("heatmap", "wh", "offset"),
    "YOLOv8Head": ("cls_score", "bbox_pred"),
    "YOLOXHead": ("cls_score", "bbox_pred", "objectness"),
    "DeformableDETRHead": QUERIES,
    "DINOHead": QUERIES,
    "ConditionalDETRHead": QUERIES,
    "RTMDetInsSepBNHead": ("cls_score", "bbox_pred", "kernel_pred", "mask_feat"),
}


@functools.lru_cache(maxsize=1)
def spec_of(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


def built(recipe, name, dtype):
    spec = spec_of(name)
    model = MODELS.build(copy.deepcopy(spec["config"]["model"])).to(dtype)
    weights = recipe.state_dict(spec, dtype)
    weights |= {key: weights[shared] for key, shared in spec.get("aliases", {}).items()}
    model.load_state_dict(weights, strict=True)
    return model.eval()


def sample_of(spec, dtype):
    extra = spec["extra"]
    truth = InstanceData(
        bboxes=torch.tensor(extra["gt"]["bboxes"], dtype=dtype), labels=torch.tensor(extra["gt"]["labels"])
    )
    if extra.get("with_masks"):
        truth.masks = ellipses(extra["gt"]["bboxes"], extra["meta"]["img_shape"])
    return DataSample(gt_instances=truth, metainfo=extra["meta"])


def ellipses(boxes, size):
    """One filled ellipse in each box."""
    rows, columns = torch.arange(size[0])[:, None] + 0.5, torch.arange(size[1]) + 0.5
    masks = []
    for x1, y1, x2, y2 in boxes:
        across, along = (columns - (x1 + x2) / 2) / ((x2 - x1) / 2), (rows - (y1 + y2) / 2) / ((y2 - y1) / 2)
        masks.append(across**2 + along**2 <= 1)
    return torch.stack(masks)


def numbered(kinds, outputs):
    """Names of the fixtures: a map has its kind's name, a level's map its number too."""
    named = {}
    for kind, maps in zip(kinds, outputs, strict=False):
        named |= {kind: maps} if isinstance(maps, torch.Tensor) else {f"{kind}_{i}": x for i, x in enumerate(maps)}
    return named


def raw_outputs(model, image, sample, spec):
    """What the fixture pins beside the predictions."""
    if spec["config"]["model"]["type"] == "SparseRCNN":
        feats = model.extract_feat(image)
        stages = model.roi_head.stages(feats, model.rpn_head.predict(feats, [sample]), [sample])
        kinds = ("cls_score", "decoded_bboxes", "object_feats")
        # the official boxes are one list for all images
        named = {f"s{i}.{kind}": x for i, stage in enumerate(stages) for kind, x in zip(kinds, stage, strict=True)}
        return {key: x.flatten(0, 1) if key.endswith("bboxes") else x for key, x in named.items()}
    if hasattr(model, "roi_head"):
        return two_stage_outputs(model, image, sample, spec["extra"]["proposals"])
    kinds = OUTPUTS.get(spec["config"]["model"]["bbox_head"]["type"], ("cls_score", "bbox_pred", "centerness"))
    return numbered(kinds, model(image))


def two_stage_outputs(model, image, sample, proposals):
    """The first stage's outputs, and the second's for fixed proposals."""
    feats = model.extract_feat(image)
    boxes = torch.tensor(proposals, dtype=image.dtype)
    named = numbered(("rpn_cls_score", "rpn_bbox_pred"), model.rpn_head(feats))
    outputs = model.roi_head(feats, [InstanceData(bboxes=boxes)])
    kinds = ("roi_cls_score", "roi_bbox_pred", "roi_mask_pred")
    if isinstance(outputs[0], tuple):
        for stage, out in enumerate(outputs):
            named |= {f"{kind}_s{stage}": x for kind, x in zip(kinds, out, strict=False)}
        _, scores, codes = model.roi_head.refining_pass(feats, [boxes], [sample])
        named |= {"cascade_cls_score": scores, "cascade_bbox_pred": codes}
    else:
        named |= dict(zip(kinds, outputs, strict=False))
    (found,) = model.roi_head.predict(feats, [InstanceData(bboxes=boxes)], [sample])
    return named | {f"predict_fixed.{key}": value for key, value in found.items()}


def losses_of(model, image, sample, spec):
    """The training losses; of a second stage those of fixed proposals, since the first one's depend on ties."""
    if "proposals" not in spec["extra"]:
        return model(image, [sample], mode="loss")
    feats = model.extract_feat(image)
    boxes = InstanceData(bboxes=torch.tensor(spec["extra"]["proposals"], dtype=image.dtype))
    return model.rpn_head.loss(feats, [sample]) | model.roi_head.loss(feats, [boxes], [sample])


def image_of(recipe, spec, dtype):
    return recipe.tensor_input(spec["inputs"]["x"], dtype)


def in_float32(outputs):
    return next(iter(outputs.values())).dtype == torch.float32


def assert_same(recipe, outputs, spec, tolerance):
    errors = {
        key: recipe.error(key, value.detach().double().numpy(), spec["outputs"][key]) for key, value in outputs.items()
    }
    if in_float32(outputs):
        # near ties among random scores: the official code's own order changes in float32
        official = spec["float32"]["float32"]["outputs"]
        errors = {key: error for key, error in errors.items() if official.get(key, 0) <= tolerance}
    assert max(errors.values()) <= tolerance, errors


SLOW = ("cascade-mask-rcnn_r50_fpn_1x_coco",)  # a minute; of the cascade's masks only this one has all


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in NAMES])
def exact(request, recipe):
    """A fixture and its model in float64: built once for the outputs and, after them, the losses."""
    return spec_of(request.param), built(recipe, request.param, torch.float64)


def test_outputs_and_predictions(recipe, exact):
    assert_outputs(recipe, *exact, torch.float64, 1e-6)


# what float32 adds is the same for all: fast for one stage and for two
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FLOAT32 else [pytest.mark.slow]) for n in NAMES])
def test_outputs_and_predictions_in_float32(recipe, name):
    assert_outputs(recipe, spec_of(name), built(recipe, name, torch.float32), torch.float32, 2e-3)


def assert_outputs(recipe, spec, model, dtype, tolerance):
    image = image_of(recipe, spec, dtype)
    with torch.no_grad():
        outputs = raw_outputs(model, image, sample_of(spec, dtype), spec)
        (found,) = model(image, [sample_of(spec, dtype)], mode="predict")
        shape = spec["extra"].get("padded_img_shape")
        if shape:
            image[..., shape[0] :, :] = 0
            image[..., shape[1] :] = 0
            padded = model(image, [DataSample(metainfo={"img_shape": shape})])
            outputs |= {f"padded.{key}": value for key, value in numbered(QUERIES, padded).items()}
    outputs |= {f"predict.{key}": value for key, value in found.pred_instances.items()}
    assert set(outputs) == set(spec["outputs"])
    assert_same(recipe, outputs, spec, tolerance)


def test_losses_and_gradients(recipe, exact):
    spec, model = exact
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm | Dropout | MultiheadAttention):
            module.eval()
    for parameter in model.parameters():
        # the pins include the gradients of layers that the config freezes
        parameter.requires_grad_(True)
    losses = losses_of(model, image_of(recipe, spec, torch.float64), sample_of(spec, torch.float64), spec)
    flat = {}
    for key, value in losses.items():
        flat |= {f"{key}_{i}": x for i, x in enumerate(value)} if isinstance(value, list) else {key: value}
    total = flat["total"] = sum(value for key, value in flat.items() if "loss" in key)
    assert {key: value.item() for key, value in flat.items()} == pytest.approx(spec["losses"], rel=1e-5, abs=1e-12)
    total.backward()
    norms = {key: float(p.grad.norm()) for key, p in model.named_parameters() if p.grad is not None}
    pinned = dict(spec["grad_norms"])
    assert sum(norm > 0 for norm in norms.values()) == pinned.pop("__params_with_grad__")
    norms["__all__"] = sum(norm**2 for norm in norms.values()) ** 0.5
    assert {key: norms[key] for key in pinned} == pytest.approx(pinned, rel=1e-4)
