"""Mask heads of the second stage (Mask R-CNN, He et al., ICCV 2017, arXiv:1703.06870)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn
from torchvision.ops import roi_align

from foveal.errors import ConfigError
from foveal.heads.detection.dense import precise
from foveal.heads.roi_heads.sampling import SampledProposals
from foveal.ops.dispatch import in_graph
from foveal.registry import MODELS

Options = dict[str, Any]

DECONV = {"type": "deconv", "scale_factor": 2}
CONV = {"type": "Conv"}
LOSS = {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0}


@MODELS.register_module()
class FCNMaskHead(BaseModule):
    """Convolutions, a step up, and a mask for each class.

    Arguments, defaults and keys (``convs.i.conv``, ``upsample``, ``conv_logits``) are those of mmdet 3.x.

    Args:
        num_convs: 3x3 convolutions before the step up.
        roi_feat_size: Not used; mmdet's signature.
        in_channels: Channels of a region's features.
        conv_kernel_size: Side of the convolutions' kernels.
        conv_out_channels: Their channels.
        num_classes: C.
        class_agnostic: One mask a region, not one for each class.
        upsample_cfg: ``type`` ``deconv``, ``nearest`` or ``bilinear``, and ``scale_factor``.
        conv_cfg: mmcv's config of the convolutions.
        norm_cfg: mmcv's config of their norms. None: none.
        predictor_cfg: Config of the last layer: a convolution.
        loss_mask: Config of the loss.
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: If the step up or the last layer is of another kind.
    """

    def __init__(
        self,
        num_convs: int = 4,
        roi_feat_size: int = 14,
        in_channels: int = 256,
        conv_kernel_size: int = 3,
        conv_out_channels: int = 256,
        num_classes: int = 80,
        class_agnostic: bool = False,
        upsample_cfg: Options = DECONV,
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = None,
        predictor_cfg: Options = CONV,
        loss_mask: Options = LOSS,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if predictor_cfg["type"] not in ("Conv", "Conv2d"):
            raise ConfigError(f"FCNMaskHead.predictor_cfg.type must be 'Conv', got {predictor_cfg['type']!r}")
        self.num_classes = num_classes
        self.class_agnostic = class_agnostic
        self.loss_mask = MODELS.build(loss_mask)
        widths = [in_channels, *(conv_out_channels for _ in range(num_convs))]
        options = {"padding": (conv_kernel_size - 1) // 2, "conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        self.convs = nn.ModuleList(ConvModule(a, b, conv_kernel_size, **options) for a, b in pairwise(widths))
        kind, factor = upsample_cfg["type"], upsample_cfg.get("scale_factor", 2)
        self.upsample: nn.Module
        if kind == "deconv":
            self.upsample = nn.ConvTranspose2d(widths[-1], conv_out_channels, factor, stride=factor)
        elif kind in ("nearest", "bilinear"):
            self.upsample = nn.Upsample(scale_factor=factor, mode=kind)
        else:
            raise ConfigError(f"FCNMaskHead.upsample_cfg.type must be deconv, nearest or bilinear, got {kind!r}")
        self.relu = nn.ReLU(inplace=True)
        width = conv_out_channels if kind == "deconv" else widths[-1]
        self.conv_logits = nn.Conv2d(width, 1 if class_agnostic else num_classes, 1)

    def init_weights(self) -> None:
        """Initialise; the step up and the last layer as mmdet does, for ReLU."""
        super().init_weights()
        for module in (self.upsample, self.conv_logits):
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map features [K, in_channels, h, w] to logits [K, C, 2h, 2w], C = 1 for ``class_agnostic``."""
        for conv in self.convs:
            x = conv(x)
        x = self.upsample(x)
        return self.conv_logits(self.relu(x) if isinstance(self.upsample, nn.ConvTranspose2d) else x)

    def loss(
        self, mask_pred: Tensor, sampled: Sequence[SampledProposals], masks: Sequence[Tensor], size: int | Sequence[int]
    ) -> dict[str, Tensor]:
        """Return the loss of the positives.

        Args:
            mask_pred: [P, C, s, s] for all images' positives in turn.
            sampled: The images' proposals.
            masks: The images' true masks, [G_i, H, W].
            size: s, or (h, w).

        Returns:
            ``loss_mask``.
        """
        shape = (size, size) if isinstance(size, int) else (size[0], size[1])
        targets = torch.cat([mask_targets(s, m, shape) for s, m in zip(sampled, masks, strict=True)])
        labels = torch.cat([s.gt_labels for s in sampled])
        if self.class_agnostic:
            labels = torch.zeros_like(labels)
        return {"loss_mask": self.loss_mask(precise(mask_pred), targets.to(mask_pred.device), labels).sum()}

    @torch.no_grad()
    def predict(self, probabilities: Tensor, boxes: Tensor, labels: Tensor, size: Sequence[int], thr: float) -> Tensor:
        """Return masks at the size of an image.

        Args:
            probabilities: [K, C, s, s].
            boxes: [K, 4] in that image's pixels.
            labels: int64 [K].
            size: (h, w) of the image.
            thr: A pixel is of the object from this probability on; negative: the probabilities times 255 are given.

        Returns:
            bool [K, h, w]; uint8 for a negative ``thr``.
        """
        index = torch.zeros_like(labels) if self.class_agnostic else labels
        chosen = probabilities[torch.arange(len(labels), device=labels.device), index]
        return paste_masks(precise(chosen), boxes, size, thr)


@torch.no_grad()
def mask_targets(sampled: SampledProposals, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the positives' true masks, cut out and resized.

    Args:
        sampled: An image's proposals.
        masks: [G, H, W], 0 or 1.
        size: (h, w).

    Returns:
        [P, h, w], 0 or 1, in the proposals' type.
    """
    boxes = sampled.pos_priors
    if not len(boxes):
        return boxes.new_zeros(0, *size)
    height, width = masks.shape[1:]
    boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
    # each positive reads its own object's mask as its image
    used, which = sampled.gt_inds.unique(return_inverse=True)
    rois = torch.cat((which[:, None].to(boxes.dtype), boxes), 1)
    cut = roi_align(masks[used][:, None].to(boxes.dtype), rois, size, 1.0, 0, True)
    return (cut[:, 0] >= 0.5).to(boxes.dtype)


def paste_masks(masks: Tensor, boxes: Tensor, size: Sequence[int], thr: float) -> Tensor:
    """Put small masks back into their boxes.

    Args:
        masks: Probabilities [K, s, s].
        boxes: [K, 4] in pixels.
        size: (h, w).
        thr: See `FCNMaskHead.predict`.

    Returns:
        [K, h, w].
    """
    if in_graph():
        return _paste_whole(masks, boxes, size, thr)
    height, width = int(size[0]), int(size[1])
    out = masks.new_zeros(len(masks), height, width, dtype=torch.bool if thr >= 0 else torch.uint8)
    corners = torch.cat((boxes[:, :2].floor() - 1, boxes[:, 2:].ceil() + 1), 1)
    corners = corners.clamp(min=0).minimum(corners.new_tensor([width, height, width, height]))
    for mask, box, corner, target in zip(masks, boxes, corners.long().tolist(), out, strict=True):
        left, top, right, bottom = corner
        if right <= left or bottom <= top:
            continue
        x = (torch.arange(left, right, device=masks.device, dtype=masks.dtype) + 0.5 - box[0]) / (box[2] - box[0])
        y = (torch.arange(top, bottom, device=masks.device, dtype=masks.dtype) + 0.5 - box[1]) / (box[3] - box[1])
        grid = torch.stack(torch.meshgrid(x * 2 - 1, y * 2 - 1, indexing="xy"), -1)
        # a box without width or height gives infinite places
        grid = grid.nan_to_num(0.0, 0.0, 0.0)
        values = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
        target[top:bottom, left:right] = values >= thr if thr >= 0 else (values * 255).to(torch.uint8)
    return out


def _paste_whole(masks: Tensor, boxes: Tensor, size: Sequence[int], thr: float) -> Tensor:
    """`paste_masks` for a graph for a file: all pixels of all masks at once, without a loop over boxes."""
    x = torch.arange(size[1], device=masks.device).to(masks) + 0.5
    y = torch.arange(size[0], device=masks.device).to(masks) + 0.5
    left, top, right, bottom = (side[:, None] for side in boxes.unbind(1))
    # a box that only fills up the number has no width: any other will do, its mask is not looked at
    x = (x - left) / (right - left).clamp(min=1e-6) * 2 - 1
    y = (y - top) / (bottom - top).clamp(min=1e-6) * 2 - 1
    shape = len(masks), y.shape[1], x.shape[1]
    grid = torch.stack((x[:, None].expand(shape), y[:, :, None].expand(shape)), -1)
    values = F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0]
    return values >= thr if thr >= 0 else (values * 255).to(torch.uint8)
