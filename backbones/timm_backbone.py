"""Any network of timm that gives feature maps, as a backbone (https://github.com/huggingface/pytorch-image-models)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from foveal.backbones.contract import check_input
from foveal.errors import ConfigError
from foveal.registry import MODELS, nearest

# networks that fix the size of their input are asked to take any, by the first of these that they know
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


@MODELS.register_module(name=["TimmBackbone", "TIMMBackbone"])
class TimmBackbone(BaseModule):
    """A timm network, built with ``features_only=True``. mmdet's name for it, TIMMBackbone, works too.

    Args:
        model_name: timm's name, ``resnet18`` or ``resnet18.a1_in1k``.
        out_indices: Levels in timm's own numbering, where many networks count a stride-2 stem as level 0. None: timm's
            choice, usually all.
        pretrained: Download timm's weights.
        in_channels: Channels of the images.
        drop_path_rate: Stochastic depth; None: the network's own.
        frozen_stages: -1 none; n: all up to and with timm's level n get no gradient and stay in eval mode.
        norm_eval: Batch normalisation keeps and uses its running statistics while training.
        with_cp: Gradient checkpointing, where the network has it.
        features_only: mmdet's configs say it; only True is possible.
        model_args: More arguments of this network in timm.
        weights: State dict of timm's full network, loaded in place of ``pretrained``.
        init_cfg: mmengine's; None: timm has initialised the network.

    Attributes:
        out_channels: Channels of each map.
        out_strides: Pixels of the image to one of each map.

    Raises:
        ConfigError: If timm has no such network, or it lacks what is asked for.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] | None = None,
        pretrained: bool = False,
        in_channels: int = 3,
        drop_path_rate: float | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        features_only: bool = True,
        model_args: Mapping[str, Any] | None = None,
        weights: Mapping[str, Tensor] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not features_only:
            raise ConfigError("TimmBackbone gives feature maps: features_only must be True")
        args = {
            "pretrained": pretrained,
            "in_chans": in_channels,
            "drop_path_rate": drop_path_rate,
            **(model_args or {}),
        }
        if out_indices is not None:
            args["out_indices"] = tuple(out_indices)
        if weights is not None:
            args.update(pretrained=True, pretrained_cfg_overlay={"state_dict": dict(weights)})
        self.model_name = model_name
        self.timm_model: Any = _build(model_name, args)
        info: Any = self.timm_model.feature_info
        self.in_channels = in_channels
        self.out_indices = tuple(info.out_indices)
        self.out_channels = tuple(info.channels())
        self.out_strides = tuple(info.reduction())
        self._nhwc = str(getattr(self.timm_model, "output_fmt", "")).rpartition(".")[2] == "NHWC"
        self.norm_eval = norm_eval
        self._frozen = _modules_up_to(self.timm_model, model_name, frozen_stages)
        for module in self._frozen:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
        if with_cp:
            _turn_checkpointing_on(self.timm_model, model_name)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map [N, in_channels, H, W] to NCHW maps, finest first."""
        check_input(x, self.in_channels, self.model_name)
        maps = self.timm_model(x)
        return tuple(y.permute(0, 3, 1, 2) if self._nhwc else y for y in maps)

    def train(self, mode: bool = True) -> TimmBackbone:
        """Switch to training mode, but for what is frozen and, with ``norm_eval``, for batch normalisation."""
        super().train(mode)
        for module in self._frozen:
            module.training = False
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def stage_of(self, name: str) -> tuple[int, int | None] | None:
        """Return the stage and block of a parameter, for layer-wise decay, and None where timm's name tells neither."""
        name = name.removeprefix("timm_model.")
        if match := re.match(r"(?:stages|layers)[._](\d+)\.(?:blocks\.)?(?:(\d+)\.)?", name):
            return int(match[1]), None if match[2] is None else int(match[2])
        if match := re.match(r"layer(\d)\.(\d+)\.", name):
            return int(match[1]) - 1, int(match[2])
        return (0, None) if re.match(r"stem|patch_embed|conv1|bn1", name) else None


def _build(name: str, args: dict[str, Any]) -> Any:
    import timm

    if not timm.is_model(name):
        near = nearest(name.partition(".")[0], timm.list_models(), 5)
        raise ConfigError(f"timm has no model {name!r}; nearest names: {', '.join(near) or 'none'}")
    problem: Exception | None = None
    for any_size in _ANY_SIZE:
        try:
            return timm.create_model(name, features_only=True, **any_size, **args)
        except TypeError as error:  # an argument that this network does not know
            problem = error
        except IndexError as error:
            raise ConfigError(f"timm's {name} lacks some of the levels {args.get('out_indices')}") from error
        except (RuntimeError, AssertionError, AttributeError) as error:
            raise ConfigError(f"timm cannot build {name!r} as a backbone: {error}") from error
    raise ConfigError(f"timm cannot build {name!r} with these arguments: {problem}") from problem


def _modules_up_to(model: Any, name: str, level: int) -> list[nn.Module]:
    """The modules that come, in the order of registration, up to the one that gives timm's feature ``level``."""
    if level < 0:
        return []
    names = [str(info["module"]) for info in model.feature_info]
    if level >= len(names):
        raise ConfigError(f"{name} has the levels 0 to {len(names) - 1}, got frozen_stages={level}")
    # a wrapper of timm's may have made one name of the first two parts (stages.0: stages_0) or put "model." before it
    wanted = {names[level], names[level].replace(".", "_"), f"model.{names[level]}"}
    modules = list(model.named_modules())[1:]
    ends = [i for i, (path, _) in enumerate(modules) if any(f"{path}.".startswith(f"{w}.") for w in wanted)]
    if not ends:
        raise ConfigError(f"cannot tell where level {level} of {name} ends: frozen_stages must be -1")
    return [module for _, module in modules[: ends[-1] + 1]]


def _turn_checkpointing_on(model: nn.Module, name: str) -> None:
    switch = getattr(model, "set_grad_checkpointing", None) or getattr(
        getattr(model, "model", None), "set_grad_checkpointing", None
    )
    if switch is None:
        raise ConfigError(f"{name} of timm has no gradient checkpointing: with_cp must be False")
    switch(True)
