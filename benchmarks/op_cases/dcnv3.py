"""DCNv3 beside torchvision's depthwise deformable convolution with a kernel of ones, which computes the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torchvision.ops import deform_conv2d

from foveal.ops import dcnv3

# groups, channels of a group, height and width: stages of InternImage-T
SHAPES = ((4, 16, 56), (8, 16, 28), (16, 16, 14))


def cases(device: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of calls, kernel 3, padding 1; the peer gets its inputs in its own layout."""
    for groups, dim, size in SHAPES:
        x = torch.randn(1, size, size, groups * dim, device=device)
        offset = torch.randn(1, size, size, groups * 18, device=device)
        weight = torch.rand(1, size, size, groups * 9, device=device)
        inputs = [t.requires_grad_() for t in (x, offset, weight)]
        theirs = [t.detach().permute(0, 3, 1, 2).contiguous().requires_grad_() for t in (x, offset, weight)]
        ones = torch.ones(groups * dim, 1, 3, 3, device=device)
        row = {"case": f"{groups} groups x {dim}, {size}x{size} k3", "peer_name": "torchvision"}

        def ours(inputs: Any = inputs, groups: int = groups) -> torch.Tensor:
            return dcnv3(*inputs, 3, 1, 1, 1, groups)

        def peer(theirs: Any = theirs, ones: Any = ones) -> torch.Tensor:
            return deform_conv2d(theirs[0], theirs[1], ones, None, 1, 1, 1, theirs[2])

        with torch.no_grad():
            yield row | {"pass": "forward", "ours": ours, "peer": peer}
        yield row | {
            "pass": "forward+backward",
            "ours": lambda: torch.autograd.grad(ours().sum(), inputs),
            "peer": lambda: torch.autograd.grad(peer().sum(), theirs),
        }
