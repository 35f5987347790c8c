"""Detections of several views of an image: turned back, pooled, doubles suppressed."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from foveal.errors import ConfigError
from foveal.models.det_tta import DetTTAModel
from foveal.structures import DataSample

HEIGHT, WIDTH = 40, 60
OBJECT = torch.tensor([4.0, 6.0, 14.0, 30.0])
OTHER = torch.tensor([40.0, 20.0, 55.0, 35.0])
FLIPS = {"horizontal": (True, False), "vertical": (False, True), "diagonal": (True, True)}


class Detector(nn.Module):
    """What is wrapped; its predictions are given by hand here."""

    def test_step(self, data: dict) -> list[DataSample]:
        raise NotImplementedError


def view(boxes: list[torch.Tensor], scores: list[float], direction: str | None = None) -> DataSample:
    """What a perfect detector finds in an image that is flipped: boxes and filled masks."""
    masks = torch.zeros(len(boxes), HEIGHT, WIDTH, dtype=torch.bool)
    found = torch.stack(boxes).clone()
    for mask, (x1, y1, x2, y2) in zip(masks, found.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    across, down = FLIPS.get(direction or "", (False, False))
    if across:
        found[:, [0, 2]] = WIDTH - found[:, [2, 0]]
        masks = masks.flip(-1)
    if down:
        found[:, [1, 3]] = HEIGHT - found[:, [3, 1]]
        masks = masks.flip(-2)
    sample = DataSample(
        metainfo={"ori_shape": (HEIGHT, WIDTH), "flip": direction is not None, "flip_direction": direction}
    )
    labels = torch.zeros(len(boxes), dtype=torch.long)
    sample.pred_instances = InstanceData(bboxes=found, scores=torch.tensor(scores), labels=labels, masks=masks)
    return sample


def merged(views: list[DataSample], **cfg: object) -> InstanceData:
    nms = {"type": "nms", "iou_threshold": 0.5}
    model = DetTTAModel(tta_cfg={"nms": nms, "max_per_img": 100, **cfg}, module=Detector())
    (sample,) = model.merge_preds([views])
    return sample.pred_instances


@pytest.mark.parametrize("direction", FLIPS)
def test_doubles_go_and_what_one_view_alone_found_stays(direction: str) -> None:
    result = merged([view([OBJECT], [0.6]), view([OBJECT, OTHER], [0.9, 0.3], direction)])
    torch.testing.assert_close(result.bboxes, torch.stack([OBJECT, OTHER]))
    torch.testing.assert_close(result.scores, torch.tensor([0.9, 0.3]))
    expected = view([OBJECT, OTHER], [0.9, 0.3]).pred_instances.masks
    assert torch.equal(result.masks, expected)


def test_the_best_are_kept() -> None:
    result = merged([view([OBJECT, OTHER], [0.4, 0.8]), view([OBJECT], [0.5])], max_per_img=1)
    torch.testing.assert_close(result.bboxes, OTHER[None])


def test_without_its_options_it_says_so() -> None:
    with pytest.raises(ConfigError, match="DetTTAModel needs tta_cfg"):
        DetTTAModel(module=Detector())
