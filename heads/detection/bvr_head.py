"""RelationNet++: bridging visual representations (Chi et al., NeurIPS 2020, arXiv:2010.15831).

Source: ``code/models/dense_heads/bvr_head.py`` and ``code/models/utils/bvr_transformer`` of
https://github.com/microsoft/RelationNet2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, normal_init
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.detection.keypoint_head import Keypoints
from foveal.layers.state_dict import adapt
from foveal.registry import MODELS

Options = dict[str, Any]

CLS_KEYPOINTS = {"keypoint_types": ["center"], "with_relation": True}
REG_KEYPOINTS = {"keypoint_types": ["top_left_corner", "bottom_right_corner"], "with_relation": True}
BEST = {"max_keypoint_num": 20}
POSITIONS = {"base_size": [400, 400]}
SOURCES = ("input", "cls", "reg")


@MODELS.register_module()
class BVRHead(BaseModule):
    """A dense head whose features attend to key points: centres help to classify, corners to find the box.

    Arguments and keys are the official ones (``bbox_head``, ``keypoint_head``, ``cls_transformer``,
    ``reg_transformer``).

    Args:
        bbox_head_cfg: Config of a `RetinaHead`, `FCOSHead` or `ATSSHead`.
        keypoint_head_cfg: Config of a `KeypointHead`.
        cls_keypoint_cfg: ``keypoint_types`` that the classification attends to, ``with_relation``: whether it does.
        reg_keypoint_cfg: The same for the boxes.
        keypoint_pos: What the key points are found in: ``input``, ``cls`` or ``reg`` (features of the towers).
        keypoint_cfg: ``max_keypoint_num``, the best key points of each level.
        feature_selection_cfg: ``cross_level_topk``, the best of all levels, which then attend to the same ones.
        num_attn_heads: Heads of the attention.
        scale_position: Distances are in strides of the level, not of the finest one.
        scale_factor: Of that unit.
        shared_positional_encoding_outer: Classification and boxes share the encoding of distances.
        pos_cfg: ``base_size`` (w, h), the range of distances in units, and ``log_scale``, take the logarithm.
        in_channels: Channels of every feature map, for the two heads where their configs leave it out.
        train_cfg: ``bbox`` and ``keypoint``, the two heads' ``train_cfg``. None: cannot train.
        test_cfg: That of the dense head. None: cannot predict.
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: If the dense head has no towers to put the attention behind, or an option is not among these.
    """

    def __init__(
        self,
        bbox_head_cfg: Options,
        keypoint_head_cfg: Options,
        cls_keypoint_cfg: Options = CLS_KEYPOINTS,
        reg_keypoint_cfg: Options = REG_KEYPOINTS,
        keypoint_pos: str = "input",
        keypoint_cfg: Options = BEST,
        feature_selection_cfg: Options | None = None,
        num_attn_heads: int = 8,
        scale_position: bool = True,
        scale_factor: float = 1.0,
        shared_positional_encoding_outer: bool = False,
        pos_cfg: Options = POSITIONS,
        in_channels: int | None = None,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if keypoint_pos not in SOURCES:
            raise ConfigError(f"BVRHead's keypoint_pos is one of {', '.join(SOURCES)}, got {keypoint_pos!r}")
        selection = feature_selection_cfg or {}
        if selection.get("selection_method", "index") != "index":
            raise ConfigError("BVRHead reads features at the points: selection_method must be 'index'")
        given = {} if in_channels is None else {"in_channels": in_channels}
        stages = train_cfg or {}
        self.bbox_head: Any = MODELS.build(
            {**given, **bbox_head_cfg, "train_cfg": stages.get("bbox"), "test_cfg": test_cfg}
        )
        if not hasattr(self.bbox_head, "tower_feats"):
            raise ConfigError(f"BVRHead needs a head with towers; {bbox_head_cfg['type']} has none")
        self.keypoint_head: Any = MODELS.build({**given, **keypoint_head_cfg, "train_cfg": stages.get("keypoint")})
        self.num_classes = self.bbox_head.num_classes
        self.source = SOURCES.index(keypoint_pos)
        self.per_level = keypoint_cfg.get("max_keypoint_num", 20)
        self.overall = selection.get("cross_level_topk", -1)
        strides = [stride for stride, _ in self.keypoint_head.prior_generator.strides]
        self.units = [(s if scale_position else strides[0]) * scale_factor for s in strides]
        self.cls_types, self.reg_types = (
            list(cfg["keypoint_types"]) if cfg.get("with_relation", False) else []
            for cfg in (cls_keypoint_cfg, reg_keypoint_cfg)
        )
        width = self.bbox_head.cls_convs[-1].out_channels
        if self.cls_types:
            encoding = PositionalEncodingSineLearned(width, num_attn_heads, **pos_cfg)
            self.cls_transformer = KeypointTransformer(width, num_attn_heads, len(self.cls_types), encoding)
        if self.reg_types:
            if not (shared_positional_encoding_outer and self.cls_types):
                encoding = PositionalEncodingSineLearned(width, num_attn_heads, **pos_cfg)
            self.reg_transformer = KeypointTransformer(width, num_attn_heads, len(self.reg_types), encoding)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """Return the dense head's raw outputs.

        Args:
            feats: One [N, in_channels, H_l, W_l] a level.
        """
        cls_feats, reg_feats, _ = self._attended(feats)
        return self.bbox_head.outputs(cls_feats, reg_feats)

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, Any]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances`` and what the dense head needs.

        Returns:
            Those of the dense head with ``bbox_`` before their names, and of the key points with ``kpt_``.
        """
        cls_feats, reg_feats, keypoints = self._attended(feats)
        boxes = self.bbox_head.loss_from(cls_feats, reg_feats, data_samples)
        points = self.keypoint_head.loss_from(*keypoints, data_samples)
        return {f"kpt_{key}": x for key, x in points.items()} | {f"bbox_{key}": x for key, x in boxes.items()}

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement], rescale: bool = True
    ) -> list[InstanceData]:
        """Return the dense head's detections.

        Args:
            feats: As for `forward`.
            data_samples: N samples with what the dense head needs.
            rescale: Boxes in pixels of the original image, not of the network's input.
        """
        cls_feats, reg_feats, _ = self._attended(feats)
        return self.bbox_head.predict_from(cls_feats, reg_feats, data_samples, rescale)

    def _attended(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor], tuple[Any, Any]]:
        """The towers' features after the attention, and the key point head's raw outputs."""
        towers = self.bbox_head.tower_feats(feats)
        keypoints = self.keypoint_head((feats, *towers)[self.source])
        cls_feats, reg_feats = towers
        if self.cls_types:
            cls_feats = self._relate(self.cls_transformer, self.cls_types, cls_feats, keypoints)
        if self.reg_types:
            reg_feats = self._relate(self.reg_transformer, self.reg_types, reg_feats, keypoints)
        return cls_feats, reg_feats, keypoints

    def _relate(
        self, transformer: nn.Module, types: list[str], feats: list[Tensor], keypoints: tuple[Any, Any]
    ) -> list[Tensor]:
        found = [self.keypoint_head.best(kind, *keypoints, feats, self.per_level, self.overall) for kind in types]
        points = self.keypoint_head.points(feats)
        levels = zip(feats, points, self.units, zip(*found, strict=True), strict=True)
        return [transformer(x, place[:, :2], unit, keys) for x, place, unit, keys in levels]


class KeypointTransformer(nn.Module):
    """Each pixel attends to the key points; keys ``decoder.i`` and ``relative_positional_encoding``.

    Args:
        channels: C.
        num_heads: Heads of the attention.
        kinds: Kinds of key points, each with an attention of its own.
        encoding: Of the distance between pixel and key point.
    """

    def __init__(self, channels: int, num_heads: int, kinds: int, encoding: nn.Module) -> None:
        super().__init__()
        self.decoder = nn.ModuleList(nn.MultiheadAttention(channels, num_heads, batch_first=True) for _ in range(kinds))
        self.relative_positional_encoding = encoding

    def forward(self, x: Tensor, points: Tensor, unit: float, keypoints: Sequence[Keypoints]) -> Tensor:
        """Map [N, C, H, W] to the same shape.

        Args:
            x: Features.
            points: [H * W, 2], the pixels' x and y in the image.
            unit: Pixels that distances are measured in.
            keypoints: One entry for each kind.
        """
        query = x.flatten(2).transpose(1, 2)
        total = query
        for attention, keys in zip(self.decoder, keypoints, strict=True):
            distance = (keys.positions[:, None] - points[:, None]) / unit  # [N, H * W, K, 2]
            bias = self.relative_positional_encoding(distance).to(query.dtype)
            total = total + _attend(attention, query, keys.features, bias)
        return total.relu().transpose(1, 2).view_as(x)


class PositionalEncodingSineLearned(nn.Module):
    """A learnt function of the distance (x, y), linear in sines and cosines; key ``embedding_transform.0.conv``.

    Between whole distances it is interpolated, as the official code does from a picture of all of them. Since x and y
    add up, two lines serve in place of that picture.

    Args:
        embedding_dim: Sines and cosines.
        out_channels: Channels that go out.
        base_size: Width and height of the range in units; distances beyond half of it count as that.
        log_scale: Take the logarithm.
        temperature: Ratio of the longest to the shortest period.
    """

    def __init__(
        self,
        embedding_dim: int,
        out_channels: int,
        base_size: Sequence[int] = (300, 300),
        log_scale: bool = False,
        temperature: float = 1000,
    ) -> None:
        super().__init__()
        self.log_scale = log_scale
        self.base_size = (int(base_size[0]), int(base_size[1]))
        self.features = embedding_dim // 4
        self.temperature = temperature
        conv = ConvModule(embedding_dim, out_channels, 1, act_cfg=None)
        normal_init(conv.conv, std=0.01)
        self.embedding_transform = nn.Sequential(conv)
        self.register_load_state_dict_pre_hook(adapt)

    def forward(self, distance: Tensor) -> Tensor:
        """Map [N, Q, K, 2] to [N, out_channels, Q, K]."""
        conv: Any = self.embedding_transform[0]
        weights = conv.conv.weight.flatten(1).to(distance.dtype).chunk(2, dim=1)  # those of x, those of y
        total = conv.conv.bias.to(distance.dtype)
        for axis, (weight, size) in enumerate(zip(weights, self.base_size, strict=True)):
            line = self._waves(size, distance) @ weight.t()  # [size + 1, out_channels]
            last = len(line) - 1
            place = ((distance[..., axis] / (0.5 * size) + 1) * (last + 1) - 1) / 2
            place = place.clamp(0, last)
            low = place.detach().floor().clamp(max=last - 1)
            part = (place - low)[..., None]
            index = low.long()
            total = total + line[index] * (1 - part) + line[index + 1] * part
        if self.log_scale:
            total = total.clamp(min=1e-6).log()
        return total.permute(0, 3, 1, 2)

    def _waves(self, size: int, like: Tensor) -> Tensor:
        """Sines and cosines [size + 1, embedding_dim / 2] of the whole distances up to half of ``size``."""
        distance = torch.arange(-(size // 2), size // 2 + 1, device=like.device, dtype=like.dtype)
        powers = torch.arange(self.features, device=like.device, dtype=like.dtype) / self.features
        angles = distance[:, None] / self.temperature**powers
        return torch.cat((angles.sin(), angles.cos()), dim=1)

    def adapt_state_dict(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Leave out the picture of all distances that official files carry: it is made from nothing."""
        state_dict.pop(f"{prefix}base_embedding", None)


def _attend(attention: nn.Module, query: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
    """Multi-head attention [N, Q, C] with a bias [N, heads, Q, K] on the logits; ``keys`` [N, K, C] are values, too."""
    module: Any = attention
    weight_q, weight_kv = module.in_proj_weight.split((query.shape[-1], 2 * query.shape[-1]))
    bias_q, bias_kv = module.in_proj_bias.split((query.shape[-1], 2 * query.shape[-1]))
    heads = module.num_heads
    q = F.linear(query, weight_q, bias_q).unflatten(-1, (heads, -1)).transpose(1, 2)
    k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in F.linear(keys, weight_kv, bias_kv).chunk(2, dim=-1))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return module.out_proj(y.transpose(1, 2).flatten(2))
