"""The region proposal network (Faster R-CNN, Ren et al., NeurIPS 2015, arXiv:1506.01497)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.detection.anchor_losses import anchor_losses
from foveal.heads.detection.dense import flatten_level, map_sizes
from foveal.heads.detection.post_processing import least, select_and_nms
from foveal.ops.dispatch import in_graph
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]

ANCHORS = {"type": "AnchorGenerator", "scales": [8], "ratios": [0.5, 1.0, 2.0], "strides": [4, 8, 16, 32, 64]}
CODER = {"type": "DeltaXYWHBBoxCoder"}
LOSS_CLS = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0}
LOSS_BBOX = {"type": "L1Loss", "loss_weight": 1.0}
INIT = {"type": "Normal", "layer": "Conv2d", "std": 0.01}


@MODELS.register_module()
class RPNHead(BaseModule):
    """Says of every anchor whether there is an object, and where exactly: proposals for a second stage.

    Arguments, defaults and keys (``rpn_conv``, ``rpn_cls``, ``rpn_reg``) are those of mmdet 3.x.

    Args:
        in_channels: Channels of every feature map.
        num_classes: 1, whatever there is.
        init_cfg: mmengine's initialisation config.
        num_convs: Convolutions before the outputs.
        feat_channels: Channels of these.
        anchor_generator: Config of the anchors; one level for each feature map.
        bbox_coder: Config of how boxes are written as offsets.
        reg_decoded_bbox: The box loss compares boxes in pixels, not offsets.
        loss_cls: Config of the classification loss.
        loss_bbox: Config of the box loss.
        train_cfg: mmdet's ``rpn``: ``assigner``, ``sampler``, ``allowed_border``, ``pos_weight``. None: cannot train.
        test_cfg: mmdet's ``rpn``: ``nms_pre``, ``nms``, ``max_per_img``, ``min_bbox_size``.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 1,
        init_cfg: Options | list[Options] | None = INIT,
        num_convs: int = 1,
        feat_channels: int = 256,
        anchor_generator: Options = ANCHORS,
        bbox_coder: Options = CODER,
        reg_decoded_bbox: bool = False,
        loss_cls: Options = LOSS_CLS,
        loss_bbox: Options = LOSS_BBOX,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_classes != 1:
            raise ConfigError(f"RPNHead.num_classes must be 1, got {num_classes}")
        self.num_classes = 1
        self.reg_decoded_bbox = reg_decoded_bbox
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.prior_generator = TASK_UTILS.build(anchor_generator)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.use_sigmoid_cls = self.loss_cls.use_sigmoid
        # a softmax has a channel for the background, the last one
        self.cls_out_channels = 1 if self.use_sigmoid_cls else 2
        if train_cfg is not None:
            self.assigner = TASK_UTILS.build(train_cfg["assigner"])
            self.sampler = TASK_UTILS.build(train_cfg.get("sampler") or {"type": "PseudoSampler"})
        anchors = self.prior_generator.num_base_priors[0]
        if num_convs > 1:
            widths = [in_channels, *(feat_channels for _ in range(num_convs))]
            self.rpn_conv: nn.Module = nn.Sequential(
                *(ConvModule(a, b, 3, padding=1, inplace=False) for a, b in pairwise(widths))
            )
        else:
            self.rpn_conv = nn.Conv2d(in_channels, feat_channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(feat_channels, anchors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(feat_channels, anchors * 4, 1)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the raw outputs of every level.

        Args:
            feats: One [N, in_channels, H_l, W_l] a level.

        Returns:
            Logits [N, A, H_l, W_l] and box offsets [N, A * 4, H_l, W_l], a list each.
        """
        feats = tuple(F.relu(self.rpn_conv(x)) for x in feats)
        return [self.rpn_cls(x) for x in feats], [self.rpn_reg(x) for x in feats]

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, list[Tensor]]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances`` of any labels.

        Returns:
            ``loss_rpn_cls`` and ``loss_rpn_bbox``, a scalar for each level.
        """
        return self._losses(self(feats), data_samples)

    def loss_and_predict(
        self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement], proposal_cfg: Options
    ) -> tuple[dict[str, list[Tensor]], list[InstanceData]]:
        """Return the losses and, from the same outputs, proposals in pixels of the network's input.

        Args:
            feats: As for `forward`.
            data_samples: As for `loss`.
            proposal_cfg: mmdet's ``rpn_proposal``.
        """
        maps = self(feats)
        return self._losses(maps, data_samples), self._proposals(maps, data_samples, proposal_cfg)

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement], rescale: bool = False
    ) -> list[InstanceData]:
        """Return proposals.

        Args:
            feats: As for `forward`.
            data_samples: N samples with the metainfo ``img_shape`` (h, w) and, to rescale, ``scale_factor`` (w, h).
            rescale: Boxes in pixels of the original image, not of the network's input.

        Returns:
            One InstanceData an image: ``bboxes`` [K, 4], ``scores`` [K], ``labels`` [K], all 0; best first.

        Raises:
            ConfigError: If there was no ``test_cfg``.
        """
        if self.test_cfg is None:
            raise ConfigError("RPNHead has no test_cfg: proposals need nms_pre, nms and max_per_img")
        results = self._proposals(self(feats), data_samples, self.test_cfg)
        if rescale:
            for result, sample in zip(results, data_samples, strict=True):
                result.bboxes = result.bboxes / result.bboxes.new_tensor(sample.scale_factor).repeat(2)
        return results

    def _losses(
        self, maps: tuple[list[Tensor], list[Tensor]], data_samples: Sequence[BaseDataElement]
    ) -> dict[str, list[Tensor]]:
        if self.train_cfg is None:
            raise ConfigError("RPNHead has no train_cfg: training needs its assigner")
        cls_losses, box_losses = anchor_losses(self, *maps, [_as_objects(sample) for sample in data_samples])
        return {"loss_rpn_cls": cls_losses, "loss_rpn_bbox": box_losses}

    @torch.no_grad()
    def _proposals(
        self, maps: tuple[list[Tensor], list[Tensor]], data_samples: Sequence[BaseDataElement], cfg: Options
    ) -> list[InstanceData]:
        logits = [flatten_level(x, self.cls_out_channels) for x in maps[0]]
        scores = [x.sigmoid()[..., 0] if self.use_sigmoid_cls else x.softmax(-1)[..., 0] for x in logits]
        offsets = [flatten_level(x, 4) for x in maps[1]]
        anchors = self.prior_generator.grid_priors(map_sizes(maps[0]), offsets[0].dtype, offsets[0].device)
        results = []
        limit = cfg.get("nms_pre", -1)
        for i, sample in enumerate(data_samples):
            best, codes, priors, levels = [], [], [], []
            for level, (score, offset, anchor) in enumerate(zip(scores, offsets, anchors, strict=True)):
                top, order = score[i].topk(least(limit, len(anchor)) if limit > 0 else len(anchor))
                best.append(top)
                codes.append(offset[i][order])
                priors.append(anchor[order])
                levels.append(order.new_full(order.shape, level))
            boxes = self.bbox_coder.decode(torch.cat(priors), torch.cat(codes), max_shape=sample.img_shape)
            score = torch.cat(best)
            # boxes of different levels do not suppress each other
            kept, score = select_and_nms(boxes, score, torch.cat(levels), cfg)
            proposals = boxes[kept]
            if in_graph():
                proposals = proposals * (score > 0)[:, None]  # what only fills up the number has no area
            results.append(InstanceData(bboxes=proposals, scores=score, labels=torch.zeros_like(kept)))
        return results


def _as_objects(sample: BaseDataElement) -> BaseDataElement:
    """The sample with one class."""
    boxes = sample.gt_instances.bboxes
    changed = sample.new()
    changed.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    )
    return changed
