"""The encoders of BTS: torchvision's networks with the maps after the stem, too (Lee et al., 2019, arXiv:1907.10326).

Features: [N, 3, H, W] to five maps, [N, C1, H/2, W/2] to [N, C5, H/32, W/32], rounded up; the last three
of DenseNets down. Keys are those of https://github.com/cleinc/bts, ``encoder.base_model.``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torchvision
from mmengine.model import BaseModule
from torch import Tensor, nn

from foveal.backbones.contract import apply_train_mode, check_input, check_out_indices, resolve_arch, run
from foveal.layers.state_dict import take_over
from foveal.registry import MODELS

_DENSE = ("relu0", "pool0", "transition1", "transition2", "norm5")
_RES = ("relu", "layer1", "layer2", "layer3", "layer4")
# the layers whose outputs are the maps, and their channels
ARCHS: dict[str, dict[str, Any]] = {
    "densenet121": {"layers": _DENSE, "channels": (64, 64, 128, 256, 1024)},
    "densenet161": {"layers": _DENSE, "channels": (96, 96, 192, 384, 2208)},
    "resnet50": {"layers": _RES, "channels": (64, 256, 512, 1024, 2048)},
    "resnet101": {"layers": _RES, "channels": (64, 256, 512, 1024, 2048)},
    "resnext50_32x4d": {"layers": _RES, "channels": (64, 256, 512, 1024, 2048)},
    "resnext101_32x8d": {"layers": _RES, "channels": (64, 256, 512, 1024, 2048)},
    "mobilenet_v2": {"layers": ("1", "3", "6", "10", "18"), "channels": (16, 24, 32, 64, 1280)},
}


@MODELS.register_module()
class BTSEncoder(BaseModule):
    """A network of torchvision as a backbone of five maps.

    Args:
        arch: A name of torchvision's among ``ARCHS``.
        in_channels: Channels of the images; with other than 3 the first convolution starts at random.
        out_indices: Maps that are returned, rising, 0 to 4.
        frozen_stages: -1 none, n the layers up to map n: no gradient, eval mode.
        norm_eval: Batch normalisation keeps its statistics while training.
        with_cp: Compute activations again in the backward pass to save memory.
        init_cfg: mmengine's; BTS starts from ``dict(type="Pretrained", checkpoint="torchvision://densenet161")``.

    Attributes:
        out_channels: Channels of each map that is returned.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If ``arch``, ``out_indices`` or ``frozen_stages`` names what is not there.
    """

    def __init__(
        self,
        arch: str = "densenet161",
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3, 4),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        numbers = resolve_arch(arch, ARCHS, "BTSEncoder")
        network: Any = torchvision.models.get_model(arch, weights=None)
        self.base_model = network.features if hasattr(network, "features") else network
        for name in ("avgpool", "fc"):
            if hasattr(self.base_model, name):
                delattr(self.base_model, name)
        if in_channels != 3:
            _read_channels(self.base_model, in_channels)
        self.in_channels = in_channels
        self.out_indices = check_out_indices(out_indices, 5, "BTSEncoder")
        self.out_channels = tuple(numbers["channels"][i] for i in self.out_indices)
        self.out_strides = tuple(2 * 2**i for i in self.out_indices)
        self.layers = numbers["layers"]
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, 3, H, W] to the maps at ``out_indices``."""
        check_input(x, self.in_channels, "BTSEncoder")
        maps = []
        for name, layer in self.base_model.named_children():
            x = run(layer, x, self.with_cp)
            if name in self.layers and self.layers.index(name) in self.out_indices:
                maps.append(x)
            if len(maps) == len(self.out_indices):
                break
        return tuple(maps)

    def train(self, mode: bool = True) -> BTSEncoder:
        """Switch to training mode, but for what is frozen."""
        super().train(mode)
        parts: list[list[nn.Module]] = [[]]
        for name, layer in self.base_model.named_children():
            parts[-1].append(layer)
            if name in self.layers:
                parts.append([])
        apply_train_mode(self, parts[:-1], self.frozen_stages, self.norm_eval, mode)
        return self

    def adapt_state_dict(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Take the encoder out of an official network, or out of torchvision's; their classifiers have no part."""
        for theirs in ("encoder.base_model.", f"{prefix}features."):
            take_over(state_dict, theirs, f"{prefix}base_model.", _without_classifier)
        if f"{prefix}conv1.weight" in state_dict:  # torchvision's ResNets
            take_over(state_dict, prefix, f"{prefix}base_model.", _without_classifier)
        take_over(state_dict, f"{prefix}classifier.", prefix, lambda name: None)


def _without_classifier(name: str) -> str | None:
    """Our name of a layer; torchvision's files of DenseNets have the names of their first release."""
    return None if name.startswith("fc.") else re.sub(r"(denselayer\d+\.(?:norm|conv))\.", r"\1", name)


def _read_channels(network: nn.Module, channels: int) -> None:
    """Let the first convolution read ``channels``, with new weights."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.in_channels = channels
    first.weight = nn.Parameter(first.weight.new_empty(first.out_channels, channels, *first.kernel_size))
    first.reset_parameters()
