"""Rows, sheets and restoration panels."""

from __future__ import annotations

import numpy as np
import pytest

from foveal.data.imresize import imresize
from foveal.visualization.sheet import picture_sheet, restoration_panel, side_by_side


def flat(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def area_of(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[slice, slice]:
    """Rows and columns that a colour covers."""
    rows, columns = np.nonzero((picture == colour).all(axis=2))
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 200, 0)


def test_side_by_side_brings_to_one_height():
    picture = side_by_side([flat(100, 150, RED), flat(50, 40, BLUE)], ["truth", "prediction"])
    red, blue = area_of(picture, RED), area_of(picture, BLUE)
    assert red[0] == blue[0] and red[0].stop - red[0].start == 100 and blue[1].stop - blue[1].start == 80
    assert red[0].start > 10 and (picture[: red[0].start] < 128).any()  # the captions are above
    assert blue[1].start > red[1].stop


def test_sheet_keeps_columns_and_writes_captions():
    rows = [[flat(80, 100, RED), flat(100, 50, BLUE)], [flat(500, 700, GREEN)]]
    words = [["one", "a caption that is far too long for one line of a cell"], ["three"]]
    sheet = picture_sheet(rows, words, ["left", "right"], "Title", cell_size=(200, 150))
    red, blue, green = (area_of(sheet, colour) for colour in (RED, BLUE, GREEN))
    assert red[1].stop - red[1].start == 188 and red[0].stop - red[0].start == 150  # scaled up to the cell
    assert blue[0].stop - blue[0].start == 150 and blue[1].stop - blue[1].start == 75
    assert green[1].stop - green[1].start == 200 and green[0].stop - green[0].start == 143
    assert blue[1].start > 200 and green[0].start > red[0].stop + 15
    assert sheet.shape[1] == 2 * 200 + 3 * 12
    between = sheet[red[0].stop : green[0].start]
    assert (between < 128).any()
    bare = picture_sheet(rows, cell_size=(200, 150))
    assert bare.shape[0] < sheet.shape[0] and bare.shape[1] == sheet.shape[1]


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("with_truth", [True, False])
def test_restoration_panel(scale, with_truth):
    rng = np.random.default_rng(0)
    gt = flat(120, 160, (90, 90, 90))
    gt[40:70, 100:130] = rng.integers(0, 255, (30, 30, 3))  # the only detail
    low = imresize(gt, 1 / scale) if scale > 1 else gt
    panel = restoration_panel(low, gt, gt if with_truth else None)
    tiles = 2 + (scale > 1) + with_truth
    assert panel.shape[1] > 320 + tiles * 240
    assert (panel == (255, 40, 40)).all(axis=2).any()
    # the enlarged prediction shows the detail, not the flat rest
    start = panel.shape[1] - 240 * (1 + with_truth) - 6 * with_truth
    assert panel[:240, start : start + 240].std() > 20


def test_the_window_can_be_chosen():
    gt = flat(60, 60, (90, 90, 90))
    gt[:20, :20] = RED
    panel = restoration_panel(gt, gt, gt, crop=(0, 0, 20, 20))
    assert (panel[100, -100:] == RED).all()
