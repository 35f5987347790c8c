"""Changes to a whole batch while training."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast, get_rank
from mmengine.logging import MessageHub
from torch import Tensor, nn

from foveal.registry import MODELS
from foveal.structures import DataSample


@MODELS.register_module()
class BatchSyncRandomResize(nn.Module):
    """Resize every batch to a size that changes now and then and is the same on all devices, as mmdet's of this name.

    Args:
        random_size_range: Smallest and largest height in pixels.
        interval: A new size is drawn after so many iterations.
        size_divisor: Height and width are multiples of this.
    """

    def __init__(self, random_size_range: Sequence[int], interval: int = 10, size_divisor: int = 32) -> None:
        super().__init__()
        self.steps = (round(random_size_range[0] / size_divisor), round(random_size_range[1] / size_divisor))
        self.interval = interval
        self.size_divisor = size_divisor
        self.input_size: tuple[int, int] | None = None

    def forward(self, inputs: Tensor, data_samples: list[DataSample]) -> tuple[Tensor, list[DataSample]]:
        """Return the batch in the size of the moment, and draw the next one when it is time.

        Args:
            inputs: [N, C, H, W].
            data_samples: N samples; boxes and sizes are scaled along, in place.
        """
        height, width = inputs.shape[-2:]
        target = self.input_size or (height, width)
        if target != (height, width):
            inputs = F.interpolate(inputs, size=target, mode="bilinear", align_corners=False)
            for sample in data_samples:
                _scale(sample, target, (target[0] / height, target[1] / width))
        if ((MessageHub.get_current_instance().get_info("iter") or 0) + 1) % self.interval == 0:
            self.input_size = self._draw(width / height, inputs.device)
        return inputs, data_samples

    def _draw(self, aspect_ratio: float, device: torch.device) -> tuple[int, int]:
        size = torch.zeros(2, dtype=torch.long, device=device)
        if get_rank() == 0:
            steps = random.randint(*self.steps)
            size[0], size[1] = self.size_divisor * steps, self.size_divisor * int(aspect_ratio * steps)
        broadcast(size, 0)
        height, width = size.tolist()
        return height, width


def _scale(sample: DataSample, target: tuple[int, int], scale: tuple[float, float]) -> None:
    """Turn a sample's sizes and boxes into those of the resized batch."""
    for key in ("img_shape", "pad_shape"):
        height, width = sample.metainfo[key][:2]
        sample.set_metainfo({key: (int(height * scale[0]), int(width * scale[1]))})
    sample.set_metainfo({"batch_input_shape": target})
    for field in ("gt_instances", "ignored_instances"):
        instances = sample.get(field)
        if instances is not None:
            instances.bboxes = instances.bboxes * instances.bboxes.new_tensor([scale[1], scale[0]] * 2)
