"""CFSR: super-resolution by large convolutions that stand for attention (IEEE TIP 2024, arXiv:2401.05633).

[N, 3, H, W] in [0, 1] to [N, 3, H * s, W * s]. Official code and weights: https://github.com/Aitical/CFSR, whose key
names these are. Its feed-forward network learns with fixed edge filters beside a 3x3 kernel and runs with all of them
merged into it; the released files hold the merged form, ``deploy=True``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.layers import LayerNorm2d, explain_scale
from foveal.models.restoration.image import RGB_MEAN, check_image
from foveal.ops.large_kernel_depthwise_conv2d import LargeKernelDepthwiseConv2d
from foveal.registry import MODELS

# as the official code has them: the first rows of the horizontal Sobel filter and of the Laplacian, which would be
# (1, 0, -1) and (0, 1, 0), are shifted
EDGE_FILTERS = {
    "sobel_x": ((0, 1, -1), (2, 0, -2), (1, 0, -1)),
    "sobel_y": ((1, 2, 1), (0, 0, 0), (-1, -2, -1)),
    "laplacian": ((1, 0, 0), (1, -4, 1), (0, 1, 0)),
}


class EdgePreservingMLP(nn.Module):
    """A feed-forward network with a depthwise 3x3 convolution inside and, while training, edge filters beside that.

    Args:
        dim: C.
        hidden: Channels inside.
        deploy: The convolution alone, which has absorbed the filters.
    """

    def __init__(self, dim: int, hidden: int, deploy: bool) -> None:
        super().__init__()
        self.deploy = deploy
        if not deploy:
            for name, taps in EDGE_FILTERS.items():
                mask = torch.tensor(taps, dtype=torch.get_default_dtype()).expand(hidden, 1, 3, 3).clone()
                self.register_parameter(f"scale_{name}", nn.Parameter(torch.randn(hidden, 1, 1, 1) * 1e-3))
                self.register_parameter(f"{name}_bias", nn.Parameter(torch.randn(hidden) * 1e-3))
                self.register_parameter(f"mask_{name}", nn.Parameter(mask, requires_grad=False))
        self.norm = LayerNorm2d(dim)
        self.fc1 = nn.Conv2d(dim, hidden, 1)
        self.pos = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        x = F.gelu(self.fc1(self.norm(x)))
        weight, bias = self.merged()
        return self.fc2(x + F.gelu(F.conv2d(x, weight, bias, padding=1, groups=len(weight))))

    def merged(self) -> tuple[Tensor, Tensor]:
        """Return the kernels [hidden, 1, 3, 3] and biases [hidden] that compute the sum of all branches."""
        weight: Any = self.pos.weight
        bias: Any = self.pos.bias
        for name in () if self.deploy else EDGE_FILTERS:
            weight = weight + getattr(self, f"scale_{name}") * getattr(self, f"mask_{name}")
            bias = bias + getattr(self, f"{name}_bias")
        return weight, bias

    def switch_to_deploy(self) -> None:
        """Absorb the filters, in place."""
        weight, bias = self.merged()
        self.pos.weight, self.pos.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
        for name in () if self.deploy else EDGE_FILTERS:
            for key in (f"scale_{name}", f"mask_{name}", f"{name}_bias"):
                delattr(self, key)
        self.deploy = True


class ConvMod(nn.Module):
    """Weigh values by what a large depthwise convolution makes of the neighbourhood.

    Args:
        dim: C.
        kernel_size: Of the depthwise convolution, odd.
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(dim)
        large = nn.Sequential(OrderedDict(lkb_reparam=LargeKernelDepthwiseConv2d(dim, kernel_size)))
        self.a = nn.Sequential(nn.Conv2d(dim, dim, 1), nn.GELU(), large)
        self.v = nn.Conv2d(dim, dim, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        x = self.norm(x)
        return self.proj(self.a(x) * self.v(x))


class Block(nn.Module):
    """`ConvMod`, then `EdgePreservingMLP`, each scaled by channel and added to its input."""

    def __init__(self, dim: int, kernel_size: int, hidden: int, deploy: bool) -> None:
        super().__init__()
        self.layer_scale_1 = nn.Parameter(torch.full((dim,), 1e-6))
        self.layer_scale_2 = nn.Parameter(torch.full((dim,), 1e-6))
        self.attn = ConvMod(dim, kernel_size)
        self.mlp = EdgePreservingMLP(dim, hidden, deploy)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        x = x + self.layer_scale_1[:, None, None] * self.attn(x)
        return x + self.layer_scale_2[:, None, None] * self.mlp(x)


class Layer(nn.Module):
    """Blocks and a 1x1 convolution, whose output is added to its input."""

    def __init__(self, blocks: Sequence[Block], dim: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.conv = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        for block in self.blocks:
            x = block(x)
        return self.conv(x) + x


@MODELS.register_module()
class CFSR(BaseModule):
    """CFSR as a whole network.

    Args:
        scale: s, the factor of both sides.
        in_channels: C of the image; the mean of DIV2K is taken off where it is 3.
        embed_dim: Channels inside.
        depths: Number of blocks of each layer.
        dw_size: Side of the large depthwise kernels, odd.
        mlp_ratio: Channels inside the feed-forward networks over ``embed_dim``.
        deploy: Build the merged form, which the released files hold. False: with edge filters, to be trained from
            scratch; `switch_to_deploy` merges them.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, C, H, W], any size, to [N, C, H * s, W * s].

    Raises:
        DataError: From ``forward``, if the image has another number of channels.
    """

    def __init__(
        self,
        scale: int,
        in_channels: int = 3,
        embed_dim: int = 48,
        depths: Sequence[int] = (6, 6),
        dw_size: int = 9,
        mlp_ratio: float = 2,
        deploy: bool = True,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.scale, self.in_channels, self.deploy = scale, in_channels, deploy
        mean = RGB_MEAN if in_channels == 3 else (0.0,)
        # float32 also in a float64 network, as the official code has it
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        hidden = int(embed_dim * mlp_ratio)
        self.conv_first = nn.Conv2d(in_channels, embed_dim, 3, padding=1)
        self.layers = nn.ModuleList(
            Layer([Block(embed_dim, dw_size, hidden, deploy) for _ in range(depth)], embed_dim) for depth in depths
        )
        self.norm = LayerNorm2d(embed_dim)
        self.conv_after_body = nn.Conv2d(embed_dim, embed_dim, 3, padding=1)
        self.upsample = nn.Sequential(
            nn.Conv2d(embed_dim, in_channels * scale**2, 3, padding=1), nn.PixelShuffle(scale)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge the image ``x`` [N, C, H, W] to [N, C, H * s, W * s]; the result is not clamped."""
        check_image("CFSR", x, self.in_channels)
        mean = self.mean.to(x)
        first = y = self.conv_first(x - mean)
        for layer in self.layers:
            y = layer(y)
        return self.upsample(self.conv_after_body(self.norm(y)) + first) + mean

    def switch_to_deploy(self) -> None:
        """Merge the edge filters into the kernels, in place; once merged, do nothing. Images stay the same."""
        for module in self.modules():
            if isinstance(module, EdgePreservingMLP) and not module.deploy:
                module.switch_to_deploy()
        self.deploy = True

    def explain_misfit(self, state_dict: dict[str, Tensor]) -> str | None:
        """Say why a checkpoint in the official key names does not fit: another scale, or the other form."""
        reason = explain_scale(state_dict.get("upsample.0.weight"), self.in_channels, self.scale)
        trained = any(".scale_sobel_x" in key for key in state_dict)
        if reason is None and trained == self.deploy:
            form = "training form: build the network with deploy=False" if trained else "merged form: leave deploy True"
            reason = f"it holds CFSR's {form}"
        return reason
