"""Mask2Former as a detector: against mmdet's panoptic model, and small ones that learn."""

import copy

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from foveal.errors import ConfigError, DataError
from foveal.registry import MODELS
from foveal.structures import DataSample

NAME = "mask2former_r50_8xb2-lsj-50e_coco-panoptic"
WIDTH, SIDE = 32, 64
ATTENTION = {"embed_dims": WIDTH, "num_heads": 4}
RANDOM = {"type": "RandomSampler", "num": 8, "pos_fraction": 0.5}
FFN = {"embed_dims": WIDTH, "feedforward_channels": 48}


@pytest.fixture(scope="module")
def spec(recipe):
    return recipe.load(NAME)


@pytest.fixture(scope="module")
def official(spec, recipe):
    model = MODELS.build(copy.deepcopy(spec["config"]["model"])).double()
    model.load_state_dict(recipe.state_dict(spec, torch.float64))
    return model.eval()


def ellipses(boxes, height, width):
    y, x = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    parts = [
        (((x - (a + c) / 2) / ((c - a) / 2)) ** 2, ((y - (b + d) / 2) / ((d - b) / 2)) ** 2) for a, b, c, d in boxes
    ]
    return torch.stack([across + down <= 1 for across, down in parts])


def pinned_samples(spec, recipe):
    gt, meta = spec["extra"]["gt"], {key: tuple(value) for key, value in spec["extra"]["meta"].items()}
    seg = np.floor(recipe.array_input(gt["seg"]["input"]) * gt["seg"]["span"])
    seg = np.where(seg >= gt["seg"]["num_classes"], 255, seg)
    seg = torch.from_numpy(np.kron(seg, np.ones((1, gt["seg"]["cell"], gt["seg"]["cell"])))).long()
    seg[..., gt["seg"]["padding_from_column"] :] = 255
    samples = []
    for boxes, labels, label_map in zip(gt["bboxes"], gt["labels"], seg, strict=True):
        truth = InstanceData(bboxes=torch.tensor(boxes).double(), labels=torch.tensor(labels))
        truth.masks = ellipses(boxes, *meta["batch_input_shape"])
        sample = DataSample(gt_instances=truth, gt_sem_seg=PixelData(data=label_map[None]), metainfo=meta)
        samples.append(sample)
    return samples


def test_official_outputs(spec, recipe, official):
    x = recipe.tensor_input(spec["inputs"]["x"], torch.float64)
    assert sum(p.numel() for p in official.parameters()) == spec["params"]
    with torch.no_grad():
        raw = official(x)
        predicted = official(x, pinned_samples(spec, recipe), mode="predict")
    layers = zip(("cls_scores", "mask_preds"), raw, strict=True)
    got = {f"{name}_{i}": value for name, values in layers for i, value in enumerate(values)}
    for i, sample in enumerate(predicted):
        result = sample.pred_instances
        got |= {f"predict.{i}.{key}": result[key] for key in ("scores", "labels", "bboxes")}
        got[f"predict.{i}.areas"] = result.masks.flatten(1).sum(1)
        got[f"predict.{i}.panoptic"] = sample.pred_panoptic_seg.sem_seg
    report = recipe.compare(got, spec)
    # a pixel whose logit is 0 but for rounding may fall to either side, and a score is a mean over the mask's pixels
    of_masks = max(report.pop(key) for key in list(report) if key.endswith((".areas", ".scores")))
    assert of_masks <= 1e-4
    assert max(report.values()) <= 1e-6, {k: v for k, v in report.items() if v > 1e-6}


@pytest.mark.slow
def test_official_losses_and_gradients(spec, recipe, official):
    x = recipe.tensor_input(spec["inputs"]["x"], torch.float64)
    official.zero_grad()
    torch.manual_seed(spec["extra"]["loss_seed"])
    losses = official(x, pinned_samples(spec, recipe), mode="loss")
    total = sum(losses.values())
    total.backward()
    got = {key: value.item() for key, value in losses.items()} | {"total": total.item()}
    assert got == pytest.approx(spec["losses"], rel=1e-5)
    grads = {name: p.grad.norm().item() for name, p in official.named_parameters() if p.grad is not None}
    norms = {**grads, "__all__": np.sqrt(sum(g**2 for g in grads.values())), "__params_with_grad__": len(grads)}
    assert {key: norms[key] for key in spec["grad_norms"]} == pytest.approx(spec["grad_norms"], rel=1e-4)


def config(stuff, **test_cfg):
    costs = [{"type": "ClassificationCost", "weight": 2.0}, {"type": "DiceCost", "weight": 5.0, "pred_act": True}]
    classes = {"num_things_classes": 3, "num_stuff_classes": stuff}
    return {
        "type": "Mask2Former",
        "backbone": {"type": "ResNet", "depth": 18},
        "panoptic_head": {
            "type": "Mask2FormerHead",
            **classes,
            "feat_channels": WIDTH,
            "out_channels": WIDTH,
            "num_queries": 8,
            "pixel_decoder": {
                "type": "MSDeformAttnPixelDecoder",
                "norm_cfg": {"type": "GN", "num_groups": 4},
                "encoder": {
                    "num_layers": 1,
                    "layer_cfg": {"self_attn_cfg": {**ATTENTION, "num_levels": 3, "dropout": 0.0}, "ffn_cfg": FFN},
                },
                "positional_encoding": {"num_feats": WIDTH // 2, "normalize": True},
            },
            "transformer_decoder": {
                "num_layers": 3,
                "layer_cfg": {"self_attn_cfg": ATTENTION, "cross_attn_cfg": ATTENTION, "ffn_cfg": FFN},
            },
            "positional_encoding": {"num_feats": WIDTH // 2, "normalize": True},
            "loss_cls": {"type": "CrossEntropyLoss", "loss_weight": 2.0, "class_weight": [1.0] * (3 + stuff) + [0.1]},
        },
        "panoptic_fusion_head": {"type": "MaskFormerFusionHead", **classes},
        "train_cfg": {"num_points": 256, "assigner": {"type": "HungarianAssigner", "match_costs": costs}},
        "test_cfg": {"panoptic_on": bool(stuff), "instance_on": True, "max_per_image": 10, **test_cfg},
    }


def samples(boxes=((8, 8, 40, 56), (30, 4, 60, 30)), labels=(0, 2), stuff=4):
    truth = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).view(-1, 4), labels=torch.tensor(labels).long()
    )
    truth.masks = ellipses(boxes, SIDE, SIDE) if boxes else torch.zeros(0, SIDE, SIDE, dtype=torch.bool)
    seg = torch.full((1, SIDE, SIDE), 255)
    seg[:, 40:] = stuff
    meta = {"img_shape": (SIDE, 48), "ori_shape": (80, 60), "img_id": 7}
    return [DataSample(gt_instances=truth, gt_sem_seg=PixelData(data=seg), metainfo=meta) for _ in range(2)]


@pytest.mark.parametrize("stuff", [0, 2])
def test_learns_and_predicts(stuff):
    torch.manual_seed(0)
    model = MODELS.build(config(stuff)).train()
    x = torch.rand(2, 3, SIDE, SIDE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(12):
        losses = model(x, samples(), mode="loss")
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert set(losses) == {f"{p}loss_{n}" for p in ("", "d0.", "d1.", "d2.") for n in ("cls", "mask", "dice")}
    assert totals[-1] < 0.8 * totals[0]
    sample = model.eval()(x, samples(), mode="predict")[0]
    found = sample.pred_instances
    assert 0 < len(found) <= 10
    assert found.masks.shape == (len(found), 80, 60)
    assert found.masks.dtype == torch.bool
    assert found.labels.max() < 3
    assert ("pred_panoptic_seg" in sample) == bool(stuff)
    if stuff:
        assert sample.pred_panoptic_seg.sem_seg.shape == (1, 80, 60)


@pytest.mark.parametrize("stuff", [0, 2])
def test_images_without_objects(stuff):
    model = MODELS.build(config(stuff))
    batch = samples((), (), stuff=255)
    losses = model(torch.rand(2, 3, SIDE, SIDE), batch, mode="loss")
    sum(losses.values()).backward()
    assert losses["loss_mask"] == losses["loss_dice"] == 0
    assert losses["loss_cls"] > 0
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_one_image_of_two_without_objects():
    model = MODELS.build(config(0))
    losses = model(torch.rand(2, 3, SIDE, SIDE), [*samples()[:1], *samples((), ())[:1]], mode="loss")
    assert sum(losses.values()).isfinite()


def test_refuses_wrong_labels_and_missing_masks():
    model = MODELS.build(config(2))
    x = torch.rand(2, 3, SIDE, SIDE)
    with pytest.raises(DataError, match="img_id 7: box 1 has label 3"):
        model(x, samples(labels=(0, 3)), mode="loss")
    batch = samples()
    del batch[0].gt_instances.masks
    with pytest.raises(DataError, match="img_id 7 has no masks"):
        model(x, batch, mode="loss")


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("panoptic_head", {"loss_cls": {"type": "CrossEntropyLoss", "class_weight": [1.0]}}, "must have 6 entries"),
        ("panoptic_head", {"num_transformer_feat_level": 4}, "num_outs is 3"),
        ("panoptic_head", {"feat_channels": 48}, "must be feat_channels 48"),
        ("train_cfg", {"sampler": RANDOM}, "must be MaskPseudoSampler, got RandomSampler"),
        ("train_cfg", {"oversample_ratio": 0.5}, "oversample_ratio from 1 on"),
    ],
)
def test_refuses_contradictions(part, change, message):
    wrong = config(2)
    wrong[part].update(change)
    with pytest.raises(ConfigError, match=message):
        MODELS.build(wrong)


def semantic(spec_of_detector, **test_cfg):
    """The same network as a head of `EncoderDecoder`."""
    head = {k: v for k, v in spec_of_detector["panoptic_head"].items() if "things" not in k and "stuff" not in k}
    head |= {"num_classes": 5, "train_cfg": spec_of_detector["train_cfg"]}
    return MODELS.build(
        {
            "type": "EncoderDecoder",
            "backbone": spec_of_detector["backbone"],
            "decode_head": head,
            "test_cfg": {"mode": "whole", **test_cfg},
        }
    )


def test_semantic_in_windows_and_refusals():
    x = torch.rand(2, 3, SIDE, SIDE)
    model = semantic(config(2), mode="slide", crop_size=(48, 48), stride=(16, 16)).eval()
    assert model(x, mode="predict")[0].seg_logits.data.shape == (5, SIDE, SIDE)
    with pytest.raises(DataError, match="img_id 7: label 9 is neither a class"):
        model(x, samples(stuff=9), mode="loss")
    with pytest.raises(ConfigError, match="strip_rows needs logits of pixels"):
        semantic(config(2), strip_rows=8).eval()(x, mode="predict")
