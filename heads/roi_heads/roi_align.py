"""RoIAlign (Mask R-CNN, arXiv:1703.06870): torchvision's, or on a CPU the same sums as a sparse matrix."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torchvision.ops import roi_align

from foveal.errors import ConfigError
from foveal.ops.dispatch import transformed
from foveal.registry import MODELS

# Candidates for the matrix, about 13 bytes each; a thousand regions of 7 x 7 bins on a pyramid have two million.
MOST_FACTORS = 2**25


@MODELS.register_module()
class RoIAlign(nn.Module):
    """Features of regions by bilinear interpolation (Mask R-CNN, arXiv:1703.06870), with mmcv's arguments.

    Args:
        output_size: Height and width of a region's features; one number for both.
        spatial_scale: Pixels of the map to one of the regions' coordinates.
        sampling_ratio: Points a bin along each axis; 0: as many as pixels of the map.
        pool_mode: ``avg``, the mean of a bin's points.
        aligned: Coordinates mean the corners of pixels, not their centres.

    Raises:
        ConfigError: If ``pool_mode`` is another word.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        pool_mode: str = "avg",
        aligned: bool = True,
    ) -> None:
        super().__init__()
        if pool_mode != "avg":
            raise ConfigError(f"RoIAlign.pool_mode must be 'avg', got {pool_mode!r}")
        self.output_size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, x: Tensor, rois: Tensor) -> Tensor:
        """Return features [K, C, h, w] of regions [K, 5], with the image's number first, on maps [N, C, H, W]."""
        if is_for_a_matrix(x):
            shifted = rois[:, 1:].detach().nan_to_num() * self.spatial_scale - 0.5 * self.aligned
            sides = shifted[:, 2:] - shifted[:, :2]
            if not self.aligned:
                sides = sides.clamp(min=1)
            bins = sides / sides.new_tensor(self.output_size[::-1])
            points = torch.full_like(bins, self.sampling_ratio) if self.sampling_ratio > 0 else bins.ceil().clamp(min=1)
            # regions much larger than the map have too many points to list
            if not len(rois) or points.max() <= 2 * max(x.shape[2:]):
                columns, rows = (
                    Axis(shifted[:, i], bins[:, i], points[:, i], self.output_size[1 - i], x.shape[3 - i])
                    for i in range(2)
                )
                if rows.factors.numel() * columns.factors[:1].numel() <= MOST_FACTORS:
                    return pool(x, rois[:, 0].long(), rows, columns)
        return roi_align(x, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)


def is_for_a_matrix(x: Tensor) -> bool:
    """Whether a sparse matrix serves: torchvision's loops on a CPU run in one thread, channel by channel."""
    graph = torch.compiler.is_compiling() or torch.jit.is_tracing() or transformed()
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and not graph


class Axis:
    """What each bin reads along one axis: a window of pixels and their factors.

    A bin's mean over its grid of points, each interpolated between four pixels, is the product of a mean along y and
    one along x. Points that share a pixel are summed here, so a matrix reads less than torchvision's loops.

    Args:
        start: Where each region begins, in pixels, the middle of the first one at 0, [K].
        bins: Length of a bin in pixels, [K].
        points: Points a bin, [K], whole numbers of at least 1.
        count: Bins of a region.
        size: Pixels of the map.

    Attributes:
        pixels: [K, count, n], int64, in 0 to size - 1.
        factors: [K, count, n]; 0 where a bin reads fewer than n pixels.
    """

    def __init__(self, start: Tensor, bins: Tensor, points: Tensor, count: int, size: int) -> None:
        most = int(points.max()) if len(points) else 1
        number = torch.arange(most).to(start)
        real = number < points[:, None]
        # a region with fewer points repeats its last, with the factor 0
        step = (torch.minimum(number, points[:, None] - 1) + 0.5) * bins[:, None] / points[:, None]
        place = (start[:, None] + torch.arange(count).to(start) * bins[:, None])[:, :, None] + step[:, None]
        share = (real / points[:, None])[:, None] * ((place >= -1) & (place <= size))
        place = place.clamp(0, size - 1)
        lower = place.floor()
        upper_share = share * (place - lower)
        first = lower.long()
        base = first.amin(2, keepdim=True)
        offset = first - base
        width = int(offset.max()) + 2 if offset.numel() else 1
        factors = share.new_zeros(*share.shape[:2], width)
        factors.scatter_add_(2, offset, share - upper_share)
        factors.scatter_add_(2, offset + 1, upper_share)
        self.factors = factors
        self.pixels = (base + torch.arange(width)).clamp(max=size - 1)


def pool(x: Tensor, images: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Return the bins of regions.

    Args:
        x: Maps [N, C, H, W].
        images: Number of each region's map, int64 [K].
        rows: What bins read along y.
        columns: And along x.

    Returns:
        [K, C, h, w].
    """
    _hear_warning()
    number, channels, height, width = x.shape
    # [K, h, w, pixels along y, pixels along x]
    factors = rows.factors[:, :, None, :, None] * columns.factors[:, None, :, None, :]
    line = images[:, None, None] * height + rows.pixels
    pixels = line[:, :, None, :, None] * width + columns.pixels[:, None, :, None, :]
    used = factors != 0
    ends = used.flatten(3).sum(3).flatten().cumsum(0)
    matrix = torch.sparse_csr_tensor(
        torch.cat([ends.new_zeros(1), ends]),
        pixels[used],
        factors[used].to(x.dtype),
        (len(ends), number * height * width),
        check_invariants=False,
    )
    flat = x.permute(0, 2, 3, 1).reshape(-1, channels)
    return SparseProduct.apply(matrix, flat).view(*factors.shape[:3], channels).permute(0, 3, 1, 2)


class SparseProduct(torch.autograd.Function):
    """Product of a sparse matrix in rows and a dense one, with the gradient of the latter.

    PyTorch's own keeps the matrix for its gradient in columns, and multiplies by that several times as slowly.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, dense: Tensor) -> Tensor:
        """Return the product [M, C] of ``matrix`` [M, P] and ``dense`` [P, C]."""
        ctx.matrix = matrix
        # in half precision there is no sparse product
        with torch.autocast("cpu", enabled=False):
            return matrix @ dense

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        """Return the gradient [P, C] of ``dense`` from that of the product [M, C]."""
        by_column = ctx.matrix.to_sparse_csc()
        transposed = torch.sparse_csr_tensor(
            by_column.ccol_indices(),
            by_column.row_indices(),
            by_column.values(),
            by_column.shape[::-1],
            check_invariants=False,
        )
        with torch.autocast("cpu", enabled=False):
            return None, transposed @ grad.contiguous()


@functools.cache
def _hear_warning() -> None:
    """Let PyTorch say here, once a process, that sparse matrices in rows are in beta, where nobody is alarmed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.eye(1).to_sparse_csr()
