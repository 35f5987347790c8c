"""The box head of Sparse R-CNN (Sun et al., CVPR 2021, arXiv:2011.12450): each proposal filters its own region."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule, bias_init_with_prob
from torch import Tensor, nn

from foveal.layers.transformer import FFN, MultiheadAttention
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]

RELU = {"type": "ReLU", "inplace": True}
LN = {"type": "LN"}
CODER = {"type": "DeltaXYWHBBoxCoder", "clip_border": True, "target_stds": [0.1, 0.1, 0.2, 0.2]}
CONV = {
    "type": "DynamicConv",
    "in_channels": 256,
    "feat_channels": 64,
    "out_channels": 256,
    "input_feat_shape": 7,
    "act_cfg": RELU,
    "norm_cfg": LN,
}
LOSS_CLS = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}
LOSS_BBOX = {"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": 1.0}
LOSS_IOU = {"type": "GIoULoss", "loss_weight": 2.0}


@MODELS.register_module()
class DynamicConv(BaseModule):
    """Two 1x1 convolutions whose weights a proposal's features make, over the features of its region.

    Args:
        in_channels: C.
        feat_channels: Channels between the two.
        out_channels: Channels that go out. None: C.
        input_feat_shape: Height and width of a region's features.
        with_proj: Turn the region into a vector at the end.
        act_cfg: mmcv's config of the activations.
        norm_cfg: mmcv's config of the norms.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        in_channels: int = 256,
        feat_channels: int = 64,
        out_channels: int | None = None,
        input_feat_shape: int = 7,
        with_proj: bool = True,
        act_cfg: Options = RELU,
        norm_cfg: Options = LN,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.feat_channels = feat_channels
        self.out_channels = out_channels or in_channels
        self.with_proj = with_proj
        self.dynamic_layer = nn.Linear(in_channels, feat_channels * (in_channels + self.out_channels))
        self.norm_in = build_norm_layer(norm_cfg, feat_channels)[1]
        self.norm_out = build_norm_layer(norm_cfg, self.out_channels)[1]
        self.activation = build_activation_layer(dict(act_cfg))
        if with_proj:
            self.fc_layer = nn.Linear(self.out_channels * input_feat_shape**2, self.out_channels)
            self.fc_norm = build_norm_layer(norm_cfg, self.out_channels)[1]

    def forward(self, param_feature: Tensor, input_feature: Tensor, shift: Tensor | None = None) -> Tensor:
        """Return [K, out_channels], or [K, h * w, out_channels] without projection.

        Args:
            param_feature: [K, C] of the proposals.
            input_feature: [K, C, h, w] of their regions.
            shift: [K, h * w], added to every channel between the two convolutions. None: nothing.
        """
        weights = self.dynamic_layer(param_feature)
        inner = self.in_channels * self.feat_channels
        first = weights[:, :inner].view(-1, self.in_channels, self.feat_channels)
        second = weights[:, inner:].view(-1, self.feat_channels, self.out_channels)
        x = input_feature.flatten(2).transpose(1, 2) @ first
        if shift is not None:
            x = x + shift.unsqueeze(2)
        x = self.activation(self.norm_in(x))
        x = self.activation(self.norm_out(x @ second))
        return self.activation(self.fc_norm(self.fc_layer(x.flatten(1)))) if self.with_proj else x


@MODELS.register_module()
class DIIHead(BaseModule):
    """Attention among proposals, `DynamicConv` with each one's region, and a feed-forward layer; then class and box.

    Arguments, defaults and keys are those of mmdet 3.x.

    Args:
        num_classes: C, without background.
        num_ffn_fcs: Linear layers of the feed-forward part.
        num_heads: Heads of the attention.
        num_cls_fcs: Linear layers before the class,
        num_reg_fcs: and before the box.
        feedforward_channels: Channels of the feed-forward part.
        in_channels: Channels of proposals and regions.
        dropout: Probability that a number is dropped.
        ffn_act_cfg: mmcv's config of the feed-forward part's activation.
        dynamic_conv_cfg: Config of the `DynamicConv`.
        loss_cls: Config of the classification loss.
        loss_bbox: Config of the box loss, of shares of the image.
        loss_iou: Config of the overlap's loss.
        bbox_coder: Config of how boxes are written as offsets.
        init_cfg: mmengine's initialisation config. None: mmdet's.
    """

    def __init__(
        self,
        num_classes: int = 80,
        num_ffn_fcs: int = 2,
        num_heads: int = 8,
        num_cls_fcs: int = 1,
        num_reg_fcs: int = 3,
        feedforward_channels: int = 2048,
        in_channels: int = 256,
        dropout: float = 0.0,
        ffn_act_cfg: Options = RELU,
        dynamic_conv_cfg: Options = CONV,
        loss_cls: Options = LOSS_CLS,
        loss_bbox: Options = LOSS_BBOX,
        loss_iou: Options = LOSS_IOU,
        bbox_coder: Options = CODER,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls: Any = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_iou = MODELS.build(loss_iou)
        self.attention: nn.Module = MultiheadAttention(in_channels, num_heads, dropout)
        self.attention_norm = nn.LayerNorm(in_channels)
        self.instance_interactive_conv = MODELS.build(dynamic_conv_cfg)
        self.instance_interactive_conv_dropout = nn.Dropout(dropout)
        self.instance_interactive_conv_norm = nn.LayerNorm(in_channels)
        self.ffn = FFN(in_channels, feedforward_channels, num_ffn_fcs, ffn_act_cfg, dropout)
        self.ffn_norm = nn.LayerNorm(in_channels)
        self.cls_fcs = _stack(in_channels, num_cls_fcs)
        self.fc_cls = nn.Linear(in_channels, num_classes + (0 if self.loss_cls.use_sigmoid else 1))
        self.reg_fcs = _stack(in_channels, num_reg_fcs)
        self.fc_reg = nn.Linear(in_channels, 4)

    def init_weights(self) -> None:
        """Initialise all matrices after Xavier, and the classes as rare."""
        super().init_weights()
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        if self.loss_cls.use_sigmoid:
            nn.init.constant_(self.fc_cls.bias, bias_init_with_prob(0.01))

    def forward(self, roi_feat: Tensor, proposal_feat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, box offsets and the proposals' new features.

        Args:
            roi_feat: [N * Q, in_channels, h, w].
            proposal_feat: [N, Q, in_channels].

        Returns:
            [N, Q, C], or C + 1 for a softmax; [N, Q, 4]; [N, Q, in_channels].
        """
        shape = proposal_feat.shape
        x = self.attention_norm(self.attention(proposal_feat.transpose(0, 1))).transpose(0, 1).reshape(-1, shape[2])
        filtered = self.instance_interactive_conv(x, roi_feat)
        x = self.instance_interactive_conv_norm(x + self.instance_interactive_conv_dropout(filtered))
        return self._outputs(x, shape)

    def _outputs(self, x: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `forward` does, of proposals [N * Q, in_channels] that have seen their regions."""
        x = self.ffn_norm(self.ffn(x))
        scores = codes = x
        for layer in self.cls_fcs:
            scores = layer(scores)
        for layer in self.reg_fcs:
            codes = layer(codes)
        return self.fc_cls(scores).view(*shape[:2], -1), self.fc_reg(codes).view(*shape[:2], 4), x.view(shape)

    def as_learnt(self, boxes: Tensor) -> Tensor:
        """Return boxes x1, y1, x2, y2 as their distance is measured."""
        return boxes

    def loss(
        self, cls_score: Tensor, boxes: Tensor, labels: Tensor, goals: Tensor, sizes: Tensor, count: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses.

        Args:
            cls_score: [N * Q, C], as `forward` gives it.
            boxes: [N * Q, 4] in pixels.
            labels: int64 [N * Q]; background is C.
            goals: [N * Q, 4], the true boxes in pixels; of any value for the background.
            sizes: [N * Q, 4], width, height, width, height of the images.
            count: Number of true boxes that the losses are divided by.

        Returns:
            ``loss_cls``, ``pos_acc`` in per cent, ``loss_bbox``, ``loss_iou``.
        """
        positive = (labels < self.num_classes).nonzero().squeeze(1)
        weights = torch.ones_like(labels, dtype=cls_score.dtype)
        losses = {"loss_cls": self.loss_cls(cls_score, labels, weights, avg_factor=count)}
        right = cls_score[positive].argmax(1) == labels[positive]
        losses["pos_acc"] = right.sum() * (100.0 / max(len(positive), 1))
        if not len(positive):
            return losses | {"loss_bbox": boxes.sum() * 0, "loss_iou": boxes.sum() * 0}
        found, wanted, size = boxes[positive], goals[positive], sizes[positive]
        losses["loss_bbox"] = self.loss_bbox(
            self.as_learnt(found / size), self.as_learnt(wanted / size), avg_factor=count
        )
        losses["loss_iou"] = self.loss_iou(found, wanted, avg_factor=count)
        return losses


def _stack(channels: int, depth: int) -> nn.ModuleList:
    """Linear layers without bias, each with a norm and ReLU; keys as in mmdet."""
    layers = nn.ModuleList()
    for _ in range(depth):
        layers.extend([nn.Linear(channels, channels, bias=False), nn.LayerNorm(channels), nn.ReLU(inplace=True)])
    return layers
