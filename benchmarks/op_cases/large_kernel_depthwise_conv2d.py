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
                x = torch.randn(1, channels, size, size, device=device, dtype=dtype)
                weight = torch.randn(channels, 1, kernel, kernel, device=device, dtype=dtype)
                for layout in (torch.contiguous_format, torch.channels_last):
                    other = x.to(memory_format=layout)
                    yield {
                        "case": f"C{channels} H{size} k{kernel}",
                        "pass": "forward",
                        "peer_name": f"conv2d {str(layout).removeprefix('torch.')}",
                        "ours": lambda: large_kernel_depthwise_conv2d(x, weight),
                        "peer": lambda: F.conv2d(other, weight, None, 1, kernel // 2, 1, channels),
                        "bytes": (2 * x.numel() + weight.numel()) * x.element_size(),
                        "flops": 2 * x.numel() * kernel**2,
                    }
