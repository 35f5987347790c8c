"""Augmentation by the albumentations library (https://albumentations.ai, https://arxiv.org/abs/1809.06839)."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.sample import file_of, select_instances
from foveal.errors import ConfigError, DataError
from foveal.registry import TRANSFORMS, nearest, unknown_arguments

_INDEX = "instance"  # label field that tells which boxes albumentations kept


@TRANSFORMS.register_module()
class Albu(BaseTransform):
    """Run albumentations' transforms on the image with its boxes, masks and label map.

    The transforms see the image as RGB. Boxes that leave the image, or are empty, are removed together with their
    labels and masks. Pixels from outside the image become 255 in the label map and 0 in the masks.

    Args:
        transforms: Config dicts: ``type`` is albumentations' name, the other keys are its arguments. ``OneOf``,
            ``SomeOf``, ``Sequential`` and such nest through ``transforms``.
        bbox_params: Arguments of ``albumentations.BboxParams`` other than ``format`` and ``label_fields``, such as
            ``dict(min_visibility=0.1)``.

    Raises:
        ConfigError: If albumentations has no such name or argument, or refuses a value.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]], bbox_params: Mapping[str, Any] | None = None) -> None:
        library = _library()
        params = {"clip": True, "filter_invalid_bboxes": True, **(bbox_params or {})}
        problem = unknown_arguments(library.BboxParams, params)
        if problem is not None:
            raise ConfigError(f"Albu: bbox_params: {problem}")
        bboxes = library.BboxParams(format="pascal_voc", label_fields=[_INDEX], **params)
        self.transforms = transforms
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Got processor for bboxes")  # there may be changes of colour alone
            self.compose = library.Compose([_build(step) for step in transforms], bbox_params=bboxes)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Transform a sample; sets ``img_shape``.

        Raises:
            DataError: If a transform cannot deal with the sample, such as a crop larger than the image.
        """
        boxes = results.get("gt_bboxes")
        count = 0 if boxes is None else len(boxes)
        targets = {
            "image": _swap_red_blue(results["img"]),
            "bboxes": boxes if count else np.zeros((0, 4), np.float32),
            _INDEX: np.arange(count),
        }
        if results.get("gt_masks") is not None and len(results["gt_masks"]):
            targets["masks"] = results["gt_masks"]
        if results.get("gt_seg_map") is not None:
            # Shifted by one, 0 is the ignored label: the zeros that albumentations fills with come out as 255.
            targets["mask"] = results["gt_seg_map"] + np.uint8(1)
        self.compose.set_random_seed(np.random.randint(2**31))
        try:
            changed = self.compose(**targets)
        except Exception as error:  # albumentations' own exceptions share no parent
            raise DataError(f"Albu: {file_of(results)}: {error}") from error
        self._store(results, changed, boxes is not None)
        return results

    def _store(self, results: dict[str, Any], changed: dict[str, Any], has_boxes: bool) -> None:
        """Put what albumentations returned back into the sample."""
        results["img"] = _swap_red_blue(changed["image"])
        results["img_shape"] = results["img"].shape[:2]
        if "mask" in changed:
            results["gt_seg_map"] = changed["mask"] - np.uint8(1)
        if "masks" in changed:
            results["gt_masks"] = np.ascontiguousarray(changed["masks"])
        elif results.get("gt_masks") is not None:
            results["gt_masks"] = np.zeros((0, *results["img_shape"]), np.uint8)
        if has_boxes:
            select_instances(results, np.asarray(changed[_INDEX], dtype=np.int64))
            results["gt_bboxes"] = np.asarray(changed["bboxes"], dtype=np.float32).reshape(-1, 4)


def _library() -> ModuleType:
    """Import albumentations: only here, since that takes more than a second."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise the import asks the network for a newer release
    import albumentations

    return albumentations


def _build(step: Mapping[str, Any]) -> Any:
    """Return the albumentations transform of a config dict, its nested ones built first."""
    library = _library()
    if not isinstance(step, Mapping) or "type" not in step:
        raise ConfigError(f"Albu: each of transforms must be a dict with 'type', got {step!r}")
    arguments = {key: value for key, value in step.items() if key != "type"}
    known = {
        name: value
        for name, value in vars(library).items()
        if inspect.isclass(value) and issubclass(value, (library.BasicTransform, library.BaseCompose))
    }
    name = step["type"]
    if name not in known:
        near = nearest(str(name), known)
        raise ConfigError(f"Albu: albumentations has no transform {name!r}; nearest names: {', '.join(near) or 'none'}")
    problem = unknown_arguments(known[name], arguments)
    if problem is not None:
        raise ConfigError(f"Albu: {problem}")
    if arguments.get("fill_mask") is not None:
        raise ConfigError(f"Albu: leave fill_mask out of {name}: label maps are filled with 255, masks with 0")
    if "transforms" in arguments:
        arguments["transforms"] = [_build(inner) for inner in arguments["transforms"]]
    try:
        return known[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Albu: {name}: {' '.join(str(error).split())}") from error


def _swap_red_blue(image: np.ndarray) -> np.ndarray:
    """Turn BGR into RGB or back; a grey image stays."""
    is_colour = image.ndim == 3 and image.shape[2] == 3
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if is_colour else np.ascontiguousarray(image)
