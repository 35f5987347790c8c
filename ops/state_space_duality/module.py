"""State-space duality as a layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.ops.state_space_duality.functional import ssd_hidden_state


class Pointwise(nn.Module):
    """Linear layer without bias, kept as the convolution with kernel 1 that it is in official files.

    Args:
        in_dim: Channels that come in.
        dim: Channels that go out.
    """

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in_dim] to [..., dim]."""
        return F.linear(x, self.conv.weight.squeeze(2))


class HSMSSD(nn.Module):
    """State-space duality whose hidden states, not its positions, go through the gate and the projection.

    The mixer of EfficientViM, with the keys of its official files (arXiv:2411.15241, section 3.2;
    https://github.com/mlvlab/EfficientViM).

    Args:
        dim: C.
        state_dim: S, number of hidden states.
    """

    def __init__(self, dim: int, state_dim: int) -> None:
        super().__init__()
        self.BCdt_proj = Pointwise(dim, 3 * state_dim)
        width = 3 * state_dim
        self.dw = nn.ModuleDict({"conv": nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)})
        self.hz_proj = Pointwise(dim, 2 * dim)
        self.out_proj = Pointwise(dim, dim)
        self.A = nn.Parameter(torch.empty(state_dim).uniform_(1, 16))
        self.D = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Map [N, H * W, C] to a map [N, C, H, W] and the hidden states [N, S, C].

        Args:
            x: Pixels, row by row.
            height: H.
            width: W.
        """
        steps = self.BCdt_proj(x).transpose(1, 2).unflatten(2, (height, width))
        b, c, dt = self.dw["conv"](steps).flatten(2).chunk(3, 1)
        h, z = self.hz_proj(ssd_hidden_state(x.to(dt.dtype), dt, self.A, b)).chunk(2, 2)
        h = self.out_proj(h * (F.silu(z) + self.D))
        return (h.transpose(1, 2) @ c).unflatten(2, (height, width)), h
