"""Large-kernel depthwise convolution beside PyTorch's, in both memory formats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from foveal.ops import large_kernel_depthwise_conv2d

CHANNELS, SIZES, KERNELS = (96, 192, 384), (56, 28, 14), (7, 13, 31)


def cases(device: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of calls: ours contiguous, the peer contiguous and channels_last."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    for channels in CHANNELS:
        for size in SIZES:
            for kernel in KERNELS:
                x = torch.randn(1, channels, size, size, device=device, dtype=dtype).requires_grad_()
                weight = torch.randn(channels, 1, kernel, kernel, device=device, dtype=dtype).requires_grad_()
                for layout in (torch.contiguous_format, torch.channels_last):
                    other = x.detach().to(memory_format=layout).requires_grad_()
                    row = {
                        "case": f"C{channels} H{size} k{kernel}",
                        "peer_name": f"conv2d {str(layout).removeprefix('torch.')}",
                    }

                    def ours() -> torch.Tensor:
                        return large_kernel_depthwise_conv2d(x, weight)

                    def peer() -> torch.Tensor:
                        return F.conv2d(other, weight, None, 1, kernel // 2, 1, channels)

                    moved, flops = (2 * x.numel() + weight.numel()) * x.element_size(), 2 * x.numel() * kernel**2
                    with torch.no_grad():
                        yield {**row, "pass": "forward", "ours": ours, "peer": peer, "bytes": moved, "flops": flops}
                    yield {
                        **row,
                        "pass": "forward+backward",
                        "ours": lambda: torch.autograd.grad(ours().sum(), (x, weight)),
                        "peer": lambda: torch.autograd.grad(peer().sum(), (other, weight)),
                        "bytes": 3 * moved,
                        "flops": 3 * flops,
                    }
