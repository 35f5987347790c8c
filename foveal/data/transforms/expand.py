"""SSD's enlargement: the image becomes a part of a larger, empty one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.sample import place_sample
from foveal.registry import TRANSFORMS


@TRANSFORMS.register_module()
class Expand(BaseTransform):
    """Put the image at a random place of a larger canvas, with boxes, masks and label map (arXiv:1512.02325).

    Args:
        mean: Colour of the canvas, one number a channel.
        to_rgb: ``mean`` is RGB while the image is BGR.
        ratio_range: Smallest and largest ratio of the canvas's sides to the image's.
        seg_ignore_label: Fill of the label map; None: 255.
        prob: Probability of doing it.
    """

    def __init__(
        self,
        mean: Sequence[float] = (0, 0, 0),
        to_rgb: bool = True,
        ratio_range: Sequence[float] = (1, 4),
        seg_ignore_label: int | None = None,
        prob: float = 0.5,
    ) -> None:
        self.mean = list(mean)[::-1] if to_rgb else list(mean)
        self.ratio_range = ratio_range
        self.seg_ignore_label = 255 if seg_ignore_label is None else seg_ignore_label
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Enlarge a sample or leave it; sets ``img_shape``."""
        if np.random.uniform(0, 1) > self.prob:
            return results
        height, width = results["img"].shape[:2]
        ratio = np.random.uniform(self.ratio_range[0], self.ratio_range[1])
        shape = (int(height * ratio), int(width * ratio))
        left, top = (int(np.random.uniform(0, edge * ratio - edge)) for edge in (width, height))
        channels = results["img"].shape[2] if results["img"].ndim == 3 else 1
        colour = self.mean[0] if channels != len(self.mean) else self.mean
        place_sample(results, shape, (left, top), colour, self.seg_ignore_label)
        return results
