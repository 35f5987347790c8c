"""Segmentors that learn ten real pictures by heart: the whole path from files to mIoU works."""

import pytest
import torch
from torch import nn

from foveal.data import ADE20KDataset
from foveal.evaluation.iou_metric import class_scores, count_pixels
from foveal.registry import MODELS

SIDE, CLASSES = 128, 150
HEAD = {"num_classes": CLASSES, "dropout_ratio": 0.0, "norm_cfg": {"type": "BN"}}
MODELS_SMALL = {
    "UPerNet": {
        "backbone": {"type": "ResNetV1c", "depth": 18, "base_channels": 16, "stem_channels": 16},
        "decode_head": {"type": "UPerHead", "channels": 64, **HEAD},
    },
    "SegFormer": {
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 16,
            "num_layers": (1, 1, 1, 1),
            "num_heads": (1, 2, 4, 8),
        },
        "decode_head": {"type": "SegformerHead", "channels": 64, **HEAD},
    },
}


@pytest.fixture(scope="module")
def pairs(shared):
    """Ten images, normalised [10, 3, SIDE, SIDE], and label maps [10, SIDE, SIDE]."""
    root = shared / "data" / "ade_sample"
    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "reduce_zero_label": True},
        {"type": "Resize", "scale": (SIDE, SIDE), "keep_ratio": False},
        {"type": "PackInputs"},
    ]
    prefix = {"img_path": "images", "seg_map_path": "annotations"}
    dataset = ADE20KDataset(data_root=str(root), data_prefix=prefix, pipeline=pipeline, indices=10)
    samples = [dataset[i] for i in range(10)]
    x = torch.stack([sample["inputs"] for sample in samples]).float() / 64 - 2
    return x, [sample["data_samples"] for sample in samples]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS_SMALL)
def test_ten_pictures_are_learnt_by_heart(name, pairs):
    x, samples = pairs
    model = MODELS.build({"type": "EncoderDecoder", **MODELS_SMALL[name]}).train()
    model.init_weights()
    steps = 600
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        loss = model(x, samples, mode="loss")["decode.loss_ce"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        labels = model.encode_decode(x).argmax(1)
    counts = sum(
        count_pixels(pred, sample.gt_sem_seg.data[0], CLASSES) for pred, sample in zip(labels, samples, strict=True)
    )
    present = counts[2] > 0
    miou = class_scores(counts, ["mIoU"])["IoU"][present].mean()
    print(f"{name}: mIoU {miou:.3f} over {int(present.sum())} classes, loss {loss:.4f}")
    assert miou >= 0.8
