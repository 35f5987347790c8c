"""What is drawn is where it belongs, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from foveal.visualization.draw import classes_present, draw_detections, draw_legend, draw_segmentation
from foveal.visualization.text import contrasting, shorten, text_width, wrap

CLASSES = ("cat", "dog")
PALETTE = [(250, 10, 20), (20, 30, 240)]


@pytest.fixture
def image() -> np.ndarray:
    return np.full((200, 300, 3), 128, np.uint8)


def instances(**more) -> InstanceData:
    boxes = torch.tensor([[40.0, 60, 120, 140], [180.0, 80, 280, 180]])
    return InstanceData(bboxes=boxes, labels=torch.tensor([0, 1]), **more)


def test_boxes_are_outlined_in_their_class_colour(image):
    before = image.copy()
    drawn = draw_detections(image, instances(), CLASSES, palette=PALETTE)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8 and np.array_equal(image, before)
    for (x1, y1, x2, y2), colour in zip(((40, 60, 120, 140), (180, 80, 280, 180)), PALETTE, strict=True):
        assert (drawn[y2, x1 : x2 + 1] == colour).all() and (drawn[y1 + 25 : y2, x1] == colour).all()
        assert (drawn[y1 + 25 : y2 - 3, x1 + 3 : x2 - 3] == 128).all()


def test_scores_filter_and_masks_tint(image):
    masks = torch.zeros(2, 200, 300, dtype=torch.bool)
    masks[:, 90:130, 60:100] = True
    found = instances(scores=torch.tensor([0.9, 0.2]), masks=masks)
    drawn = draw_detections(image, found, CLASSES, 0.3, PALETTE)
    assert (drawn[:, 150:] == 128).all()  # the second one is below the threshold
    inside = drawn[95:125, 65:95].reshape(-1, 3)
    assert (inside[:, 0] > 170).all() and (inside[:, 2] < 90).all()
    assert np.array_equal(draw_detections(image, found, CLASSES, 0.95), image)


def test_no_instances(image):
    empty = {"bboxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long), "scores": torch.zeros(0)}
    assert np.array_equal(draw_detections(image, empty, CLASSES), image)


@pytest.mark.parametrize("box", [[-50, -40, 500, 400], [0, 0, 6, 6], [290, 190, 310, 230], [10, 10, 10, 10]])
def test_boxes_at_and_over_the_edge(image, box):
    found = {"bboxes": np.array([box], float), "labels": np.array([1]), "scores": np.array([0.5])}
    drawn = draw_detections(image, found, CLASSES, palette=PALETTE)
    assert drawn.shape == image.shape and (drawn == PALETTE[1]).all(axis=2).any()


def test_many_boxes_and_a_small_image():
    small = np.zeros((32, 32, 3), np.uint8)
    found = {"bboxes": np.tile([[4.0, 4, 20, 20]], (50, 1)), "labels": np.zeros(50, int)}
    assert draw_detections(small, found, ["a class with a rather long name"]).shape == (32, 32, 3)


def test_label_map(image):
    labels = np.zeros((200, 300), np.int64)
    labels[:, 100:200], labels[:, 200:] = 1, 255
    drawn = draw_segmentation(image, torch.from_numpy(labels)[None], PALETTE, alpha=1.0)
    assert (drawn[:, 2:98] == PALETTE[0]).all() and (drawn[:, 102:198] == PALETTE[1]).all()
    assert (drawn[:, 202:] == 51).all()  # ignored: darkened
    assert (drawn[:, 99] != drawn[:, 98]).any()  # the border is lighter
    half = draw_segmentation(image, labels[::2, ::2], PALETTE, alpha=1.0)
    assert (half[:, 2:96] == PALETTE[0]).all()
    assert classes_present([labels, np.zeros((1000, 10), int)]) == [0, 1]


def test_everything_ignored(image):
    assert (draw_segmentation(image, np.full((200, 300), 255)) == 51).all()


def test_legend_names_only_what_fits_and_wraps():
    one = draw_legend([0, 1], CLASSES, 300, 14, PALETTE)
    assert one.shape[1] == 300 and all((one == colour).all(axis=2).any() for colour in PALETTE)
    two = draw_legend([0, 1], ("a long class name", "another long class name"), 180, 14, PALETTE)
    assert two.shape[0] > one.shape[0]


def test_text_is_measured():
    assert text_width("wide words", 20) > text_width("wide words", 10) > text_width("wide", 10)
    lines = wrap("several words that need more than one line", 100, 14)
    assert len(lines) > 2 and all(text_width(line, 14) <= 100 for line in lines)
    assert " ".join(lines) == "several words that need more than one line"
    cut = shorten("Donaudampfschifffahrtsgesellschaft", 100, 14)
    assert cut.endswith("…") and text_width(cut, 14) <= 100
    assert (contrasting((255, 255, 0)), contrasting((0, 0, 120))) == ((0, 0, 0), (255, 255, 255))
