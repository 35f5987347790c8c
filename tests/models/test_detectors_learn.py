"""Every detector of the configs brings its loss on four photographs down by half within 60 iterations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm

from foveal.data import CocoDataset
from tests.models.small_detectors import EVERY_KIND, OTHERS, small_detector

ROOT = Path(__file__).resolve().parent.parent.parent
SIDE = 96


@pytest.fixture(scope="module")
def batch():
    data = CocoDataset(
        data_root=str(ROOT / "demo"),
        ann_file="annotations/instances_detector.json",
        data_prefix={"img": "images"},
        indices=4,
        pipeline=[
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
            {"type": "Resize", "scale": (SIDE, SIDE), "keep_ratio": False},
            {"type": "PackInputs"},
        ],
    )
    return pseudo_collate([data[i] for i in range(4)])


@pytest.mark.parametrize("name", [*EVERY_KIND, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_photographs_without_objects(name, batch):
    """Losses stay of the size of others, and all parameters take part, without which several processes stop."""
    torch.manual_seed(0)
    model = revert_sync_batchnorm(small_detector(name)).train()
    samples = [sample.clone() for sample in batch["data_samples"]]
    for sample in samples:
        sample.gt_instances = sample.gt_instances[torch.zeros(len(sample.gt_instances), dtype=torch.bool)]
    loss, parts = model.parse_losses(
        model(**model.data_preprocessor({**batch, "data_samples": samples}, True), mode="loss")
    )
    assert 0 <= loss < 1e5, parts
    loss.backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*EVERY_KIND, *OTHERS])
def test_loss_falls_by_half(name, batch):
    torch.manual_seed(0)
    # the widths of queries are in too many places
    narrow = not any(word in name for word in ("sparse", "recursive", "detr", "dino"))
    # six layers of attention without warmed-up weights say the same of every image for longer than 60 iterations
    shallow = {"layers": 2} if "conditional" in name else {}
    rate = 3e-4 if shallow else 1e-3
    model = revert_sync_batchnorm(small_detector(name, narrow=narrow, **shallow))
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=rate, weight_decay=1e-4)
    losses = []
    for step in range(60):
        # a short warm-up: at the full rate the first steps of a random network can undo it
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / 10)
        data = model.data_preprocessor({**batch, "data_samples": [s.clone() for s in batch["data_samples"]]}, True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        losses.append(loss.item())
    # losses that the overlap weighs begin near zero: no box overlaps anything yet
    first, last = max(losses[:20]), sum(losses[-5:]) / 5
    assert last <= first / 2
