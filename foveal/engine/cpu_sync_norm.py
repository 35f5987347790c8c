"""SyncBN for processes on CPUs: torch's is for GPUs only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Sum(torch.autograd.Function):
    """The sum over all processes, whose losses are summed, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Sum.forward(ctx, grad)


class CpuSyncBatchNorm(_BatchNorm):
    """What ``torch.nn.SyncBatchNorm`` computes, in operations that any device has.

    No subclass of it, since ``DistributedDataParallel`` refuses that on a CPU.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by mean and variance over the batches of all processes.

        Args:
            input: (N, C, …), with the same C on all processes.

        Returns:
            The same shape and dtype; statistics are float32.
        """
        if not self.training:
            return super().forward(input)
        across = [0, *range(2, input.dim())]
        channels = (1, -1, *(1 for _ in across[1:]))
        x = input.float()
        # processes may have images of other sizes; squares of differences, since a difference of squares is inexact
        total = _Sum.apply(torch.cat((x.sum(across), x.new_tensor([x.numel() / x.shape[1]]))))
        count = total[-1].detach()
        mean = total[:-1] / count
        x = x - mean.view(channels)
        variance = _Sum.apply(x.square().sum(across)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        x = x * (variance + self.eps).rsqrt().view(channels)
        if self.affine:
            x = x * self.weight.view(channels) + self.bias.view(channels)
        return x.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)

    def _check_input_dim(self, input: Tensor) -> None:
        """As torch's SyncBN, for any number of dimensions."""


def synchronise_on_cpus(model: nn.Module) -> None:
    """Make every SyncBN of a model one that runs on a CPU; weights, frozen or not, and state-dict keys stay."""
    for module in model.modules():
        if isinstance(module, nn.SyncBatchNorm):
            # what both keep is the same, and hooks and places that share the module stay
            module.__class__ = CpuSyncBatchNorm  # type: ignore[assignment]
