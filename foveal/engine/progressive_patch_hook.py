"""Patches that grow while training: small ones first, many of them, then larger ones, fewer (Restormer)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook

from foveal.errors import ConfigError
from foveal.registry import HOOKS


@HOOKS.register_module()
class ProgressivePatchHook(Hook):
    """Cut the patches of a batch, and the batch, down to what is due (arXiv:2111.09881, as its released code does it).

    The pipeline makes patches of the largest size, the loader batches of the largest number.

    Args:
        patch_sizes: Side of the low-quality patch in each stage.
        batch_sizes: Samples in each stage.
        iters: Iterations of each stage; the last one goes on to the end.

    Raises:
        ConfigError: If the three differ in length.
    """

    def __init__(self, patch_sizes: Sequence[int], batch_sizes: Sequence[int], iters: Sequence[int]) -> None:
        if not len(patch_sizes) == len(batch_sizes) == len(iters) > 0:
            raise ConfigError(
                "ProgressivePatchHook needs patch_sizes, batch_sizes and iters of one length, got "
                f"{len(patch_sizes)}, {len(batch_sizes)} and {len(iters)}"
            )
        self.patch_sizes, self.batch_sizes = list(patch_sizes), list(batch_sizes)
        self.starts = [sum(iters[: i + 1]) for i in range(len(iters) - 1)]

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Cut the batch, in place: the same window of a sample's two images, at random."""
        stage = bisect_right(self.starts, runner.iter)
        size, count = self.patch_sizes[stage], self.batch_sizes[stage]
        inputs, samples = data_batch["inputs"], data_batch["data_samples"]
        del inputs[count:], samples[count:]
        for i, (image, sample) in enumerate(zip(inputs, samples, strict=True)):
            height, width = image.shape[-2:]
            if min(height, width) < size:
                raise ConfigError(f"ProgressivePatchHook: the pipeline's patches are {height} x {width}, due is {size}")
            top, left = (int(torch.randint(side - size + 1, ())) for side in (height, width))
            scale = sample.gt_img.shape[-1] // width
            inputs[i] = image[:, top : top + size, left : left + size]
            sample.gt_img = sample.gt_img[:, top * scale : (top + size) * scale, left * scale : (left + size) * scale]
            sample.set_metainfo({"img_shape": (size, size)})
