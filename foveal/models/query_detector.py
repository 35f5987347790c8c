"""What the detectors that ask queries share: building their parts, running them, padding masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.layers.positional_encoding import SinePositionalEncoding
from foveal.models.build import Node, build_backbone_and_neck
from foveal.models.detector import check_labels
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]


def build_parts(
    backbone: Node,
    neck: Node | None,
    bbox_head: Options,
    positional_encoding: Options,
    embed_dims: int,
    **configs: Options | None,
) -> tuple[nn.Module, nn.Module | None, Any, SinePositionalEncoding]:
    """Build backbone, neck, head and positional encoding.

    Args:
        backbone: Config of the backbone.
        neck: Config of the neck; ``in_channels`` may be left out.
        bbox_head: Config of the head.
        positional_encoding: Arguments of `SinePositionalEncoding`.
        embed_dims: Channels of the queries.
        configs: ``train_cfg`` and ``test_cfg``, given to the head.

    Returns:
        The four.

    Raises:
        ConfigError: If the positional encoding does not have ``embed_dims`` channels.
    """
    encoding = SinePositionalEncoding(**positional_encoding)
    if 2 * encoding.num_feats != embed_dims:
        half = f"{embed_dims // 2}, half of embed_dims"
        raise ConfigError(f"positional_encoding.num_feats must be {half}, got {encoding.num_feats}")
    return *build_backbone_and_neck(backbone, neck), MODELS.build({**configs, **bbox_head}), encoding


def run(detector: Any, inputs: Tensor, data_samples: list[DataSample] | None, mode: str) -> Any:
    """Run a detector that has ``backbone``, ``neck``, ``bbox_head``, ``decode`` and ``loss``.

    Args:
        detector: The detector.
        inputs: [N, 3, H, W], normalised.
        data_samples: The images' samples with ``img_shape``; what lies beyond it is padding. Not needed for
            ``tensor``, where the images are then as large as ``inputs``.
        mode: ``tensor``, ``loss`` or ``predict``.

    Returns:
        The head's logits [L, N, Q, C] and boxes [L, N, Q, 4]; a dict of losses; or ``data_samples`` with
        ``pred_instances`` in pixels of the original images.

    Raises:
        ValueError: If ``mode`` is another word, or the samples are missing.
        DataError: If a label is no class of the head; names the image.
    """
    if mode not in ("tensor", "loss", "predict"):
        raise ValueError(f"mode must be tensor, loss or predict, got {mode!r}")
    if data_samples is None and mode != "tensor":
        raise ValueError(f"mode {mode!r} needs data_samples")
    if mode == "loss":
        check_labels(data_samples or [], detector.bbox_head.num_classes)
    feats = detector.backbone(inputs)
    feats = feats if detector.neck is None else detector.neck(feats)
    mask = padding_mask(inputs, data_samples)
    if mode == "loss":
        return detector.loss(feats, mask, data_samples)
    decoded = detector.decode(feats, mask)
    if mode == "tensor":
        return detector.bbox_head(*decoded)
    for sample, result in zip(data_samples or [], detector.bbox_head.predict(*decoded, data_samples), strict=True):
        sample.pred_instances = result
    return data_samples


def padding_mask(inputs: Tensor, samples: Sequence[DataSample] | None) -> Tensor | None:
    """Tell the padding of a batch: bool [N, H, W], True where padding, or None where all images fill it.

    Args:
        inputs: [N, 3, H, W].
        samples: Their samples with ``img_shape``. None: no padding.
    """
    size = tuple(inputs.shape[-2:])
    shapes = [tuple(x.get("img_shape", size)[:2]) for x in samples or ()]
    if all(shape == size for shape in shapes):
        return None
    mask = torch.ones(len(inputs), *size, dtype=torch.bool, device=inputs.device)
    for row, (height, width) in zip(mask, shapes, strict=True):
        row[:height, :width] = False
    return mask


def shrink_mask(mask: Tensor | None, x: Tensor) -> Tensor:
    """Return the padding at the size of a feature map [N, C, h, w]: bool [N, h, w], all False for None."""
    if mask is None:
        return torch.zeros(x.shape[0], *x.shape[-2:], dtype=torch.bool, device=x.device)
    return F.interpolate(mask[:, None].float(), x.shape[-2:])[:, 0].bool()
