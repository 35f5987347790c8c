"""Normalisation over the channels of an NCHW map."""

import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels at every pixel, with the keys ``weight`` and ``bias`` of nn.LayerNorm.

    Args:
        num_channels: C.
        eps: Added to the variance; ConvNeXt and its kin use 1e-6.

    Shape:
        [N, C, H, W] to the same. Keeps the memory format.
    """

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__(num_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, C, H, W] over C."""
        # The permuted view of a channels_last tensor is contiguous: nothing is copied there.
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)
