"""What the heads that measure depth share: the loss on known depths, and the size of the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from foveal.errors import ConfigError, DataError
from foveal.heads.segmentation.decode_head import resize
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]

# BTS's: over all pixels of a batch
SILOG = {"type": "SiLogLoss", "loss_weight": 10.0, "variance_focus": 0.85}


class DepthHead(BaseModule):
    """Base of the heads; a child sets its layers and implements ``forward`` from maps to depths [N, 1, h, w].

    Args:
        in_channels: Channels of every map that it reads, finest first.
        max_depth: The largest depth that it can give, in metres.
        min_depth: Depths up to this are not learnt from, in metres.
        reference_focal: Focal length in pixels at which ``forward`` measures; depths grow with an image's own ``focal``
            over it. None: all images have one camera.
        loss_decode: Config of the loss.
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: If the depths are not positive and rising.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        max_depth: float,
        min_depth: float,
        reference_focal: float | None,
        loss_decode: Options,
        init_cfg: Options | list[Options] | None,
    ) -> None:
        super().__init__(init_cfg)
        if not 0 <= min_depth < max_depth:
            raise ConfigError(
                f"{type(self).__name__} needs 0 <= min_depth < max_depth, got {min_depth} and {max_depth}"
            )
        self.in_channels = tuple(in_channels)
        self.max_depth = max_depth
        self.min_depth = min_depth
        self.reference_focal = reference_focal
        self.loss_decode: Any = MODELS.build(loss_decode)

    def loss(self, feats: Sequence[Tensor], data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return the loss over the known depths of a batch.

        Args:
            feats: As for ``forward``.
            data_samples: N with ``gt_depth_map`` [1, H, W] in metres, 0 where unknown.

        Raises:
            DataError: If an image's ``focal`` is missing where it is needed.
        """
        truth = torch.stack([sample.gt_depth_map.data for sample in data_samples])
        depth = self.predict(feats, truth.shape[-2:], data_samples)
        truth = truth.to(depth).where(truth > self.min_depth, 0)
        return {self.loss_decode.loss_name: self.loss_decode(depth.reshape(1, -1), truth.reshape(1, -1))}

    def predict(
        self, feats: Sequence[Tensor], size: Sequence[int], data_samples: Sequence[DataSample] | None = None
    ) -> Tensor:
        """Return depths in metres [N, 1, *size].

        Args:
            feats: As for ``forward``.
            size: Height and width of the network's input.
            data_samples: N with ``focal`` in pixels, where ``reference_focal`` is set.

        Raises:
            DataError: If an image's ``focal`` is missing where it is needed.
        """
        depth = resize(self(feats), size)
        if self.reference_focal is None:
            return depth
        focal = [sample.get("focal") for sample in data_samples or []]
        if len(focal) != len(depth) or None in focal:
            raise DataError(
                f"{type(self).__name__} with reference_focal needs the focal length of every image, in pixels: "
                "'focal' of its sample"
            )
        return depth * depth.new_tensor(focal).view(-1, 1, 1, 1) / self.reference_focal
