"""Segmentors against mmseg: the model dict of a stock config, unchanged, with pinned outputs, losses and gradients."""

import copy

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from foveal.registry import MODELS
from foveal.structures import DataSample

NAMES = (
    "fcn_r50-d8_4xb4-160k_ade20k-512x512",
    "fpn_r50_4xb4-160k_ade20k-512x512",
    "mask2former_r50_8xb2-160k_ade20k-512x512",
    "segformer_mit-b0_8xb2-160k_ade20k-512x512",
    "upernet_r50_4xb4-160k_ade20k-512x512",
)
# dilated networks compute much: half a minute each in float64
LONG = (
    "deeplabv3_r50-d8_4xb4-160k_ade20k-512x512",
    "deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512",
    "mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024",
    "pspnet_r50-d8_4xb4-160k_ade20k-512x512",
)


@pytest.fixture(scope="module", params=[*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)])
def spec(request, recipe):
    return recipe.load(request.param)


@pytest.fixture(scope="module")
def state(spec, recipe):
    return recipe.state_dict(spec, torch.float64)


def build(spec, state, dtype, **test_cfg):
    config = copy.deepcopy(spec["config"]["model"])
    config["test_cfg"].update(test_cfg)
    model = MODELS.build(config).to(dtype)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing
    assert not unexpected
    return model.eval()


@pytest.fixture(scope="module")
def data_sample(spec, recipe):
    gt = spec["extra"]["gt"]
    labels = np.floor(recipe.array_input(gt["input"]) * gt["span"])
    labels = np.where(labels >= gt["num_classes"], 255, labels)
    labels = np.kron(labels, np.ones((gt["cell"], gt["cell"])))
    meta = {key: tuple(value) for key, value in spec["extra"]["meta"].items()}
    return DataSample(gt_sem_seg=PixelData(data=torch.from_numpy(labels).long()[None]), metainfo=meta)


@pytest.fixture(scope="module")
def model(spec, state):
    return build(spec, state, torch.float64)


def outputs(model, x, data_sample):
    with torch.no_grad():
        feats = model.extract_feat(x)
        raw = model(x)
        out = {"seg_logits": raw}
        if isinstance(raw, tuple):
            layers = zip(("cls_scores", "mask_preds"), raw, strict=True)
            out = {f"{name}_{i}": value for name, values in layers for i, value in enumerate(values)}
        if model.auxiliary_head is not None:
            out["aux_logits"] = model.auxiliary_head(feats)
        predicted = model(x, [copy.deepcopy(data_sample)], mode="predict")[0]
    out["predict.seg_logits"] = predicted.seg_logits.data
    out["predict.sem_seg"] = predicted.pred_sem_seg.data
    return out


def whole_only(spec):
    return {**spec, "outputs": {k: v for k, v in spec["outputs"].items() if not k.startswith("predict_slide")}}


def test_outputs(spec, recipe, model, data_sample):
    x = recipe.tensor_input(spec["inputs"]["x"], torch.float64)
    assert sum(p.numel() for p in model.parameters()) == spec["params"]
    report = recipe.compare(outputs(model, x, data_sample), whole_only(spec))
    assert max(report.values()) <= 1e-6, report


def test_outputs_in_float32(spec, recipe, state, data_sample):
    model = build(spec, state, torch.float32)
    x = recipe.tensor_input(spec["inputs"]["x"])
    report = recipe.compare(outputs(model, x, data_sample), whole_only(spec))
    assert max(report.values()) <= 2e-3, report


def test_sliding_windows(spec, recipe, state, data_sample):
    if "slide" not in spec["extra"]:
        pytest.skip("this fixture pins whole-image inference only")
    slide = build(spec, state, torch.float64, mode="slide", **spec["extra"]["slide"])
    x = recipe.tensor_input(spec["inputs"]["x"], torch.float64)
    with torch.no_grad():
        predicted = slide(x, [copy.deepcopy(data_sample)], mode="predict")[0]
    pinned = {k.removeprefix("predict_slide."): k for k in spec["outputs"] if k.startswith("predict_slide")}
    got = {pinned["seg_logits"]: predicted.seg_logits.data, pinned["sem_seg"]: predicted.pred_sem_seg.data}
    report = recipe.compare(got, {"outputs": {k: spec["outputs"][k] for k in pinned.values()}})
    assert max(report.values()) <= 1e-6, report


def test_losses_and_gradients(spec, recipe, model, data_sample):
    x = recipe.tensor_input(spec["inputs"]["x"], torch.float64)
    model.zero_grad()
    if "loss_seed" in spec["extra"]:  # of random points
        torch.manual_seed(spec["extra"]["loss_seed"])
    losses = model(x, [data_sample], mode="loss")
    total = sum(value for key, value in losses.items() if "loss" in key)
    total.backward()
    got = {key: value.item() for key, value in losses.items()} | {"total": total.item()}
    assert got == pytest.approx(spec["losses"], rel=1e-5)
    grads = {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}
    norms = {**grads, "__all__": np.sqrt(sum(g**2 for g in grads.values())), "__params_with_grad__": len(grads)}
    assert {key: norms[key] for key in spec["grad_norms"]} == pytest.approx(spec["grad_norms"], rel=1e-4)
