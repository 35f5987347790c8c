"""Mixed precision on the CPU, which mmengine's AmpOptimWrapper refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from foveal.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """Run the forward pass under bfloat16 autocast. It has float32's range, so losses need no scaling.

    Args:
        kwargs: Those of ``mmengine.optim.OptimWrapper``: ``optimizer``, ``clip_grad``, ``accumulative_counts``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast and mmengine's context of gradient accumulation."""
        with super().optim_context(model), torch.autocast("cpu", torch.bfloat16):
            yield
