"""Batches of noise with the truth of any task, for benchmarks that need no files."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.structures import InstanceData, PixelData

from foveal.structures import DataSample


def batch(model: Any, count: int, size: int, classes: int) -> dict[str, Any]:
    """Return images of noise with two boxes with masks, classes and depths of pixels, or sharp images.

    Args:
        model: What learns from them; a `Restorer` wants sharp images of its scale.
        count: Images.
        size: Their side in pixels.
        classes: Pixels have one of so many.

    Returns:
        ``inputs``, uint8 [C, size, size] each, and ``data_samples``, as the data preprocessors take them.
    """
    scale = getattr(model, "scale", None)
    channels = 3 if scale is None else len(model.data_preprocessor.mean)
    images = [torch.randint(0, 256, (channels, size, size), dtype=torch.uint8) for _ in range(count)]
    if scale is not None:
        sharp = [torch.randint(0, 256, (3, size * scale, size * scale), dtype=torch.uint8) for _ in images]
        return {"inputs": images, "data_samples": [DataSample(gt_img=image) for image in sharp]}
    boxes = torch.tensor([[8.0, 10, size / 2, size / 3], [size / 4, 21, size - 20, size - 9]])
    masks = torch.zeros(2, size, size, dtype=torch.bool)
    masks[:, size // 8 : size // 3, size // 8 : size // 3] = True
    samples = []
    for i in range(count):
        truth = InstanceData(bboxes=boxes, labels=torch.zeros(2, dtype=torch.long), masks=masks)
        none = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.long), masks=masks[:0])
        pixels = {
            "gt_sem_seg": PixelData(data=torch.randint(0, classes, (1, size, size))),
            "gt_depth_map": PixelData(data=1 + torch.rand(1, size, size)),
        }
        meta = {"img_shape": (size, size), "ori_shape": (size, size), "scale_factor": (1.0, 1.0), "img_path": "noise"}
        meta |= {"img_id": i, "focal": 700.0}
        samples.append(DataSample(gt_instances=truth, ignored_instances=none, **pixels, metainfo=meta))
    return {"inputs": images, "data_samples": samples}
