"""Deformable convolution as columns and GEMMs, some rows at a time: what the taps see, then PyTorch's own product.

The image is turned so that the channels of a pixel lie together: a corner of a bilinear sample is then one stretch of
memory. A row of the columns is one pixel of the output; a chunk of rows stays in the processor's cache between being
written and being multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Bytes of a chunk of columns, measured: see benchmarks/results.
CHUNK = 4 << 20


class Kernels(NamedTuple):
    """A backend's two functions; both write into their last arguments.

    Args:
        forward: (x, offset, mask, window, first, columns): x [N, H, W, C], mask [0] if there is none, columns
            [groups, count, taps, C / groups] of the output's pixels from ``first`` on.
        backward: (d_columns, x, offset, mask, window, first, d_x, d_offset, d_mask): adds to d_x, sets the others.
    """

    forward: Callable[..., None]
    backward: Callable[..., None]


class Problem(NamedTuple):
    """The arguments as the kernels read them.

    Args:
        x: [N, H, W, C], as all of them float32 or float64, and contiguous.
        offset: [N, 2 * offset groups * taps, H', W'].
        mask: [N, offset groups * taps, H', W'], or [0].
        filters: [groups, O / groups, taps * C / groups].
        window: int64 [8]: the kernel's height and width, the stride, the padding, the dilation, on the CPU.
    """

    x: Tensor
    offset: Tensor
    mask: Tensor
    filters: Tensor
    window: Tensor

    @property
    def rows(self) -> int:
        """Pixels of the output, of all images."""
        return self.offset.shape[0] * self.offset.shape[2] * self.offset.shape[3]

    def chunks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield each chunk's first row, and memory for its columns [groups, count, taps * C / groups]."""
        groups, _, length = self.filters.shape
        step = max(64, CHUNK // (groups * length * self.x.element_size()))
        step = max(1, min(self.rows, step))
        memory = self.x.new_empty(groups * step * length)
        for first in range(0, self.rows, step):
            count = min(step, self.rows - first)
            yield first, memory[: groups * count * length].view(groups, count, length)


def forward(kernels: Kernels, problem: Problem) -> Tensor:
    """Return the output without bias, [rows, groups, O / groups]."""
    groups, outputs, _ = problem.filters.shape
    y = problem.x.new_empty(problem.rows, groups, outputs)
    for first, columns in problem.chunks():
        _read(kernels, problem, first, columns)
        for group in range(groups):
            to = y[first : first + columns.shape[1], group]
            torch.mm(columns[group], problem.filters[group].t(), out=to)
    return y


def backward(kernels: Kernels, problem: Problem, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, offset, mask and filters, shaped as in ``Problem``.

    Args:
        kernels: The backend's.
        problem: The arguments of the forward pass.
        grad: Of the output, [rows, groups, O / groups].
    """
    d_x, d_filters = torch.zeros_like(problem.x), torch.zeros_like(problem.filters)
    d_offset, d_mask = torch.empty_like(problem.offset), torch.empty_like(problem.mask)
    for first, columns in problem.chunks():
        part = grad[first : first + columns.shape[1]]
        _read(kernels, problem, first, columns)
        for group in range(columns.shape[0]):
            d_filters[group].addmm_(part[:, group].t(), columns[group])
            # the columns are not needed any more: their gradient takes their place
            torch.mm(part[:, group], problem.filters[group], out=columns[group])
        kernels.backward(_taps_apart(problem, columns), *problem[:3], problem.window, first, d_x, d_offset, d_mask)
    return d_x, d_offset, d_mask, d_filters


def _read(kernels: Kernels, problem: Problem, first: int, columns: Tensor) -> None:
    kernels.forward(*problem[:3], problem.window, first, _taps_apart(problem, columns))


def _taps_apart(problem: Problem, columns: Tensor) -> Tensor:
    return columns.unflatten(2, (-1, problem.x.shape[3] // columns.shape[0]))
