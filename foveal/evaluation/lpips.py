"""LPIPS of restored images, by torchmetrics."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from foveal.errors import ConfigError
from foveal.evaluation.psnr_ssim import ImageMetric
from foveal.registry import METRICS


@METRICS.register_module()
class LPIPS(ImageMetric):
    """Learned perceptual distance, mean over the images; less is more alike (Zhang et al., 2018, arXiv:1801.03924).

    torchmetrics computes it, with the authors' linear weights (version 0.1) over torchvision's network, whose weights
    are downloaded at first use. It computes on the CPU: the network is small beside a restorer.

    Args:
        net: ``alex``, ``vgg`` or ``squeeze``; papers mostly report ``alex``.
        crop_border: Pixels that do not count on each side.
        collect_device: Where the results of several processes meet: ``cpu`` or ``gpu``.
        prefix: First part of the name of the result. None: none.

    Raises:
        ConfigError: If ``net`` is another word or torchmetrics is not installed.
    """

    name = "LPIPS"

    def __init__(
        self,
        net: Literal["alex", "vgg", "squeeze"] = "alex",
        crop_border: int = 0,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(crop_border, None, collect_device, prefix)
        if net not in ("alex", "vgg", "squeeze"):
            raise ConfigError(f"LPIPS.net is alex, vgg or squeeze, got {net!r}")
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
        except ImportError as error:
            raise ConfigError("LPIPS needs torchmetrics: pip install 'foveal[lpips]'") from error
        self.network = LearnedPerceptualImagePatchSimilarity(net, normalize=True)

    @torch.no_grad()
    def function(self, pred: np.ndarray, gt: np.ndarray, crop_border: int, convert_to: str | None) -> float:
        """Return the distance of two images, uint8 [H, W, 3].

        Raises:
            ValueError: If their shapes differ or they are not RGB.
        """
        if pred.shape != gt.shape or pred.shape[2] != 3:
            raise ValueError(f"LPIPS compares RGB images of one size, got {pred.shape} and {gt.shape} (h, w, c)")
        rows, columns = (slice(crop_border, side - crop_border) for side in pred.shape[:2])
        images = (torch.from_numpy(x[rows, columns].copy()).permute(2, 0, 1)[None].float() / 255 for x in (pred, gt))
        return float(self.network(*images))
