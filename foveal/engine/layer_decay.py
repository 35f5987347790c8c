"""Learning rates that fall from the heads to the image, layer by layer or stage by stage of the backbone.

The rule is that of ConvNeXt's detectors and segmentors (arXiv:2201.03545, after BEiT, arXiv:2106.08254), under the name
and with the arguments of mmdet 3.x and mmseg 1.x, ``engine/optimizers/layer_decay_optimizer_constructor.py``; there it
works for ConvNeXt only.
"""

from __future__ import annotations

import re
from typing import Any, cast

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from foveal.errors import ConfigError
from foveal.registry import OPTIM_WRAPPER_CONSTRUCTORS

# stage and block, from 0; what makes the map that a stage works on is in no block
Place = tuple[int, int | None]

# Patterns of the names inside a backbone, and what to add to the number of the stage. A backbone whose names mean
# something else has a method ``stage_of(name) -> Place | None``, which is asked first; None leaves a name to these.
_NAMES = (
    (r"downsample_layers\.(?P<stage>\d+)\.", 0),  # ConvNeXt, HorNet, UniRepLKNet
    (r"stages\.(?P<stage>\d+)\.(?P<block>\d+)\.", 0),
    (r"(?:stages|levels|layers)\.(?P<stage>\d+)\.blocks\.(?P<block>\d+)\.", 0),  # Swin, NAT, DiNAT_s, EfficientViM
    (r"(?:stages|levels|layers)\.(?P<stage>\d+)\.downsample\.", 1),  # the last part of a stage begins the next
    (r"stage(?P<stage>\d+)\.(?:blocks\.(?P<block>\d+)\.)?", 0),  # CvT
    (r"(?:layer|block)(?P<stage>\d+)\.(?P<block>\d+)\.", -1),  # ResNet, TransNeXt
    (r"patch_embed(?P<stage>\d+)\.", -1),
)
_STEM = r"(?:stem|patch_embed|(?:conv|bn|gn|in|ln)1)\.|(?:cls_token|mask_token|(?:absolute_)?pos_embed)$"
_KEYS = {"decay_rate", "decay_type", "num_layers"}
_TYPES = ("layer_wise", "stage_wise")


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(
    name=[
        "LearningRateDecayOptimizerConstructor",
        "LearningRateDecayOptimizerConstructorHorNet",
        "UniRepLKNetLearningRateDecayOptimizerConstructor",
    ]
)
class LearningRateDecayOptimizerConstructor(DefaultOptimWrapperConstructor):
    """Give every layer of ``model.backbone`` its learning rate; UniRepLKNet's and HorNet's configs call it otherwise.

    The rate is ``lr * decay_rate ** (num_layers + 1 - layer)``. By ``layer_wise``, the stem is layer 0, every stage but
    the last two is one layer, the last but one is cut into layers of three blocks (HorNet: two; more where
    ``num_layers`` leaves less room), and the last is layer ``num_layers``; a downsampling is in the layer behind it. By
    ``stage_wise``, the stem and all downsampling are layer 0 and stage i, from 0, is layer i + 1. All else, such as
    heads and the norms of the backbone's outputs, is layer ``num_layers`` + 1 and learns at ``lr``.

    Biases and tensors of one dimension have no weight decay. Frozen parameters are left out.

    Args:
        optim_wrapper_cfg: ``type``, ``optimizer`` with ``lr``, and the wrapper's own arguments.
        paramwise_cfg: ``decay_rate``, above 0 and up to 1; ``num_layers``, 6 for ConvNeXt-T and 12 for the larger ones;
            ``decay_type``, ``layer_wise`` (default) or ``stage_wise``.

    Raises:
        ConfigError: If one of these is missing or not possible.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        self._check(self.paramwise_cfg)
        self.decay_rate: float = self.paramwise_cfg["decay_rate"]
        self.decay_type: str = self.paramwise_cfg.get("decay_type", "layer_wise")
        self.num_layers: int = self.paramwise_cfg["num_layers"]

    def _check(self, options: dict[str, Any]) -> None:
        where = "optim_wrapper.paramwise_cfg"
        wrong = sorted(set(options) - _KEYS)
        if wrong:
            raise ConfigError(f"{where}: layer-wise decay takes {', '.join(sorted(_KEYS))}, not {wrong[0]!r}")
        kind, rate, layers = (options.get(key) for key in ("decay_type", "decay_rate", "num_layers"))
        if kind is not None and kind not in _TYPES:
            raise ConfigError(f"{where}.decay_type must be {' or '.join(_TYPES)}, got {kind!r}")
        if not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise ConfigError(f"{where}.decay_rate must be above 0 and at most 1, got {rate!r}")
        if not isinstance(layers, int) or layers < 1:
            raise ConfigError(f"{where}.num_layers must be a number of layers, got {layers!r}")
        if self.base_lr is None:
            raise ConfigError("optim_wrapper.optimizer: layer-wise decay needs its lr")

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **kwargs: Any) -> None:
        """Append the groups of the model's parameters.

        Args:
            params: The groups, appended to: ``params``, ``lr``, ``weight_decay``, ``lr_scale`` and ``group_name``.
            module: The model.
            kwargs: Not used; mmengine's signature.

        Raises:
            ConfigError: If the model has no backbone, or one without stages that can be told by its names.
        """
        layers = self._layers(module)
        heads = self.num_layers + 1
        groups: dict[str, dict[str, Any]] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            layer = layers.get(name, heads)
            plain = parameter.ndim == 1 or name.endswith(".bias") or name in ("pos_embed", "cls_token")
            key = f"layer_{layer}_{'no_decay' if plain else 'decay'}"
            if key not in groups:
                scale = self.decay_rate ** (heads - layer)
                groups[key] = {"params": [], "lr": scale * self.base_lr, "lr_scale": scale, "group_name": key}
                if plain or self.base_wd is not None:
                    groups[key]["weight_decay"] = 0.0 if plain else self.base_wd
            groups[key]["params"].append(parameter)
        params.extend(groups.values())
        rates = sorted({group["lr"] for group in groups.values()})
        shown = ", ".join(f"{rate:.3g}" for rate in rates)
        print_log(f"{self.decay_type} learning rates from the image to the heads: {shown}", logger="current")

    def _layers(self, model: nn.Module) -> dict[str, int]:
        """The layers of the backbone's parameters, by their names in the model."""
        backbone = getattr(model, "backbone", None)
        if not isinstance(backbone, nn.Module):
            raise ConfigError(f"layer-wise decay is for models with a backbone; {type(model).__name__} has none")
        found = {name: _place(backbone, name) for name, _ in backbone.named_parameters()}
        places = {name: place for name, place in found.items() if place is not None}
        depths: dict[int, int] = {}
        for stage, block in places.values():
            if block is not None:
                depths[stage] = max(depths.get(stage, 0), block + 1)
        if not depths:
            raise ConfigError(
                f"layer-wise decay cannot tell the stages of {type(backbone).__name__} "
                f"by its parameters' names, such as {next(iter(found), 'none')!r}"
            )
        stages = max(depths) + 1
        if self.num_layers < stages:
            raise ConfigError(
                f"optim_wrapper.paramwise_cfg.num_layers must be at least {stages}, "
                f"the stages of {type(backbone).__name__}; got {self.num_layers}"
            )
        size = getattr(backbone, "blocks_per_layer", 3)
        if stages > 1:
            room = self.num_layers - stages + 1
            size = max(size, -(-depths.get(stages - 2, 0) // room))
        return {f"backbone.{name}": self._layer(place, stages, size) for name, place in places.items()}

    def _layer(self, place: Place, stages: int, size: int) -> int:
        stage, block = place
        if self.decay_type == "stage_wise":
            return 0 if block is None else stage + 1
        if place == (0, None):
            return 0
        if stage == stages - 1:
            return self.num_layers
        return stage + 1 + ((block or 0) // size if stage == stages - 2 else 0)


def _place(backbone: nn.Module, name: str) -> Place | None:
    """Where a parameter of the backbone is; None: in no stage."""
    own = getattr(backbone, "stage_of", None)
    place = cast(Place | None, own(name)) if callable(own) else None
    if place is not None:
        return place
    for pattern, shift in _NAMES:
        match = re.match(pattern, name)
        if match is not None:
            block = match.groupdict().get("block")
            return int(match["stage"]) + shift, None if block is None else int(block)
    return (0, None) if re.match(_STEM, name) else None
