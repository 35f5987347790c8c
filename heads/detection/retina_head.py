"""RetinaNet's head (Lin et al., ICCV 2017, arXiv:1708.02002)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.detection.anchor_losses import anchor_losses
from foveal.heads.detection.dense import conv_tower, flatten_level, map_sizes
from foveal.heads.detection.post_processing import detections
from foveal.registry import MODELS, TASK_UTILS

Options = dict[str, Any]

ANCHORS = {
    "type": "AnchorGenerator",
    "octave_base_scale": 4,
    "scales_per_octave": 3,
    "ratios": [0.5, 1.0, 2.0],
    "strides": [8, 16, 32, 64, 128],
}
CODER = {"type": "DeltaXYWHBBoxCoder"}
LOSS_CLS = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0}
LOSS_BBOX = {"type": "SmoothL1Loss", "beta": 1.0 / 9.0, "loss_weight": 1.0}
PSEUDO = {"type": "PseudoSampler"}
INIT = {
    "type": "Normal",
    "layer": "Conv2d",
    "std": 0.01,
    "override": {"type": "Normal", "name": "retina_cls", "std": 0.01, "bias_prob": 0.01},
}


@MODELS.register_module()
class RetinaHead(BaseModule):
    """Two towers of convolutions, shared by all levels: classes and box offsets of every anchor.

    Arguments, defaults and keys (``cls_convs.i.conv``, ``reg_convs.i.conv``, ``retina_cls``, ``retina_reg``) are those
    of mmdet 3.x.

    Args:
        num_classes: C, without background.
        in_channels: Channels of every feature map.
        stacked_convs: Depth of the towers.
        conv_cfg: mmcv's convolution config of the towers. None: Conv2d.
        norm_cfg: mmcv's norm config of the towers. None: none.
        anchor_generator: Config of the anchors; one level for each feature map.
        init_cfg: mmengine's initialisation config.
        feat_channels: Channels of the towers.
        bbox_coder: Config of how boxes are written as offsets.
        reg_decoded_bbox: The box loss compares boxes in pixels, not offsets; for IoU losses.
        loss_cls: Config of the classification loss.
        loss_bbox: Config of the box loss.
        train_cfg: mmdet's: ``assigner``, ``sampler``, ``allowed_border``, ``pos_weight``. None: cannot train.
        test_cfg: mmdet's, see `detections`. None: cannot predict.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Options | None = None,
        norm_cfg: Options | None = None,
        anchor_generator: Options = ANCHORS,
        init_cfg: Options | list[Options] | None = INIT,
        feat_channels: int = 256,
        bbox_coder: Options = CODER,
        reg_decoded_bbox: bool = False,
        loss_cls: Options = LOSS_CLS,
        loss_bbox: Options = LOSS_BBOX,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_classes = num_classes
        self.reg_decoded_bbox = reg_decoded_bbox
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.prior_generator = TASK_UTILS.build(anchor_generator)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.use_sigmoid_cls = self.loss_cls.use_sigmoid
        # a softmax has a channel for the background, the last one
        self.cls_out_channels = num_classes if self.use_sigmoid_cls else num_classes + 1
        if train_cfg is not None:
            self.assigner = TASK_UTILS.build(train_cfg["assigner"])
            self.sampler = TASK_UTILS.build(train_cfg.get("sampler") or PSEUDO)

        anchors = self.prior_generator.num_base_priors[0]
        self.cls_convs = conv_tower(in_channels, feat_channels, stacked_convs, conv_cfg, norm_cfg)
        self.reg_convs = conv_tower(in_channels, feat_channels, stacked_convs, conv_cfg, norm_cfg)
        width = feat_channels if stacked_convs else in_channels
        self.retina_cls = nn.Conv2d(width, anchors * self.cls_out_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(width, anchors * 4, 3, padding=1)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the raw outputs of every level.

        Args:
            feats: One [N, in_channels, H_l, W_l] a level.

        Returns:
            Class logits [N, A * C, H_l, W_l] and box offsets [N, A * 4, H_l, W_l], a list each.
        """
        return self.outputs(*self.tower_feats(feats))

    def tower_feats(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Return what the towers make of the maps: features for classes and for boxes, [N, feat_channels, H_l, W_l]."""
        return [self.cls_convs(x) for x in feats], [self.reg_convs(x) for x in feats]

    def outputs(self, cls_feats: list[Tensor], reg_feats: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the raw outputs as `forward` does, from the towers' features."""
        return [self.retina_cls(x) for x in cls_feats], [self.retina_reg(x) for x in reg_feats]

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, list[Tensor]]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances`` and the metainfo ``img_shape`` and ``pad_shape``.

        Returns:
            ``loss_cls`` and ``loss_bbox``, a scalar for each level.

        Raises:
            ConfigError: If there was no ``train_cfg``.
        """
        return self.loss_from(*self.tower_feats(feats), data_samples)

    def loss_from(
        self, cls_feats: list[Tensor], reg_feats: list[Tensor], data_samples: Sequence[BaseDataElement]
    ) -> dict[str, list[Tensor]]:
        """Return the losses as `loss` does, from the towers' features."""
        if self.train_cfg is None:
            raise ConfigError("RetinaHead has no train_cfg: training needs its assigner")
        losses = anchor_losses(self, *self.outputs(cls_feats, reg_feats), data_samples)
        return {"loss_cls": losses[0], "loss_bbox": losses[1]}

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement], rescale: bool = True
    ) -> list[InstanceData]:
        """Return the detections.

        Args:
            feats: As for `forward`.
            data_samples: N samples with the metainfo ``img_shape`` (h, w) and ``scale_factor`` (w, h).
            rescale: Boxes in pixels of the original image, not of the network's input.

        Returns:
            One InstanceData an image: ``bboxes`` [K, 4], ``scores`` [K], ``labels`` [K], best first.
        """
        return self.predict_from(*self.tower_feats(feats), data_samples, rescale)

    def predict_from(
        self,
        cls_feats: list[Tensor],
        reg_feats: list[Tensor],
        data_samples: Sequence[BaseDataElement],
        rescale: bool = True,
    ) -> list[InstanceData]:
        """Return the detections as `predict` does, from the towers' features."""
        maps = self.outputs(cls_feats, reg_feats)
        logits = [flatten_level(x, self.cls_out_channels) for x in maps[0]]
        scores = [x.sigmoid() if self.use_sigmoid_cls else x.softmax(-1)[..., :-1] for x in logits]
        offsets = [flatten_level(x, 4) for x in maps[1]]
        priors = self.prior_generator.grid_priors(map_sizes(maps[0]), offsets[0].dtype, offsets[0].device)
        metas = [sample.metainfo for sample in data_samples]
        return detections(scores, offsets, priors, self.bbox_coder.decode, metas, self.test_cfg, rescale)
