"""Four images in one (YOLOv4, arXiv:2004.10934)."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.mix_cache import MixCache
from foveal.data.transforms.sample import (
    INSTANCE_KEYS,
    boxes_inside,
    clip_boxes,
    copy_sample,
    crop_sample,
    pair_of_ints,
    place_sample,
    resize_sample,
    select_instances,
)
from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS

Sample = dict[str, Any]


@TRANSFORMS.register_module()
class Mosaic(BaseTransform):
    """Put the image and three others around a random centre, with boxes, masks and label maps; mmdet's arguments.

    Needs `MultiImageMixDataset`, which lays the others into ``mix_results``.

    Args:
        img_scale: (w, h) of a quarter; each image is resized to fit into it. The result is twice that.
        center_ratio_range: Where the four meet, in units of ``img_scale``.
        bbox_clip_border: Clip boxes to the result.
        pad_val: Fill where there is no image.
        prob: Probability of doing it.

    Raises:
        ConfigError: If ``prob`` is not in [0, 1].
    """

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        center_ratio_range: Sequence[float] = (0.5, 1.5),
        bbox_clip_border: bool = True,
        pad_val: float = 114.0,
        prob: float = 1.0,
    ) -> None:
        if not 0 <= prob <= 1:
            raise ConfigError(f"{type(self).__name__}: prob must be in [0, 1], got {prob!r}")
        self.img_scale = pair_of_ints(type(self).__name__, "img_scale", img_scale)
        self.center_ratio_range = center_ratio_range
        self.bbox_clip_border = bbox_clip_border
        self.pad_val = pad_val
        self.prob = prob

    def get_indexes(self, dataset: Sized) -> list[int]:
        """Return which three samples of the dataset are the others."""
        return [np.random.randint(0, len(dataset)) for _ in range(3)]

    def transform(self, results: Sample) -> Sample:
        """Combine a sample with its ``mix_results``, or leave it; sets ``img_shape``."""
        if np.random.uniform(0, 1) > self.prob:
            return results
        return self.combine(results, results["mix_results"])

    def combine(self, results: Sample, others: Sequence[Sample]) -> Sample:
        """Return ``results`` with the four images in one.

        Args:
            results: The sample whose image comes to the top left.
            others: Three samples: top right, bottom left, bottom right.
        """
        width, height = self.img_scale
        low, high = self.center_ratio_range
        center = tuple(int(np.random.uniform(low, high) * edge) for edge in self.img_scale)
        shape = (2 * height, 2 * width)
        quarters = [copy_sample(sample) for sample in (results, *others)]
        for i, quarter in enumerate(quarters):
            self._place(quarter, center, shape, right=bool(i % 2), below=bool(i // 2))
        results["img"], results["img_shape"] = quarters[0]["img"].copy(), shape
        if results.get("gt_seg_map") is not None:
            results["gt_seg_map"] = quarters[0]["gt_seg_map"].copy()
        for i, quarter in enumerate(quarters[1:], 1):
            rows = slice(center[1], None) if i // 2 else slice(None, center[1])
            columns = slice(center[0], None) if i % 2 else slice(None, center[0])
            for key in ("img", "gt_seg_map"):
                if results.get(key) is not None:
                    results[key][rows, columns] = quarter[key][rows, columns]
        for key in INSTANCE_KEYS:
            if results.get(key) is not None:
                results[key] = np.concatenate([quarter[key] for quarter in quarters])
        if results.get("gt_bboxes") is not None:
            inside = boxes_inside(results["gt_bboxes"], shape)
            if self.bbox_clip_border:
                clip_boxes(results["gt_bboxes"], shape)
            select_instances(results, inside)
        return results

    def _place(
        self, quarter: Sample, center: tuple[int, ...], shape: tuple[int, int], right: bool, below: bool
    ) -> None:
        """Resize a sample, cut off what does not fit into its quarter, and put it on an empty canvas."""
        height, width = quarter["img"].shape[:2]
        ratio = min(self.img_scale[1] / height, self.img_scale[0] / width)
        size = (max(int(width * ratio), 1), max(int(height * ratio), 1))
        resize_sample(quarter, size, clip_object_border=False)
        left = center[0] if right else center[0] - size[0]
        top = center[1] if below else center[1] - size[1]
        window = (max(-left, 0), max(-top, 0), min(shape[1] - left, size[0]), min(shape[0] - top, size[1]))
        # boxes may stand out until the whole is put together
        crop_sample(quarter, window, clip_object_border=False)
        place_sample(quarter, shape, (left + window[0], top + window[1]), self.pad_val, 255)


@TRANSFORMS.register_module()
class CachedMosaic(Mosaic):
    """`Mosaic` with three of the samples that came before (RTMDet, arXiv:2212.07784): nothing is loaded twice.

    Each worker keeps its own, so the result depends on their number, other than with `Mosaic`.

    Args:
        img_scale: As there.
        center_ratio_range: As there.
        bbox_clip_border: As there.
        pad_val: As there.
        prob: As there.
        max_cached_images: How many samples are kept, at least 4.
        random_pop: A random one makes room for a new one; else the oldest.

    Raises:
        ConfigError: If ``max_cached_images`` is less.
    """

    get_indexes = None  # type: ignore[assignment]  # needs no other samples of the dataset

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        center_ratio_range: Sequence[float] = (0.5, 1.5),
        bbox_clip_border: bool = True,
        pad_val: float = 114.0,
        prob: float = 1.0,
        max_cached_images: int = 40,
        random_pop: bool = True,
    ) -> None:
        super().__init__(img_scale, center_ratio_range, bbox_clip_border, pad_val, prob)
        self.cache = MixCache("CachedMosaic", max_cached_images, 4, random_pop)

    def transform(self, results: Sample) -> Sample:
        """Combine a sample with earlier ones, or leave it while there are not four."""
        self.cache.add(results)
        if len(self.cache) <= 4 or np.random.uniform(0, 1) > self.prob:
            return results
        return self.combine(results, [self.cache.draw() for _ in range(3)])
