"""UniRepLKNet: a universal perception large-kernel ConvNet (CVPR 2024, arXiv:2311.15599).

Features: [N, 3, H, W] to [N, C1, H/4, W/4], [N, C2, H/8, W/8], [N, C3, H/16, W/16], [N, C4, H/32, W/32], rounded up.
Official code and weights: https://github.com/AILab-CVC/UniRepLKNet. It trains with dilated branches beside each large
kernel and with batch normalisation, and runs with all of that fused into the kernels: ``deploy=True`` builds the fused
network, `UniRepLKNet.switch_to_deploy` fuses a trained one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torchvision.ops import Permute

from foveal.backbones.catalog import StateDict, register_family
from foveal.backbones.contract import (
    apply_train_mode,
    check_input,
    check_out_indices,
    drop_path_rates,
    resolve_arch,
    run,
)
from foveal.errors import CheckpointError, ConfigError
from foveal.layers import DropPath, LayerNorm2d
from foveal.ops.large_kernel_depthwise_conv2d import LargeKernelDepthwiseConv2d
from foveal.registry import MODELS


def _arch(depths: Sequence[int], width: int, period: int) -> dict[str, Any]:
    """Small kernels in the first stage; in the third, one large kernel in ``period`` blocks, the first of them."""
    third = tuple(3 if i % period else 13 for i in range(depths[2]))
    kernels = ((3,) * depths[0], (13,) * depths[1], third, (13,) * depths[3])
    return {"depths": depths, "dims": tuple(width * 2**i for i in range(4)), "kernel_sizes": kernels}


ARCHS: dict[str, dict[str, Any]] = {
    "a": _arch((2, 2, 6, 2), 40, 1),
    "f": _arch((2, 2, 6, 2), 48, 1),
    "p": _arch((2, 2, 6, 2), 64, 1),
    "n": _arch((2, 2, 8, 2), 80, 1),
    "t": _arch((3, 3, 18, 3), 80, 2),
    "s": _arch((3, 3, 27, 3), 96, 3),
    "b": _arch((3, 3, 27, 3), 128, 3),
    "l": _arch((3, 3, 27, 3), 192, 3),
    "xl": _arch((3, 3, 27, 3), 256, 3),
}

# kernel size and dilation of the branches beside a large kernel
BRANCHES = {
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
}
PLAIN_KERNELS = (3, 5)


class DilatedReparamConv(nn.Module):
    """A depthwise convolution with a large kernel and, while training, dilated ones beside it, which it can absorb.

    Args:
        channels: C.
        kernel_size: A key of ``BRANCHES``.
        deploy: One convolution with a bias in place of normalised branches.
    """

    def __init__(self, channels: int, kernel_size: int, deploy: bool) -> None:
        super().__init__()
        self.lk_origin = LargeKernelDepthwiseConv2d(channels, kernel_size, bias=deploy)
        self.origin_bn = None if deploy else nn.BatchNorm2d(channels)
        self.branches = () if deploy else BRANCHES[kernel_size]
        for size, dilation in self.branches:
            conv = LargeKernelDepthwiseConv2d(channels, size, bias=False, dilation=dilation)
            self.add_module(f"dil_conv_k{size}_{dilation}", conv)
            self.add_module(f"dil_bn_k{size}_{dilation}", nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        y = self.lk_origin(x)
        if self.origin_bn is not None:
            y = self.origin_bn(y)
        for size, dilation in self.branches:
            y = y + getattr(self, f"dil_bn_k{size}_{dilation}")(getattr(self, f"dil_conv_k{size}_{dilation}")(x))
        return y

    def merged(self) -> tuple[Tensor, Tensor]:
        """Return kernels float64 [C, 1, k, k] and biases float64 [C] that compute the sum of all branches."""
        weight, bias = fold_norm(self.lk_origin.weight, 0.0, self.origin_bn)
        middle = weight.shape[-1] // 2
        for size, dilation in self.branches:
            conv, norm = getattr(self, f"dil_conv_k{size}_{dilation}"), getattr(self, f"dil_bn_k{size}_{dilation}")
            branch, shift = fold_norm(conv.weight, 0.0, norm)
            reach = dilation * (size // 2)
            taps = slice(middle - reach, middle + reach + 1, dilation)
            weight[:, :, taps, taps] += branch
            bias = bias + shift
        return weight, bias


def fold_norm(weight: Tensor, bias: Tensor | float, norm: Any) -> tuple[Tensor, Tensor]:
    """Return the float64 weights [C, …] and biases [C] of a layer followed by batch normalisation in eval mode."""
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.double() + (bias - norm.running_mean.double()) * scale
    return weight.double() * scale.view(-1, *(1,) * (weight.ndim - 1)), shift


class SqueezeExcite(nn.Module):
    """Weigh channels by what a small network makes of their means (arXiv:1709.01507).

    Args:
        channels: C; a quarter of it inside.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels // 4, 1)
        self.up = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return x * self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))).sigmoid()


class GlobalResponseNorm(nn.Module):
    """Weigh channels by the norm of each over the image, relative to the mean of all (arXiv:2301.00808).

    Args:
        channels: C.
        bias: Add a learnt number to every channel.
    """

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, H, W, C] to the same shape."""
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        scale = self.gamma * (norm / (norm.mean(-1, keepdim=True) + 1e-6)) + 1
        return scale * x if self.beta is None else torch.addcmul(self.beta, scale, x)


class Block(nn.Module):
    """Depthwise convolution, squeeze and excitation, and a pointwise MLP of four times the width, on a residual path.

    Args:
        dim: C.
        kernel_size: One of ``PLAIN_KERNELS`` or of ``BRANCHES``.
        drop_path: Probability of dropping the branch.
        layer_scale_init_value: Initial value of the branch's scale ``gamma``; 0: no scale.
        deploy: The fused form, without batch normalisation and scale.
    """

    def __init__(
        self, dim: int, kernel_size: int, drop_path: float, layer_scale_init_value: float, deploy: bool
    ) -> None:
        super().__init__()
        self.dim, self.kernel_size, self.deploy = dim, kernel_size, deploy
        self.dwconv: Any = (
            LargeKernelDepthwiseConv2d(dim, kernel_size, bias=deploy)
            if kernel_size in PLAIN_KERNELS
            else DilatedReparamConv(dim, kernel_size, deploy)
        )
        self.norm = nn.Identity() if deploy else nn.BatchNorm2d(dim)
        self.se = SqueezeExcite(dim)
        self.pwconv1 = nn.Sequential(Permute([0, 2, 3, 1]), nn.Linear(dim, 4 * dim))
        self.act: Any = nn.Sequential(nn.GELU(), GlobalResponseNorm(4 * dim, bias=not deploy))
        self.pwconv2: Any = nn.Sequential(nn.Linear(4 * dim, dim, bias=deploy), Permute([0, 3, 1, 2]))
        if not deploy:
            self.pwconv2.append(nn.BatchNorm2d(dim))
        scaled = layer_scale_init_value > 0 and not deploy
        self.gamma = nn.Parameter(torch.full((dim,), layer_scale_init_value)) if scaled else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        y = self.se(self.norm(self.dwconv(x)))
        y = self.pwconv2(self.act(self.pwconv1(y)))
        if self.gamma is not None:
            y = self.gamma[:, None, None] * y
        return x + self.drop_path(y)

    @torch.no_grad()
    def fused(self) -> Block:
        """Return a block of the fused form that computes what this one computes in eval mode."""
        weight, bias = (self.dwconv.weight, 0.0) if self.kernel_size in PLAIN_KERNELS else self.dwconv.merged()
        kernel, shift = fold_norm(weight, bias, self.norm)
        linear, gamma = self.pwconv2[0], 1.0 if self.gamma is None else self.gamma.double()
        # a number added before the linear layer is another number after it
        inner = linear.weight.double() @ self.act[1].beta.double().flatten()
        outer, offset = fold_norm(linear.weight, inner, self.pwconv2[2])
        outer = outer if self.gamma is None else outer * self.gamma.double()[:, None]

        block = Block(self.dim, self.kernel_size, self.drop_path.drop_prob, 0.0, deploy=True).to(linear.weight)
        conv = getattr(block.dwconv, "lk_origin", block.dwconv)
        conv.weight.copy_(kernel)
        conv.bias.copy_(shift)
        block.pwconv2[0].weight.copy_(outer)
        block.pwconv2[0].bias.copy_(offset * gamma)
        block.act[1].gamma.copy_(self.act[1].gamma)
        block.se, block.pwconv1 = self.se, self.pwconv1
        return block


@MODELS.register_module()
class UniRepLKNet(BaseModule):
    """UniRepLKNet as a backbone, with the official dense-prediction code's norms on its outputs.

    Args:
        arch: A name in ``ARCHS``, or ``dict(depths=…, dims=…, kernel_sizes=…)`` with four numbers each and a kernel
            size for every block: 3 or 5, or an odd number from 7 to 17.
        in_channels: Channels of the images.
        out_indices: Stages whose maps are returned, rising, 0 to 3.
        deploy: Build the fused form, which reads files of that form. It computes the same as the training form it was
            fused from in eval mode.
        drop_path_rate: Of the last block; the blocks before it have less, evenly.
        layer_scale_init_value: Of the blocks' scales; 0: no scales.
        output_norm: LayerNorm on every map that is returned. The classification trunk has none.
        frozen_stages: -1 none, 0 the stem, n the stem and the first n stages: no gradient, eval mode.
        norm_eval: Batch normalisation uses and keeps its running statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; the default is the official truncated normal.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there, or the kernel sizes do
            not fit the depths.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "t",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        deploy: bool = False,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        output_norm: bool = True,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg or {"type": "TruncNormal", "layer": ["Conv2d", "Linear"], "std": 0.02, "bias": 0.0})
        numbers = resolve_arch(arch, ARCHS, "UniRepLKNet")
        depths, dims, kernel_sizes = (numbers[key] for key in ("depths", "dims", "kernel_sizes"))
        _check_kernels(kernel_sizes, depths)
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, len(dims), "UniRepLKNet")
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(4 * 2**i for i in self.out_indices)
        self.deploy = deploy
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        stem = nn.Sequential(
            *(nn.Conv2d(in_channels, dims[0] // 2, 3, stride=2, padding=1), LayerNorm2d(dims[0] // 2), nn.GELU()),
            *(nn.Conv2d(dims[0] // 2, dims[0], 3, stride=2, padding=1), LayerNorm2d(dims[0])),
        )
        between = [nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), LayerNorm2d(b)) for a, b in pairwise(dims)]
        self.downsample_layers = nn.ModuleList([stem, *between])
        self.stages: Any = nn.ModuleList(
            nn.Sequential(
                *(Block(dim, k, rate, layer_scale_init_value, deploy) for k, rate in zip(kernels, rates, strict=True))
            )
            for dim, kernels, rates in zip(dims, kernel_sizes, drop_path_rates(drop_path_rate, depths), strict=True)
        )
        for i in self.out_indices if output_norm else ():
            self.add_module(f"norm{i}", LayerNorm2d(dims[i]))
        self.output_norm = output_norm
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to the maps at ``out_indices``; odd sizes are rounded up at every stride."""
        check_input(x, self.in_channels, "UniRepLKNet")
        maps = []
        for i in range(self.out_indices[-1] + 1):
            x = self.downsample_layers[i](x)
            for block in self.stages[i].children():
                x = run(block, x, self.with_cp)
            if i in self.out_indices:
                maps.append(getattr(self, f"norm{i}")(x) if self.output_norm else x)
        return tuple(maps)

    def switch_to_deploy(self) -> None:
        """Fuse branches, batch normalisation and scales into the kernels, in place; once fused, do nothing.

        Maps are those of the training form in eval mode, to within rounding. The fused form is for inference: it has
        no batch normalisation left to train with.
        """
        if self.deploy:
            return
        for stage in self.stages:
            for name, block in list(stage.named_children()):
                stage.add_module(name, block.fused())
        self.deploy = True
        self.train(self.training)

    def train(self, mode: bool = True) -> UniRepLKNet:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        layers = self.downsample_layers
        parts = [[layers[0]], *([layers[i], self.stages[i]] if i else [self.stages[0]] for i in range(len(layers)))]
        apply_train_mode(self, parts, self.frozen_stages, self.norm_eval, mode)
        return self


def _check_kernels(kernel_sizes: Sequence[Sequence[int]], depths: Sequence[int]) -> None:
    """Refuse kernel sizes that are not one for each block, or that there are no branches for."""
    found = [len(sizes) for sizes in kernel_sizes]
    if found != list(depths):
        raise ConfigError(f"UniRepLKNet needs a kernel size for every block: depths are {list(depths)}, got {found}")
    known = {*PLAIN_KERNELS, *BRANCHES}
    wrong = sorted({size for sizes in kernel_sizes for size in sizes} - known)
    if wrong:
        raise ConfigError(f"UniRepLKNet's kernel sizes are {', '.join(map(str, sorted(known)))}; got {wrong}")


def convert_state_dict(official: StateDict, wanted: StateDict) -> StateDict:
    """Return the state dict as it is; say what to do where one form's file meets the other form's network."""
    trained, fused = ".pwconv2.2.running_var", ".pwconv2.0.bias"

    def has(state: StateDict, ending: str) -> bool:
        return any(key.endswith(ending) for key in state)

    if has(official, trained) and has(wanted, fused):
        raise CheckpointError(
            "the checkpoint holds UniRepLKNet's training form, and deploy=True builds the fused form: "
            "leave deploy out, load the file, then call switch_to_deploy()"
        )
    if has(official, fused) and has(wanted, trained):
        raise CheckpointError("the checkpoint holds UniRepLKNet's fused form: build the network with deploy=True")
    return official


register_family(
    UniRepLKNet,
    {f"unireplknet_{arch}": {"arch": arch} for arch in ARCHS},
    trunk={"output_norm": False, "out_indices": (3,)},
    head={"type": "ClsHead", "tail": {"type": "ConvNeXtTail"}},
    tail_keys=r"(norm|head)\.",
    output_keys=r"norm\d\.",
    convert=convert_state_dict,
)
