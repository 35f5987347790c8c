"""Convolution in window order beside unfold and a matrix product, and beside PyTorch's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from foveal.ops import im2win_conv2d

# The papers' twelve layers: channels in, height and width, channels out, kernel, stride
LAYERS = (
    (3, 227, 96, 11, 4),
    (3, 231, 96, 11, 4),
    (3, 227, 64, 7, 2),
    (64, 224, 64, 7, 2),
    (96, 24, 256, 5, 1),
    (256, 12, 512, 3, 1),
    (3, 224, 64, 3, 1),
    (64, 112, 128, 3, 1),
    (64, 56, 64, 3, 1),
    (128, 28, 128, 3, 1),
    (256, 14, 256, 3, 1),
    (512, 7, 512, 3, 1),
)
BATCH = {"cpu": 8, "cuda": 128}


def unfold_conv2d(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    """Convolve by im2col and a matrix product."""
    size = (x.shape[2] - weight.shape[2]) // stride + 1
    columns = F.unfold(x, weight.shape[2], stride=stride)
    return (weight.flatten(1) @ columns).unflatten(2, (size, size))


def cases(device: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of calls: float32, TF32 off, without padding, forward."""
    torch.backends.cudnn.allow_tf32 = False
    for channels, size, out, kernel, stride in LAYERS:
        x = torch.randn(BATCH[device], channels, size, size, device=device)
        weight = torch.randn(out, channels, kernel, kernel, device=device)
        side = (size - kernel) // stride + 1
        row = {
            "case": f"{channels},{size}/{out},{kernel}/{stride}",
            "pass": "forward",
            "flops": 2 * x.shape[0] * out * side**2 * weight[0].numel(),
            "ours": lambda x=x, weight=weight, stride=stride: im2win_conv2d(x, weight, stride=stride),
            # of what is stored: a column is `kernel` rows high in window order, and a window is kernel columns wide
            "facts": {"strips_to_columns": round(size / (side * kernel), 3)},
        }
        for name, peer in (("unfold + matmul", unfold_conv2d), ("conv2d", _conv2d)):
            yield row | {"peer_name": name, "peer": lambda p=peer, x=x, w=weight, s=stride: p(x, w, s)}


def _conv2d(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    return F.conv2d(x, weight, None, stride)
