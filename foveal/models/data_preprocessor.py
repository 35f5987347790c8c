"""From a list of images to a normalised, padded batch on the model's device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.models.batch_augments import pad, pad_truth
from foveal.registry import MODELS


@MODELS.register_module()
class DataPreprocessor(BaseDataPreprocessor):
    """Move, normalise and pad a batch; while training, label maps and masks are padded along.

    Args:
        mean: Per channel, on the scale of the pixels (0 to 255), in the order after ``bgr_to_rgb``. None: no shift.
        std: The same for the division.
        bgr_to_rgb: Turn the channels round, since images are decoded as BGR.
        pad_size_divisor: Height and width are padded, at the bottom and right, to a multiple of this.
        size: Pad to at least this (h, w) while training. None: to the largest image of the batch.
        pad_value: Fill of images, after normalisation.
        pad_mask: Pad ``gt_instances.masks`` too.
        seg_pad_value: Fill of label maps; 255 is ignored by losses and metrics.
        non_blocking: Copy to the device without waiting; needs pinned memory.

    Shape:
        ``inputs``: list of uint8 or float [3, h_i, w_i]; result float [N, 3, H, W].
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        pad_size_divisor: int = 1,
        size: Sequence[int] | None = None,
        pad_value: float = 0.0,
        pad_mask: bool = True,
        seg_pad_value: int = 255,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking)
        self.bgr_to_rgb = bgr_to_rgb
        self.pad_size_divisor = pad_size_divisor
        self.size = tuple(size) if size is not None else None
        self.pad_value = pad_value
        self.pad_mask = pad_mask
        self.seg_pad_value = seg_pad_value
        channels = len(mean) if mean is not None else len(std) if std is not None else 1
        self.register_buffer("mean", torch.tensor(mean or [0.0] * channels).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or [1.0] * channels).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return ``data`` with ``inputs`` stacked to float [N, 3, H, W] and ``data_samples`` padded along.

        Args:
            data: ``inputs``, a list of [3, h, w] or a tensor [N, 3, h, w], and ``data_samples``, a list or None.
            training: True while training; ``size`` applies then only.
        """
        data = self.cast_data(data)
        images = [self._normalise(image) for image in data["inputs"]]
        samples = data.get("data_samples")
        height, width = self._target_size(images, training)
        inputs = torch.stack([pad(image, height, width, self.pad_value) for image in images])
        for sample, image in zip(samples, images, strict=True) if samples is not None else ():
            self._describe(sample, (image.shape[-2], image.shape[-1]), (height, width))
            # in evaluation they may have the original image's size, not the network's
            if training:
                pad_truth(sample, (height, width), self.seg_pad_value, self.pad_mask)
        return {"inputs": inputs, "data_samples": samples}

    def _normalise(self, image: Tensor) -> Tensor:
        if self.bgr_to_rgb:
            image = image.flip(0)
        dtype = self.mean.dtype if not image.is_floating_point() else image.dtype
        return (image.to(dtype) - self.mean.to(dtype)) / self.std.to(dtype)

    def _target_size(self, images: list[Tensor], training: bool) -> tuple[int, int]:
        sizes = [image.shape[-2:] for image in images]
        if self.size is not None and training:
            sizes.append(torch.Size(self.size))
        divisor = self.pad_size_divisor
        height, width = (max(s[axis] for s in sizes) for axis in (0, 1))
        return -(-height // divisor) * divisor, -(-width // divisor) * divisor

    def _describe(self, sample: Any, image_shape: tuple[int, int], batch_shape: tuple[int, int]) -> None:
        # mmdet's pad_shape: the image's own size rounded up; anchors beyond it belong to no image
        pad_shape = tuple(-(-side // self.pad_size_divisor) * self.pad_size_divisor for side in image_shape)
        sample.set_metainfo({"batch_input_shape": batch_shape, "pad_shape": pad_shape})
        if "img_shape" not in sample:
            sample.set_metainfo({"img_shape": image_shape})


@MODELS.register_module()
class DetDataPreprocessor(DataPreprocessor):
    """`DataPreprocessor` with mmdet's argument names.

    Args:
        mean: As there.
        std: As there.
        pad_size_divisor: As there.
        pad_value: As there.
        pad_mask: As there.
        mask_pad_value: Fill of masks; there is only 0.
        pad_seg: Label maps are padded wherever they are; taken for mmdet's configs.
        seg_pad_value: As there.
        bgr_to_rgb: As there.
        boxtype2tensor: Boxes are tensors; taken for mmdet's configs.
        non_blocking: As there.
        batch_augments: Configs of modules ``(inputs, data_samples) -> (inputs, data_samples)`` that change a whole
            batch while training.

    Raises:
        ConfigError: If ``mask_pad_value`` is not 0.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pad_size_divisor: int = 1,
        pad_value: float = 0.0,
        pad_mask: bool = True,
        mask_pad_value: int = 0,
        pad_seg: bool = True,
        seg_pad_value: int = 255,
        bgr_to_rgb: bool = False,
        boxtype2tensor: bool = True,
        non_blocking: bool = False,
        batch_augments: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        if mask_pad_value != 0:
            raise ConfigError(f"DetDataPreprocessor pads masks with 0: mask_pad_value must be 0, got {mask_pad_value}")
        super().__init__(
            mean,
            std,
            bgr_to_rgb,
            pad_size_divisor,
            pad_value=pad_value,
            pad_mask=pad_mask,
            seg_pad_value=seg_pad_value,
            non_blocking=non_blocking,
        )
        self.batch_augments = nn.ModuleList(MODELS.build(augment) for augment in batch_augments or ())

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Return the batch as `DataPreprocessor` makes it; while training, the augmentations follow.

        Args:
            data: As there.
            training: As there.
        """
        data = super().forward(data, training)
        if training:
            for augment in self.batch_augments:
                data["inputs"], data["data_samples"] = augment(data["inputs"], data["data_samples"])
        return data


@MODELS.register_module()
class SegDataPreProcessor(DataPreprocessor):
    """`DataPreprocessor` with mmseg's argument names.

    Args:
        mean: As there.
        std: As there.
        bgr_to_rgb: As there.
        size: Training crop (h, w), padded to.
        size_divisor: Pad to a multiple of this; used where ``size`` is None.
        pad_val: Fill of images.
        seg_pad_val: Fill of label maps.
        test_cfg: ``dict(size_divisor=…)`` pads to a multiple of it in evaluation, too.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        size: Sequence[int] | None = None,
        size_divisor: int | None = None,
        pad_val: float = 0.0,
        seg_pad_val: int = 255,
        test_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            mean,
            std,
            bgr_to_rgb,
            pad_size_divisor=size_divisor or (test_cfg or {}).get("size_divisor", 1),
            size=size,
            pad_value=pad_val,
            seg_pad_value=seg_pad_val,
        )
