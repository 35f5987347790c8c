"""Sines and cosines of positions (Attention is all you need, arXiv:1706.03762; DETR, arXiv:2005.12872)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sine(x: Tensor, num_feats: int, temperature: float = 10000) -> Tensor:
    """Return sines and cosines of numbers, one after the other, at falling frequencies.

    Args:
        x: [...].
        num_feats: Results a number, even.
        temperature: Ratio of the largest to the smallest frequency, nearly.

    Returns:
        [..., num_feats].
    """
    exponents = torch.arange(0, num_feats, 2, dtype=x.dtype, device=x.device) / num_feats
    angles = x[..., None] / temperature**exponents
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def coordinate_to_encoding(coords: Tensor, num_feats: int = 128, temperature: float = 10000) -> Tensor:
    """Encode places in an image, as mmdet's function of this name.

    Args:
        coords: [..., 2 or 4], x, y (, w, h) as shares of the image.
        num_feats: Results a coordinate.
        temperature: As for `sine`.

    Returns:
        [..., 2 or 4 times num_feats], in the order y, x (, w, h).
    """
    order = [1, 0, 2, 3][: coords.shape[-1]]
    return sine(coords[..., order] * (2 * math.pi), num_feats, temperature).flatten(-2)


class SinePositionalEncoding(nn.Module):
    """Encode the row and the column of each pixel, as mmdet's class of this name.

    Args:
        num_feats: Channels for each of row and column.
        temperature: As for `sine`.
        normalize: Positions are shares of the image's valid part, times ``scale``; otherwise pixels.
        scale: See there.
        eps: Keeps the division from zero.
        offset: Added to the pixels before they are normalised.
    """

    def __init__(
        self,
        num_feats: int,
        temperature: float = 10000,
        normalize: bool = False,
        scale: float = 2 * math.pi,
        eps: float = 1e-6,
        offset: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_feats = num_feats
        self.temperature = temperature
        self.normalize = normalize
        self.scale = scale
        self.eps = eps
        self.offset = offset

    def forward(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """Return [N, 2 * num_feats, H, W].

        Args:
            mask: Bool [N, H, W], True where padding.
            dtype: Of the result.
        """
        # half precision could not count the pixels of a large image
        count = torch.promote_types(dtype, torch.float32)
        parts = []
        for axis in (1, 2):
            place = (~mask).cumsum(axis).to(count)
            if self.normalize:
                last = place.narrow(axis, place.shape[axis] - 1, 1)
                place = (place + self.offset) / (last + self.eps) * self.scale
            parts.append(sine(place, self.num_feats, self.temperature))
        return torch.cat(parts, dim=-1).permute(0, 3, 1, 2).to(dtype)
