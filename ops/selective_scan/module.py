"""Selective scans of a map as a layer."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.ops.selective_scan.functional import selective_scan

DIRECTIONS = 4


class SS2D(nn.Module):
    """Selective scans of a map by rows, by columns, and by both backwards; their sum, gated.

    VMamba's layer (arXiv:2401.10166, section 4.2) in the form and with the keys that MambaIR gives it
    (https://github.com/csguoh/MambaIR).

    Args:
        dim: C.
        d_state: States of a channel, at least 1.
        expand: Channels inside over C.
        dt_range: Between these lie the steps of a new network.

    Raises:
        ValueError: If there would be no channel or no state.
    """

    def __init__(
        self, dim: int, d_state: int = 16, expand: float = 2.0, dt_range: tuple[float, float] = (1e-3, 0.1)
    ) -> None:
        super().__init__()
        if int(expand * dim) < 1 or d_state < 1:
            raise ValueError(f"expand * dim and d_state must be at least 1, got {expand} * {dim} and {d_state}")
        inner, dt_rank = int(expand * dim), math.ceil(dim / 16)
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, dt_rank + 2 * d_state, inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, inner, dt_rank))
        nn.init.uniform_(self.x_proj_weight, -(inner**-0.5), inner**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(dt_rank**-0.5), dt_rank**-0.5)
        low, high = map(math.log, dt_range)
        steps = torch.exp(torch.rand(DIRECTIONS, inner) * (high - low) + low)
        # softplus of this is the step
        self.dt_projs_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))
        rates = torch.arange(1, d_state + 1, dtype=torch.get_default_dtype())
        self.A_logs = nn.Parameter(rates.log().repeat(DIRECTIONS * inner, 1))
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS * inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        x, gate = self.in_proj(x).chunk(2, -1)
        y = cross_selective_scan(
            F.silu(self.conv2d(x.permute(0, 3, 1, 2))),
            self.x_proj_weight,
            self.dt_projs_weight,
            self.dt_projs_bias,
            self.A_logs,
            self.Ds,
        )
        return self.out_proj(self.out_norm(y.permute(0, 2, 3, 1)) * F.silu(gate))


def cross_selective_scan(
    x: Tensor, x_proj_weight: Tensor, dt_projs_weight: Tensor, dt_projs_bias: Tensor, A_logs: Tensor, Ds: Tensor
) -> Tensor:
    """Scan a map by rows, by columns, and by both backwards, each with steps and weights from its own projection.

    VMamba's scan (arXiv:2401.10166, section 4.2).

    Args:
        x: [N, D, H, W].
        x_proj_weight: [4, R + 2 * S, D]: to the steps' rank and to the weights in and out of S states.
        dt_projs_weight: [4, D, R].
        dt_projs_bias: [4, D].
        A_logs: [4 * D, S], logarithms of the rates of decay.
        Ds: [4 * D], weights of the map itself.

    Returns:
        [N, D, H, W], the sum of the four.
    """
    n, dim, height, width = x.shape
    rank, states = dt_projs_weight.shape[2], A_logs.shape[1]
    rows, columns = x.flatten(2), x.transpose(2, 3).flatten(2)
    paths = torch.stack([rows, columns, rows.flip(2), columns.flip(2)], 1)
    steps, b, c = (x_proj_weight @ paths).split([rank, states, states], 2)
    steps = (dt_projs_weight @ steps).flatten(1, 2)
    y = selective_scan(
        paths.flatten(1, 2), steps, -A_logs.exp(), b, c, Ds, None, dt_projs_bias.flatten(), delta_softplus=True
    )
    by_row, by_column, backwards, up = y.view(n, DIRECTIONS, dim, -1).unbind(1)
    by_column = (by_column + up.flip(2)).view(n, dim, width, height).transpose(2, 3)
    return (by_row + backwards.flip(2)).view(x.shape) + by_column
