"""Two images laid over each other, with the boxes of both (mixup, arXiv:1710.09412, as YOLOX has it)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.crop import random_window
from foveal.data.transforms.geometric import Pad
from foveal.data.transforms.mix_cache import MixCache
from foveal.data.transforms.sample import (
    INSTANCE_KEYS,
    copy_sample,
    crop_sample,
    flip_sample,
    pair_of_ints,
    resize_sample,
)
from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS

Sample = dict[str, Any]


@TRANSFORMS.register_module()
class MixUp(BaseTransform):
    """Average the image with another one that is resized, padded, flipped and cropped; mmdet's arguments.

    Needs `MultiImageMixDataset`, which lays the other into ``mix_results``. Masks come along; a label map stays that of
    the first image.

    Args:
        img_scale: (w, h) that the other image is fitted into.
        ratio_range: It is then scaled by a number from this range.
        flip_ratio: Probability of not flipping it (as in mmdet).
        pad_val: Fill around it.
        max_iters: Draws until another image with boxes is found.
        bbox_clip_border: Clip boxes to the image.
    """

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        ratio_range: Sequence[float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float | Sequence[float] = 114.0,
        max_iters: int = 15,
        bbox_clip_border: bool = True,
    ) -> None:
        self.img_scale = pair_of_ints(type(self).__name__, "img_scale", img_scale)
        self.ratio_range = ratio_range
        self.flip_ratio = flip_ratio
        self.pad_val = pad_val
        self.max_iters = max_iters
        self.bbox_clip_border = bbox_clip_border

    def get_indexes(self, dataset: Any) -> list[int]:
        """Return which sample of the dataset is the other: one with boxes, if some draws find it."""
        for _ in range(self.max_iters):
            index = int(np.random.randint(0, len(dataset)))
            if len(dataset[index]["gt_bboxes"]):
                break
        return [index]

    def transform(self, results: Sample) -> Sample:
        """Mix a sample with the one of its ``mix_results``, or leave it where that has no boxes."""
        return self.mix(results, results["mix_results"][0])

    def mix(self, results: Sample, other: Sample) -> Sample:
        """Return ``results`` mixed with ``other``, which is not changed."""
        if not len(other["gt_bboxes"]):
            return results
        other = copy_sample(other)
        jitter = np.random.uniform(self.ratio_range[0], self.ratio_range[1])
        flip = np.random.uniform(0, 1) > self.flip_ratio
        height, width = other["img"].shape[:2]
        ratio = min(self.img_scale[1] / height, self.img_scale[0] / width)
        clip = self.bbox_clip_border
        resize_sample(other, (max(int(width * ratio), 1), max(int(height * ratio), 1)), clip_object_border=clip)
        fill = self.pad_val if isinstance(self.pad_val, (int, float)) else tuple(self.pad_val)
        Pad(size=self.img_scale, pad_val={"img": fill}).transform(other)
        resize_sample(
            other, (int(self.img_scale[0] * jitter), int(self.img_scale[1] * jitter)), clip_object_border=clip
        )
        if flip:
            flip_sample(other, "horizontal")
        shape = results["img"].shape[:2]
        Pad(size=shape[::-1], pad_val={"img": fill}).transform(other)
        crop_sample(other, random_window(other["img"].shape[:2], shape), clip)
        mean = 0.5 * results["img"].astype(np.float32) + 0.5 * other["img"].astype(np.float32)
        results["img"] = mean.astype(np.uint8)
        for key in INSTANCE_KEYS:
            if results.get(key) is not None:
                results[key] = np.concatenate((results[key], other[key]))
        return results


@TRANSFORMS.register_module()
class CachedMixUp(MixUp):
    """`MixUp` with one of the samples that came before (RTMDet, arXiv:2212.07784): nothing is loaded twice.

    Args:
        img_scale: As there.
        ratio_range: As there.
        flip_ratio: As there.
        pad_val: As there.
        max_iters: As there.
        bbox_clip_border: As there.
        max_cached_images: How many samples are kept, at least 2.
        random_pop: A random one makes room for a new one; else the oldest.
        prob: Probability of doing it.

    Raises:
        ConfigError: If ``max_cached_images`` is less or ``prob`` not in [0, 1].
    """

    get_indexes = None  # type: ignore[assignment]  # needs no other samples of the dataset

    def __init__(
        self,
        img_scale: Sequence[int] = (640, 640),
        ratio_range: Sequence[float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float | Sequence[float] = 114.0,
        max_iters: int = 15,
        bbox_clip_border: bool = True,
        max_cached_images: int = 20,
        random_pop: bool = True,
        prob: float = 1.0,
    ) -> None:
        super().__init__(img_scale, ratio_range, flip_ratio, pad_val, max_iters, bbox_clip_border)
        if not 0 <= prob <= 1:
            raise ConfigError(f"CachedMixUp: prob must be in [0, 1], got {prob!r}")
        self.prob = prob
        self.cache = MixCache("CachedMixUp", max_cached_images, 2, random_pop)

    def transform(self, results: Sample) -> Sample:
        """Mix a sample with an earlier one, or leave it while there is none."""
        self.cache.add(results)
        if len(self.cache) <= 1 or np.random.uniform(0, 1) > self.prob:
            return results
        for _ in range(self.max_iters):
            other = self.cache.draw()
            if len(other["gt_bboxes"]):
                break
        return self.mix(results, other)
