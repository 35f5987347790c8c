"""MaskFormerFusionHead on masks whose results are known."""

import pytest
import torch

from foveal.heads.segmentation.maskformer_fusion_head import boxes_around
from foveal.registry import MODELS
from foveal.structures import DataSample

THINGS, STUFF, SIDE = 2, 2, 8
VOID = THINGS + STUFF


def head(**test_cfg):
    options = {"num_things_classes": THINGS, "num_stuff_classes": STUFF, "test_cfg": test_cfg}
    return MODELS.build({"type": "MaskFormerFusionHead", **options})


def classes(*wanted):
    """Logits of queries that are sure of a class; ``VOID`` is "no object"."""
    return 10.0 * torch.nn.functional.one_hot(torch.tensor(wanted), VOID + 1)


def masks(*regions):
    """Logits 4 in (y1, y2, x1, x2) and -4 elsewhere."""
    out = torch.full((len(regions), SIDE, SIDE), -4.0)
    for mask, (y1, y2, x1, x2) in zip(out, regions, strict=True):
        mask[y1:y2, x1:x2] = 4
    return out


def test_panoptic_map():
    scores = classes(1, 3, 1, VOID, 3)
    regions = masks((0, 4, 0, 4), (4, 8, 0, 4), (0, 4, 4, 8), (0, 8, 0, 8), (4, 8, 4, 6))
    got = head(filter_low_score=True).panoptic(scores, regions)
    want = torch.full((SIDE, SIDE), VOID)
    want[:4, :4], want[:4, 4:] = 1001, 2001  # two objects of class 1
    want[4:, :6] = 3  # two queries of one stuff class are one segment
    assert got.dtype == torch.int32
    assert torch.equal(got.long(), want)


def test_low_probability_pixels_belong_to_somebody_unless_filtered():
    got = head().panoptic(classes(0), masks((0, 4, 0, 8)))
    assert torch.equal(got, torch.full((SIDE, SIDE), 1000, dtype=torch.int32))


def test_hidden_objects_go():
    scores = classes(0, 1)
    scores[1] *= 0.6  # less sure, so it loses the pixels it shares
    regions = masks((0, 8, 0, 6), (0, 8, 2, 8))
    got = head(filter_low_score=True).panoptic(scores, regions)
    assert set(got.unique().tolist()) == {1000, VOID}
    got = head(filter_low_score=True, iou_thr=0.3).panoptic(scores, regions)
    assert set(got.unique().tolist()) == {1000, 2001}


def test_nothing_found():
    got = head().panoptic(classes(VOID, VOID), masks((0, 4, 0, 4), (2, 4, 2, 4)))
    assert got.unique().tolist() == [VOID]


def test_instances():
    found = head(max_per_image=3).instances(classes(1, 2, 0), masks((0, 4, 2, 5), (0, 8, 0, 8), (6, 8, 0, 8)))
    assert sorted(found.labels.tolist()) == [0, 1]  # the stuff's pair took the third place
    first = found[found.labels == 1]
    assert first.bboxes.tolist() == [[2, 0, 5, 4]]
    assert first.masks.sum() == 12
    probability = classes(1).softmax(-1)[0, 1] * torch.tensor(4.0).sigmoid()
    assert first.scores.item() == pytest.approx(probability.item(), rel=1e-5)


def test_results_have_the_original_size_without_padding():
    sample = DataSample(metainfo={"img_shape": (8, 4), "ori_shape": (16, 8)})
    everything = head(instance_on=True, semantic_on=True)
    everything.predict(classes(0, 3)[None], masks((0, 4, 0, 8), (4, 8, 0, 8))[None], [sample])
    assert sample.pred_panoptic_seg.sem_seg.shape == (1, 16, 8)
    assert sample.pred_instances.masks.shape[1:] == (16, 8)
    want = torch.zeros(1, 16, 8, dtype=torch.long)
    want[:, 8:] = 3
    assert torch.equal(sample.pred_sem_seg.data, want)


def test_boxes_around():
    empty_and_one = torch.zeros(2, 5, 7, dtype=torch.bool)
    empty_and_one[1, 2:4, 6] = True
    assert boxes_around(empty_and_one).tolist() == [[0, 0, 0, 0], [6, 2, 7, 4]]
