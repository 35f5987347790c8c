"""Geometry on a whole sample: the image and every annotation that must move with it.

A sample is the ``results`` dictionary of a pipeline: ``img`` [H, W] or [H, W, C], ``gt_bboxes`` float32 [N, 4]
(x1, y1, x2, y2 in pixels), ``gt_bboxes_labels`` [N], ``gt_ignore_flags`` [N], ``gt_masks`` uint8 [N, H, W] and
``gt_seg_map`` uint8 [H, W], ``gt_depth_map`` float32 [H, W] in metres, 0 where unknown. All but ``img`` may be missing.
"""

from __future__ import annotations

from typing import Any

import cv2
import mmcv
import numpy as np

from foveal.errors import ConfigError

INSTANCE_KEYS = ("gt_bboxes", "gt_bboxes_labels", "gt_masks", "gt_ignore_flags")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "area", "lanczos")
BACKENDS = ("cv2", "pillow")
_BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "edge": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT_101,
    "symmetric": cv2.BORDER_REFLECT,
}
PADDING_MODES = tuple(_BORDERS)


def check_choice(owner: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise a ConfigError where the argument ``name`` of ``owner`` is none of ``choices``."""
    if value not in choices:
        raise ConfigError(f"{owner}: {name} must be one of {', '.join(choices)}, got {value!r}")


def pair_of_ints(owner: str, name: str, value: Any) -> tuple[int, int]:
    """Return ``value``, one positive integer or two, as a pair; raise a ConfigError where it is neither."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(v, (int, np.integer)) and v > 0 for v in pair):
        raise ConfigError(f"{owner}: {name} must be one or two positive integers, got {value!r}")
    return pair


def resize_sample(
    results: dict[str, Any],
    size: tuple[int, int],
    interpolation: str = "bilinear",
    clip_object_border: bool = True,
    backend: str = "cv2",
) -> None:
    """Resize the image and its annotations in place; label maps and masks take the nearest pixel.

    Args:
        results: The sample. ``img_shape`` is updated, ``scale_factor`` (w, h) multiplied by this resize's.
        size: (width, height) afterwards.
        interpolation: For the image.
        clip_object_border: Clip boxes to the image.
        backend: ``'cv2'`` or ``'pillow'``, whose bilinear and bicubic filters are antialiased.
    """
    height, width = results["img"].shape[:2]
    img = results["img"]
    flat = img[..., 0] if img.shape[2:] == (1,) else img  # Pillow knows no [H, W, 1]
    results["img"] = _like(img, mmcv.imresize(flat, size, False, interpolation, backend=backend))
    results["img_shape"] = (size[1], size[0])
    factor = (size[0] / width, size[1] / height)
    before = results.get("scale_factor", (1.0, 1.0))
    results["scale_factor"] = (before[0] * factor[0], before[1] * factor[1])
    if results.get("gt_bboxes") is not None:
        results["gt_bboxes"] = results["gt_bboxes"] * np.array(factor * 2, dtype=np.float32)
        if clip_object_border:
            clip_boxes(results["gt_bboxes"], results["img_shape"])
    if results.get("gt_masks") is not None:
        masks = [cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) for mask in results["gt_masks"]]
        results["gt_masks"] = np.stack(masks) if masks else np.zeros((0, size[1], size[0]), np.uint8)
    for key in ("gt_seg_map", "gt_depth_map"):
        if results.get(key) is not None:
            results[key] = cv2.resize(results[key], size, interpolation=cv2.INTER_NEAREST)


def crop_sample(results: dict[str, Any], window: tuple[int, int, int, int], clip_object_border: bool = True) -> None:
    """Cut the window (x1, y1, x2, y2; the last two exclusive) out of a sample, in place.

    Instances whose box lies outside are removed.
    """
    x1, y1, x2, y2 = window
    results["img"] = results["img"][y1:y2, x1:x2]
    results["img_shape"] = results["img"].shape[:2]
    for key in ("gt_masks", "gt_seg_map", "gt_depth_map"):
        if results.get(key) is not None:
            results[key] = results[key][..., y1:y2, x1:x2]
    if results.get("gt_bboxes") is not None:
        boxes = results["gt_bboxes"] - np.array([x1, y1, x1, y1], dtype=np.float32)
        inside = boxes_inside(boxes, results["img_shape"])
        if clip_object_border:
            clip_boxes(boxes, results["img_shape"])
        results["gt_bboxes"] = boxes
        select_instances(results, inside)


def flip_sample(results: dict[str, Any], direction: str) -> None:
    """Mirror a sample in place, ``gt_img`` of a restoration pair included.

    Args:
        results: The sample.
        direction: ``'horizontal'`` (left and right change places), ``'vertical'`` or ``'diagonal'`` (both).
    """
    height, width = results["img"].shape[:2]
    code = {"horizontal": 1, "vertical": 0, "diagonal": -1}[direction]
    for key in ("img", "gt_img", "gt_seg_map", "gt_depth_map"):
        if results.get(key) is not None:
            results[key] = _like(results[key], cv2.flip(results[key], code))
    if results.get("gt_masks") is not None and len(results["gt_masks"]):
        results["gt_masks"] = np.stack([cv2.flip(mask, code) for mask in results["gt_masks"]])
    if results.get("gt_bboxes") is not None:
        boxes = results["gt_bboxes"].copy()
        if direction != "vertical":
            boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        if direction != "horizontal":
            boxes[:, [1, 3]] = height - boxes[:, [3, 1]]
        results["gt_bboxes"] = boxes


def pad_image(image: np.ndarray, shape: tuple[int, int], value: Any, mode: str = "constant") -> np.ndarray:
    """Pad an image at the bottom and right to (height, width); a side that is longer already stays.

    Args:
        image: [H, W] or [H, W, C].
        shape: (height, width).
        value: One number, or one a channel.
        mode: A name in ``PADDING_MODES``, with NumPy's meaning.
    """
    bottom, right = (max(wanted - got, 0) for wanted, got in zip(shape, image.shape[:2], strict=True))
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * 4  # cv2 fills missing channels with 0
    return _like(image, cv2.copyMakeBorder(image, 0, bottom, 0, right, _BORDERS[mode], value=values))


def copy_sample(results: dict[str, Any]) -> dict[str, Any]:
    """Return a sample that transforms may change: arrays are shared, but for boxes, which are clipped in place."""
    copied = {key: value for key, value in results.items() if key != "mix_results"}
    if copied.get("gt_bboxes") is not None:
        copied["gt_bboxes"] = copied["gt_bboxes"].copy()
    return copied


def place_sample(
    results: dict[str, Any], shape: tuple[int, int], offset: tuple[int, int], value: Any, seg_value: int
) -> None:
    """Put a sample on an empty canvas, in place; masks are empty outside.

    Args:
        results: The sample.
        shape: (h, w) of the canvas.
        offset: (left, top) of the sample's corner; it must fit.
        value: Fill of the image, one number or one a channel.
        seg_value: Fill of the label map.
    """
    left, top = offset
    height, width = results["img"].shape[:2]
    area = (..., slice(top, top + height), slice(left, left + width))

    def placed(array: np.ndarray, canvas: tuple[int, ...], fill: Any, where: tuple[Any, ...]) -> np.ndarray:
        whole = np.full(canvas, fill, dtype=array.dtype)
        whole[where] = array
        return whole

    img = results["img"]
    results["img"] = placed(img, (*shape, *img.shape[2:]), value, area[1:])
    results["img_shape"] = shape
    if results.get("gt_seg_map") is not None:
        results["gt_seg_map"] = placed(results["gt_seg_map"], shape, seg_value, area)
    if results.get("gt_masks") is not None:
        results["gt_masks"] = placed(results["gt_masks"], (len(results["gt_masks"]), *shape), 0, area)
    if results.get("gt_bboxes") is not None:
        results["gt_bboxes"] = results["gt_bboxes"] + np.array([left, top, left, top], dtype=np.float32)


def select_instances(results: dict[str, Any], keep: np.ndarray) -> None:
    """Keep, in every per-instance array of a sample, the entries that ``keep`` (bool [N] or indices) names."""
    for key in INSTANCE_KEYS:
        if results.get(key) is not None:
            results[key] = results[key][keep]


def clip_boxes(boxes: np.ndarray, shape: tuple[int, int]) -> None:
    """Clip boxes [N, 4] to an image of ``shape`` (h, w), in place."""
    np.clip(boxes[:, 0::2], 0, shape[1], out=boxes[:, 0::2])
    np.clip(boxes[:, 1::2], 0, shape[0], out=boxes[:, 1::2])


def boxes_inside(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return bool [N]: which boxes [N, 4] have a part in an image of ``shape`` (h, w)."""
    left, top, right, bottom = boxes.T
    return (left < shape[1]) & (top < shape[0]) & (right > 0) & (bottom > 0)


def boxes_of_masks(masks: np.ndarray) -> np.ndarray:
    """Return the tight boxes, float32 [N, 4], of masks uint8 [N, H, W]; zeros for an empty mask."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        x, y = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if len(x):
            box[:] = x[0], y[0], x[-1] + 1, y[-1] + 1
    return boxes


def file_of(results: dict[str, Any]) -> str:
    """Return the name that messages give to a sample."""
    return str(results.get("img_path") or results.get("gt_img_path") or "the image")


def _like(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Give back the channel axis that OpenCV drops from [H, W, 1]."""
    return after if after.ndim == before.ndim else after[..., None]
