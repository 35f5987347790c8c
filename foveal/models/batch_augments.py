"""Changes to a whole batch while training."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast, get_rank
from mmengine.logging import MessageHub
from torch import Tensor, nn

from foveal.errors import ConfigError
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


@MODELS.register_module()
class BatchFixedSizePad(nn.Module):
    """Pad every batch, at the bottom and right, to at least one size, as mmdet's of this name.

    Args:
        size: Height and width in pixels; larger batches stay.
        img_pad_value: Fill of the images.
        pad_mask: Pad ``gt_instances.masks`` too.
        mask_pad_value: Fill of masks; there is only 0.
        pad_seg: Pad ``gt_sem_seg`` too.
        seg_pad_value: Fill of label maps.

    Raises:
        ConfigError: If ``mask_pad_value`` is not 0.
    """

    def __init__(
        self,
        size: Sequence[int],
        img_pad_value: float = 0,
        pad_mask: bool = False,
        mask_pad_value: int = 0,
        pad_seg: bool = False,
        seg_pad_value: int = 255,
    ) -> None:
        super().__init__()
        if mask_pad_value != 0:
            raise ConfigError(f"BatchFixedSizePad pads masks with 0: mask_pad_value must be 0, got {mask_pad_value}")
        self.size = tuple(size)
        self.img_pad_value = img_pad_value
        self.pad_mask = pad_mask
        self.pad_seg = pad_seg
        self.seg_pad_value = seg_pad_value

    def forward(self, inputs: Tensor, data_samples: list[DataSample]) -> tuple[Tensor, list[DataSample]]:
        """Return the batch padded, and tell the samples its size.

        Args:
            inputs: [N, C, H, W].
            data_samples: N samples; label maps and masks are padded along, in place.
        """
        height, width = (max(pair) for pair in zip(self.size, inputs.shape[-2:], strict=True))
        inputs = pad(inputs, height, width, self.img_pad_value)
        for sample in data_samples:
            sample.set_metainfo({"batch_input_shape": (height, width)})
            seg_value = self.seg_pad_value if self.pad_seg else None
            pad_truth(sample, (height, width), seg_value, self.pad_mask)
        return inputs, data_samples


def pad(x: Tensor, height: int, width: int, value: float) -> Tensor:
    """Pad [..., h, w] at the bottom and right; what is larger, such as truth at the original size, stays."""
    missing = (0, max(0, width - x.shape[-1]), 0, max(0, height - x.shape[-2]))
    return F.pad(x, missing, value=value) if any(missing) else x


def pad_truth(sample: DataSample, size: tuple[int, int], seg_value: int | None, masks: bool) -> None:
    """Pad a sample's label map, depth map (with 0, unknown) and masks, in place.

    Args:
        sample: With or without them.
        size: Height and width to pad to.
        seg_value: Fill of the label map. None: it stays.
        masks: Pad the masks, with zeros.
    """
    if seg_value is not None and "gt_sem_seg" in sample:
        seg = sample.gt_sem_seg.data
        del sample.gt_sem_seg.data  # PixelData refuses a tensor of another size while the old one is there
        sample.gt_sem_seg.data = pad(seg, *size, seg_value)
    if "gt_depth_map" in sample:
        depth = sample.gt_depth_map.data
        del sample.gt_depth_map.data
        sample.gt_depth_map.data = pad(depth, *size, 0)
    for field in ("gt_instances", "ignored_instances") if masks else ():
        instances = sample.get(field)
        if instances is not None and "masks" in instances:
            instances.masks = pad(instances.masks, *size, 0)
