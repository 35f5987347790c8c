"""Annotations and predictions drawn on a picture. All pictures are RGB uint8 [H, W, 3]; none is changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData

from foveal.data.palette import make_palette
from foveal.visualization.text import (
    PAPER,
    Text,
    contrasting,
    draw_texts,
    font_size,
    line_height,
    shorten,
    text_width,
)

Palette = Sequence[Sequence[int]]
_MASK_ALPHA = 0.45


def draw_detections(
    image: np.ndarray,
    instances: InstanceData | Mapping[str, Any],
    classes: Sequence[str],
    score_thr: float = 0.3,
    palette: Palette | None = None,
) -> np.ndarray:
    """Draw boxes, their classes and, where given, masks.

    Args:
        image: The picture.
        instances: ``bboxes`` [N, 4] (x1, y1, x2, y2 in pixels of ``image``), ``labels`` [N], optional ``scores`` [N]
            and ``masks`` [N, H, W].
        classes: Names by label.
        score_thr: Instances with a lower score are left out.
        palette: RGB by label. None: distinct colours.

    Returns:
        A new picture of the same size.
    """
    boxes, labels, scores, masks = _instances(instances)
    kept = np.arange(len(boxes)) if scores is None else np.flatnonzero(scores >= score_thr)
    sides = np.maximum(boxes[kept, 2:] - boxes[kept, :2], 0)
    kept = kept[np.argsort(-sides.prod(axis=1), kind="stable")]  # small objects on top of large ones
    colours = _colours(palette, len(classes))
    picture = image.copy()
    if masks is not None:
        for index in kept:
            _blend_mask(picture, _fit(masks[index], image.shape), colours[labels[index]])
    thickness = max(1, round(max(image.shape[:2]) / 400))
    for index in kept:
        x1, y1, x2, y2 = _corners(boxes[index], image.shape)
        cv2.rectangle(picture, (x1, y1), (x2, y2), colours[labels[index]], thickness)
    return _label_boxes(picture, [_title(i, labels, scores, classes) for i in kept], boxes[kept], labels[kept], colours)


def draw_segmentation(
    image: np.ndarray,
    label_map: np.ndarray | torch.Tensor,
    palette: Palette | None = None,
    alpha: float = 0.6,
    ignore_index: int = 255,
) -> np.ndarray:
    """Lay the classes' colours over a picture, with thin white lines between regions.

    Args:
        image: The picture.
        label_map: Integer [H, W] or [1, H, W]; another size is fitted with the nearest pixel.
        palette: RGB by label. None: distinct colours.
        alpha: Share of the colours, 0 to 1.
        ignore_index: Pixels with this label keep the picture's own colour, darkened.

    Returns:
        A new picture of the same size.
    """
    labels = _fit(_label_map(label_map), image.shape)
    known = labels != ignore_index
    count = int(labels[known].max()) + 1 if known.any() else 1
    colours = np.array(_colours(palette, count), dtype=np.float32)
    picture = image.astype(np.float32)
    picture[known] = (1 - alpha) * picture[known] + alpha * colours[labels[known]]
    picture[~known] *= 0.4
    # a pixel is on a border when a neighbour to the right or below has another label
    border = np.zeros(labels.shape, bool)
    border[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    border[:-1] |= labels[1:] != labels[:-1]
    picture[border] = 0.5 * picture[border] + 127.5
    return picture.round().astype(np.uint8)


def draw_legend(
    labels: Sequence[int], classes: Sequence[str], width: int, size: int, palette: Palette | None = None
) -> np.ndarray:
    """Return a strip with the colour and the name of each class, in as many lines as it needs.

    Args:
        labels: The classes to show.
        classes: Names by label.
        width: Of the strip, in pixels.
        size: Font size in pixels.
        palette: RGB by label. None: distinct colours.

    Returns:
        A picture [h, width, 3].
    """
    colours = _colours(palette, len(classes))
    row, gap = round(1.5 * line_height(size)), size // 2
    x, y, texts, swatches = gap, gap, [], []
    for label in labels:
        words = shorten(classes[label], width - 4 * gap - size, size)
        step = size + gap + text_width(words, size) + 2 * gap
        if x > gap and x + step > width:
            x, y = gap, y + row
        swatches.append((x, y + (line_height(size) - size) // 2, colours[label]))
        texts.append(Text(x + size + gap, y, words))
        x += step
    strip = np.full((y + row, width, 3), PAPER, np.uint8)
    for left, top, colour in swatches:
        cv2.rectangle(strip, (left, top), (left + size, top + size), colour, -1)
        cv2.rectangle(strip, (left, top), (left + size, top + size), (90, 90, 90), 1)
    return draw_texts(strip, texts, size)


def classes_present(label_maps: Sequence[np.ndarray | torch.Tensor], ignore_index: int = 255) -> list[int]:
    """Return the labels in some label maps, the largest area first."""
    counts = np.bincount(np.concatenate([_label_map(m).ravel() for m in label_maps]), minlength=ignore_index + 1)
    counts[ignore_index] = 0
    order = np.argsort(-counts, kind="stable")
    return [int(label) for label in order if counts[label]]


def _instances(
    instances: InstanceData | Mapping[str, Any],
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    get = instances.get
    boxes = to_numpy(get("bboxes")).astype(np.float64).reshape(-1, 4)
    scores, masks = get("scores"), get("masks")
    return (
        boxes,
        to_numpy(get("labels")).astype(np.int64),
        None if scores is None else to_numpy(scores).astype(np.float64),
        None if masks is None else to_numpy(masks),
    )


def to_numpy(values: Any) -> np.ndarray:
    """Return a tensor or an array as an array on the CPU."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _label_map(label_map: np.ndarray | torch.Tensor) -> np.ndarray:
    labels = to_numpy(label_map)
    return labels.reshape(labels.shape[-2:]).astype(np.int64)


def _fit(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Resize [h, w] to the picture's size with the nearest pixel."""
    if values.shape == tuple(shape[:2]):
        return values
    rows = np.arange(shape[0]) * values.shape[0] // shape[0]
    columns = np.arange(shape[1]) * values.shape[1] // shape[1]
    return values[rows[:, None], columns]


def _colours(palette: Palette | None, count: int) -> list[tuple[int, int, int]]:
    """Return one colour a class; a palette that is too short is continued."""
    colours = list(palette or [])
    colours += make_palette(count)[len(colours) :]
    return [(int(r), int(g), int(b)) for r, g, b in colours]


def _corners(box: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    height, width = shape[:2]
    x1, x2 = np.clip(np.round(box[[0, 2]]), 0, width - 1).astype(int).tolist()
    y1, y2 = np.clip(np.round(box[[1, 3]]), 0, height - 1).astype(int).tolist()
    return x1, y1, x2, y2


def _blend_mask(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    inside = mask.astype(bool)
    mixed = (1 - _MASK_ALPHA) * picture[inside] + _MASK_ALPHA * np.array(colour)
    picture[inside] = mixed.round().astype(np.uint8)
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, colour, 1, cv2.LINE_AA)


def _title(index: np.integer, labels: np.ndarray, scores: np.ndarray | None, classes: Sequence[str]) -> str:
    name = classes[labels[index]]
    return name if scores is None else f"{name} {scores[index]:.2f}"


def _label_boxes(
    picture: np.ndarray,
    titles: Sequence[str],
    boxes: np.ndarray,
    labels: np.ndarray,
    colours: Sequence[tuple[int, int, int]],
) -> np.ndarray:
    """Write each title on a patch of its colour, at a corner of its box where no other patch is."""
    size = font_size(picture.shape)
    taken: list[tuple[int, int, int, int]] = []
    texts = []
    for title, box, label in zip(titles, boxes, labels, strict=True):
        width, height = text_width(title, size) + size // 2, line_height(size)
        place = _free_place(_corners(box, picture.shape), (width, height), picture.shape, taken)
        if place is None:  # a crowd of small boxes: one title more would only hide others
            continue
        x, y = place
        taken.append((x, y, x + width, y + height))
        cv2.rectangle(picture, (x, y), (x + width, y + height), colours[label], -1)
        texts.append(Text(x + size // 4, y, title, contrasting(colours[label])))
    return draw_texts(picture, texts, size)


def _free_place(
    corners: tuple[int, int, int, int],
    patch: tuple[int, int],
    shape: tuple[int, ...],
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int] | None:
    """Return where a patch (w, h) fits: above, in or below its box, at the left or right; None where all are taken."""
    x1, y1, x2, y2 = corners
    width, height = patch
    for y in (y1 - height, y1, y2 - height, y2 + 1):
        for x in (x1, x2 - width):
            x = min(max(x, 0), max(shape[1] - width - 1, 0))
            if y < 0 or y + height >= shape[0]:
                continue
            if not any(x < r and x + width > left and y < b and y + height > t for left, t, r, b in taken):
                return x, y
    return None
