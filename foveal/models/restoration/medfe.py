"""MEDFE: inpainting by a mutual encoder-decoder with feature equalisations (Liu et al., ECCV 2020, arXiv:2007.06929).

[N, 4, H, W], an RGB image in [0, 1] and a mask of holes, to [N, 3, H, W]. Official code, whose key names these are
below ``netEN``, ``netMEDFE`` and ``netDE``: https://github.com/KumapowerLIU/Rethinking-Inpainting-MEDFE. It keeps the
three networks in three files; one that this class loads is made by

    parts = {"netEN": "EN.pkl", "netDE": "DE.pkl", "netMEDFE": "MEDEF.pkl"}
    files = {name: foveal.load_checkpoint(path) for name, path in parts.items()}
    torch.save({f"{name}.{key}": value for name, file in files.items() for key, value in file.items()}, "medfe.pth")

What the holes are on the features, is taken from the first published version; a later edit of it never marks a hole.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.errors import DataError
from foveal.models.restoration.image import check_image
from foveal.registry import MODELS

# what holes are filled with, of 255
FILL = (123.0, 104.0, 117.0)
# of the Gaussian by which features are equalised in space, in pixels of the features
SIGMA = 1.5
# the features to be filled have an eighth of the image's size
STRIDE = 8
DEPTH = 6


class ResnetBlock(nn.Module):
    """Two convolutions with instance norm, the first dilated, added to their input."""

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(dilation),
            nn.Conv2d(dim, dim, 3, dilation=dilation, bias=False),
            nn.InstanceNorm2d(dim),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(dim, dim, 3, bias=False),
            nn.InstanceNorm2d(dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return x + self.conv_block(x)


class Stage(nn.Module):
    """The layers of one stage of encoder or decoder."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C', H/2, W/2] or [N, C', 2H, 2W]."""
        return self.model(x)


class Encoder(nn.Module):
    """Six convolutions with stride 2, and residual blocks on the smallest map.

    Args:
        ngf: Channels of the first map; those of the last three are 8 times as many.
        res_num: Residual blocks.
    """

    def __init__(self, ngf: int, res_num: int) -> None:
        super().__init__()
        self.middle = nn.Sequential(*(ResnetBlock(8 * ngf, 2) for _ in range(res_num)))
        dims = [4, *_dims(ngf)]
        for i in range(DEPTH):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if i else []
            layers.append(nn.Conv2d(dims[i], dims[i + 1], 4, 2, 1))
            if 0 < i < DEPTH - 1:
                layers.append(nn.InstanceNorm2d(dims[i + 1], affine=True))
            self.add_module(f"Encoder_{i + 1}", Stage(*layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the six maps of [N, 4, H, W], the largest first."""
        feats = []
        for i in range(DEPTH):
            x = getattr(self, f"Encoder_{i + 1}")(x)
            feats.append(x)
        # the official activations work in place: what leaves the encoder has passed the next stage's
        return [*(F.leaky_relu(feat, 0.2) for feat in feats[:-1]), self.middle(feats[-1])]


class Decoder(nn.Module):
    """Six transposed convolutions; each but the first also reads the encoder's map of its size.

    Args:
        ngf: As `Encoder`.
    """

    def __init__(self, ngf: int) -> None:
        super().__init__()
        dims = [*_dims(ngf)[::-1], 3]
        for i in range(DEPTH):
            conv = nn.ConvTranspose2d(dims[i] * (2 if i else 1), dims[i + 1], 4, 2, 1)
            last = nn.Tanh() if i == DEPTH - 1 else nn.InstanceNorm2d(dims[i + 1], affine=True)
            self.add_module(f"Decoder_{i + 1}", Stage(nn.ReLU(), conv, last))

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return the image [N, 3, H, W] in [-1, 1] of the six maps, the largest first."""
        x = feats[-1]
        for i in range(DEPTH):
            x = getattr(self, f"Decoder_{i + 1}")(torch.cat([x, feats[-1 - i]], 1) if i else x)
        return x


class ConvDown(nn.Module):
    """Convolutions, each with instance norm and leaky ReLU; without the last ReLU where ``activ`` is False."""

    def __init__(self, dims: Sequence[int], kernel: int, activ: bool = True) -> None:
        super().__init__()
        stride = 1 if kernel == 1 else 2
        layers: list[nn.Module] = []
        for before, after in pairwise(dims):
            layers.append(nn.Conv2d(before, after, kernel, stride, 0 if kernel == 1 else 1, bias=False))
            layers += [nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*layers[: None if activ else -1])

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C', H', W']."""
        return self.model(x)


class ConvUp(nn.Module):
    """Bilinear resizing and a 1x1 convolution with instance norm and leaky ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 1, bias=False)
        self.bn = nn.InstanceNorm2d(after)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Map [N, C, H, W] to [N, C', *size]."""
        return F.leaky_relu(self.bn(self.conv(F.interpolate(x, list(size), mode="bilinear"))), 0.2)


class PartialConv(nn.Module):
    """A convolution over known places only, weighed by how many there are (Liu et al., ECCV 2018, arXiv:1804.07723)."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.input_conv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, bias=False)
        self.mask_conv = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, bias=False)
        nn.init.ones_(self.mask_conv.weight)
        self.mask_conv.requires_grad_(False)

    def forward(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map, 0 where nothing is known, and what is known now; both [N, C, H, W]."""
        count = self.mask_conv(known)
        unknown = count == 0
        y = self.input_conv(x * known) / count.masked_fill(unknown, 1.0)
        return y.masked_fill(unknown, 0.0), (~unknown).to(x.dtype)


class PCBActiv(nn.Module):
    """`PartialConv` with instance norm and leaky ReLU."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.conv = PartialConv(dim, kernel)
        self.bn = nn.InstanceNorm2d(dim, affine=True)

    def forward(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """As `PartialConv`."""
        x, known = self.conv(x, known)
        return F.leaky_relu(self.bn(x), 0.2), known


class SELayer(nn.Module):
    """Scale every channel by what two layers make of the channels' means."""

    def __init__(self, dim: int, reduction: int = 16) -> None:
        super().__init__()
        inner = dim // reduction
        self.fc = nn.Sequential(nn.Conv2d(dim, inner, 1), nn.ReLU(), nn.Conv2d(inner, dim, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        return x * self.fc(x.mean((-2, -1), keepdim=True))


class Equalization(nn.Module):
    """Equalise features over channels, over space by a Gaussian, and over a neighbourhood by how alike it is.

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.model = nn.Sequential(SELayer(dim))
        self.down = nn.Sequential(nn.Conv2d(2 * dim, dim, 1, bias=False), nn.InstanceNorm2d(dim), nn.LeakyReLU(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        x = self.model(x)
        n, dim, height, width = x.shape
        rows, columns = _gaussian(height, x), _gaussian(width, x)
        blurred = (rows @ x @ columns.T).flatten(2).transpose(1, 2)  # (N, H W, C)
        gate = x.sigmoid()
        around = F.unfold(gate, 3, padding=1).view(n, dim, 9, -1)
        alike = (around * gate.flatten(2).unsqueeze(2)).mean(1).softmax(1)  # (N, 9, H W)
        mixed = torch.einsum("ncpl,npl->nlc", F.unfold(x, 3, padding=1).view(n, dim, 9, -1), alike)
        # the official code reads pixels by channels as channels by pixels here; released weights have learnt with it
        return self.down(torch.cat([y.reshape(n, dim, height, width) for y in (blurred, mixed)], 1))


def _gaussian(size: int, like: Tensor) -> Tensor:
    """Weights [size, size] by which each place reads all, summing to 1."""
    place = torch.arange(size, dtype=like.dtype, device=like.device)
    return (-((place[:, None] - place) ** 2) / (2 * SIGMA**2)).softmax(1)


class PCconv(nn.Module):
    """Fill texture and structure features, equalise them together and add them to every map of the encoder.

    Args:
        ngf: As `Encoder`.
    """

    def __init__(self, ngf: int) -> None:
        super().__init__()
        mid, top = 4 * ngf, 8 * ngf
        self.down_128 = ConvDown((ngf, 2 * ngf, mid), 4)
        self.down_64 = ConvDown((2 * ngf, mid), 4)
        self.down_32 = ConvDown((mid, mid), 1)
        self.down_16 = ConvDown((top, top), 4, activ=False)
        self.down_8 = ConvDown((top,) * 3, 4, activ=False)
        self.down_4 = ConvDown((top,) * 4, 4, activ=False)
        self.down = ConvDown((3 * mid, mid), 1)
        self.fuse = ConvDown((top, top), 1)
        self.up = ConvUp(top, mid)
        self.up_128, self.up_64, self.up_32 = ConvUp(top, ngf), ConvUp(top, 2 * ngf), ConvUp(top, mid)
        self.base = Equalization(top)
        for kernel in (3, 5, 7):
            self.add_module(f"cov_{kernel}", nn.ModuleList(PCBActiv(mid, kernel) for _ in range(5)))

    def forward(self, feats: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
        """Return the six maps, filled.

        Args:
            feats: Of the encoder, the largest first.
            mask: Holes [N, 1, H/8, W/8], 1 or 0.
        """
        size = feats[2].shape[-2:]
        active = [F.leaky_relu(feat, 0.2) for feat in feats]
        texture = torch.cat([self.down_128(active[0]), self.down_64(active[1]), self.down_32(active[2])], 1)
        structure = torch.cat([self.up(feat, size) for feat in active[3:]], 1)
        known = (1 - mask).expand_as(feats[2])
        filled = [self._fill(self.down(x), known) for x in (structure, texture)]
        x = self.base(self.fuse(torch.cat(filled, 1)))
        large = [up(x, feat.shape[-2:]) for up, feat in zip((self.up_128, self.up_64, self.up_32), feats, strict=False)]
        small = [down(x) for down in (self.down_16, self.down_8, self.down_4)]
        return [y + feat for y, feat in zip(large + small, feats, strict=True)]

    def _fill(self, x: Tensor, known: Tensor) -> Tensor:
        """Partial convolutions at three sizes of the kernel, mixed."""
        results = []
        for kernel in (3, 5, 7):
            y, seen = x, known
            for block in getattr(self, f"cov_{kernel}"):
                y, seen = block(y, seen)
            results.append(y)
        return self.down(torch.cat(results, 1))


class PCblock(nn.Module):
    """`PCconv`, and the two layers that show its features as small images in the official training."""

    def __init__(self, ngf: int) -> None:
        super().__init__()
        self.pc_block = PCconv(ngf)
        down_model = nn.Sequential(nn.Conv2d(4 * ngf, 3, 1), nn.Tanh())
        # they are in the released files, and take no part in filling a hole
        self.loss = nn.ModuleList([nn.ModuleDict({"down_model": down_model.requires_grad_(False)})])

    def forward(self, feats: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
        """As `PCconv`."""
        return self.pc_block(feats, mask)


@MODELS.register_module()
class MEDFE(BaseModule):
    """MEDFE's generator as a whole network. Its discriminators and consistency losses are not part of it.

    Args:
        ngf: Channels of the largest map.
        res_num: Residual blocks on the smallest.
        keep_known: Put the pixels outside the holes back into the result, as the official test does.
        init_cfg: mmengine's initialisation.

    Shape:
        [N, 4, H, W], the fourth channel 1 in holes and 0 elsewhere, to [N, 3, H, W]; H and W are multiples of 64, at
        least 192 (the residual blocks mirror the smallest map). It was trained on 256 x 256.

    Raises:
        DataError: From ``forward``, if the image has another number of channels or a size that it cannot take.
    """

    scale = 1
    in_channels = 4

    def __init__(
        self,
        ngf: int = 64,
        res_num: int = 4,
        keep_known: bool = True,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.keep_known = keep_known
        self.netEN = Encoder(ngf, res_num)
        self.netMEDFE = PCblock(ngf)
        self.netDE = Decoder(ngf)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.weight.requires_grad:
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Fill the holes of ``x`` [N, 4, H, W]; the result [N, 3, H, W] is in [0, 1]."""
        check_image("MEDFE", x, 4)
        height, width = x.shape[-2:]
        if height % 2**DEPTH or width % 2**DEPTH or min(height, width) < 3 * 2**DEPTH:
            raise DataError(f"MEDFE takes images whose sides are multiples of 64, at least 192, got {height} x {width}")
        image, mask = x[:, :3], (x[:, 3:] > 0.5).to(x.dtype)
        fill = torch.tensor(FILL, dtype=x.dtype, device=x.device).view(1, 3, 1, 1) / 255
        masked = torch.where(mask > 0, fill, image) * 2 - 1
        feats = self.netEN(torch.cat([masked, 1 - mask], 1))
        small = F.interpolate(mask, (height // STRIDE, width // STRIDE))
        y = (self.netDE(self.netMEDFE(feats, small)) + 1) / 2
        return y * mask + image * (1 - mask) if self.keep_known else y


def _dims(ngf: int) -> list[int]:
    """Channels of the six maps, the largest map first."""
    return [ngf, 2 * ngf, 4 * ngf, 8 * ngf, 8 * ngf, 8 * ngf]
