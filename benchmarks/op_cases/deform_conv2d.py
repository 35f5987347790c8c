"""Deformable convolution v2 beside torchvision's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torchvision.ops import deform_conv2d as peer

from foveal.ops import deform_conv2d

# channels in and out, height and width
SHAPES = ((64, 56), (64, 28), (256, 56), (256, 28))


def cases(device: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of calls, kernel 3, padding 1, with mask."""
    for channels, size in SHAPES:
        x = torch.randn(1, channels, size, size, device=device)
        offset, mask = torch.randn(1, 18, size, size, device=device), torch.rand(1, 9, size, size, device=device)
        weight = torch.randn(channels, channels, 3, 3, device=device) / channels
        inputs = [t.requires_grad_() for t in (x, offset, weight, mask)]
        flops = 2 * x.numel() * 9 * channels
        row = {"case": f"{channels}->{channels} {size}x{size} k3", "peer_name": "torchvision"}

        def ours(x: Any = x, offset: Any = offset, weight: Any = weight, mask: Any = mask) -> torch.Tensor:
            return deform_conv2d(x, offset, weight, None, 1, 1, 1, mask)

        def theirs(x: Any = x, offset: Any = offset, weight: Any = weight, mask: Any = mask) -> torch.Tensor:
            return peer(x, offset, weight, None, 1, 1, 1, mask)

        with torch.no_grad():
            yield row | {"pass": "forward", "ours": ours, "peer": theirs, "flops": flops}
        yield row | {
            "pass": "forward+backward",
            "ours": lambda: torch.autograd.grad(ours().sum(), inputs),
            "peer": lambda: torch.autograd.grad(theirs().sum(), inputs),
            # the columns are multiplied for the output, the weight's and the columns' gradient
            "flops": 3 * flops,
        }
