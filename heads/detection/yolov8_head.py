"""The head of YOLOv8 and Mamba-YOLO: distances as distributions, no objectness, task-aligned assignment.

Distances: arXiv:2006.04388, section 3.2; assignment: arXiv:2108.07755; Mamba-YOLO: arXiv:2406.05835.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.anchors import MlvlPointGenerator
from foveal.heads.detection.dense import flatten_level, map_sizes, pad_instances
from foveal.heads.detection.post_processing import detections
from foveal.layers.csp import BN
from foveal.registry import MODELS, TASK_UTILS
from foveal.structures.boxes import clip_boxes

Options = dict[str, Any]

SILU = {"type": "SiLU"}
DISTANCES = {"type": "DistancePointBBoxCoder"}
LOSS_CLS = {"type": "CrossEntropyLoss", "use_sigmoid": True, "reduction": "sum", "loss_weight": 0.5}
LOSS_BBOX = {"type": "CIoULoss", "eps": 1e-7, "reduction": "sum", "loss_weight": 7.5, "shape_from": -1}
LOSS_DFL = {"type": "DistributionFocalLoss", "reduction": "sum", "loss_weight": 1.5 / 4}


@MODELS.register_module()
class YOLOv8Head(BaseModule):
    """Classes, and distributions of the distances to a box's sides, for every point.

    The keys are those of the official networks' last layer: ``cv2.level`` for the sides, ``cv3.level`` for the classes.

    Args:
        num_classes: C, without background.
        in_channels: Channels of every feature map, finest first.
        strides: Pixels between the points, one a level.
        reg_max: Distances are 0 to ``reg_max`` - 1 strides.
        bbox_coder: Config of how distances become a box.
        norm_cfg: mmcv's norm config of the towers.
        act_cfg: mmcv's activation config of the towers.
        loss_cls: Config of the loss of the class scores.
        loss_bbox: Config of the loss of the boxes, in strides.
        loss_dfl: Config of the loss of the distributions.
        train_cfg: ``assigner``. None: cannot train.
        test_cfg: mmdet's: ``score_thr``, ``nms_pre``, ``nms`` and ``max_per_img``. None: cannot predict.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] = (256, 512, 1024),
        strides: Sequence[int] = (8, 16, 32),
        reg_max: int = 16,
        bbox_coder: Options = DISTANCES,
        norm_cfg: Options = BN,
        act_cfg: Options = SILU,
        loss_cls: Options = LOSS_CLS,
        loss_bbox: Options = LOSS_BBOX,
        loss_dfl: Options = LOSS_DFL,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != len(strides):
            raise ConfigError(f"YOLOv8Head got {len(in_channels)} in_channels but {len(strides)} strides")
        self.num_classes = num_classes
        self.reg_max = reg_max
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.prior_generator = MlvlPointGenerator(strides, offset=0.5)
        self.bbox_coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_dfl = MODELS.build(loss_dfl)
        if train_cfg is not None:
            self.assigner = TASK_UTILS.build(train_cfg["assigner"])
        layers = {"norm_cfg": norm_cfg, "act_cfg": act_cfg}

        def towers(width: int, channels: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Sequential(
                    ConvModule(c, width, 3, padding=1, **layers),
                    ConvModule(width, width, 3, padding=1, **layers),
                    nn.Conv2d(width, channels, 1),
                )
                for c in in_channels
            )

        self.cv2 = towers(max(16, in_channels[0] // 4, 4 * reg_max), 4 * reg_max)
        self.cv3 = towers(max(in_channels[0], min(num_classes, 100)), num_classes)
        self._init_biases()

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says; the last biases stay as the detector wants them."""
        super().init_weights()
        self._init_biases()

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the raw outputs of every level.

        Args:
            feats: One [N, in_channels[l], H_l, W_l] a level.

        Returns:
            Class logits [N, C, H_l, W_l] and logits of the distances [N, 4 * reg_max, H_l, W_l], left, top, right and
            bottom, a list each.
        """
        scores = [tower(x) for tower, x in zip(self.cv3, feats, strict=True)]
        return scores, [tower(x) for tower, x in zip(self.cv2, feats, strict=True)]

    def loss(self, feats: tuple[Tensor, ...], data_samples: Sequence[BaseDataElement]) -> dict[str, Tensor]:
        """Return the losses.

        Args:
            feats: As for `forward`.
            data_samples: N samples with ``gt_instances``.

        Returns:
            The scalars ``loss_cls``, ``loss_bbox`` and ``loss_dfl``, which grow with the number of images.

        Raises:
            ConfigError: If there was no ``train_cfg``.
        """
        if self.train_cfg is None:
            raise ConfigError("YOLOv8Head has no train_cfg: training needs its assigner")
        levels, codes, priors = self._flat(feats)
        logits, code, prior = torch.cat(levels, 1), torch.cat(codes, 1), torch.cat(priors)
        points, strides = prior[:, :2], prior[:, 2:3]
        places = points / strides
        boxes = self.bbox_coder.decode(places, self.expect(code))
        gt_bboxes, gt_labels = pad_instances(data_samples, boxes.dtype)
        pixels = boxes.detach() * strides
        gt_inds, quality = self.assigner.assign(logits.detach().sigmoid(), pixels, points, gt_bboxes, gt_labels)
        image, point = (gt_inds > 0).nonzero(as_tuple=True)
        which, weight = gt_inds[image, point] - 1, quality[image, point]
        wanted = torch.zeros_like(logits)
        wanted[image, point, gt_labels[image, which]] = weight
        truth = gt_bboxes[image, which] / strides[point]
        sides = self.bbox_coder.encode(places[point], truth, max_dis=self.reg_max - 1, eps=0.01)
        # the official loss is a sum over the images of all processes, whose gradients are averaged after it
        factor = len(data_samples) * get_world_size() / quality.sum().clamp(min=1)
        classes = self.num_classes
        bins = code[image, point].view(-1, self.reg_max)
        return {
            "loss_cls": self.loss_cls(logits.reshape(-1, classes), wanted.reshape(-1, classes)) * factor,
            "loss_bbox": self.loss_bbox(boxes[image, point], truth, weight) * factor,
            "loss_dfl": self.loss_dfl(bins, sides.flatten(), weight.repeat_interleave(4)) * factor,
        }

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

        Raises:
            ConfigError: If there is no ``test_cfg``.
        """
        logits, codes, priors = self._flat(feats)
        scores = [level.sigmoid() for level in logits]
        metas = [sample.metainfo for sample in data_samples]
        results = detections(scores, codes, priors, self.decode, metas, self.test_cfg, rescale)
        for found, meta in zip(results, metas, strict=True):
            # after the suppression, unlike in mmdet: boxes that stand out of the image overlap less before
            height, width = meta["img_shape"]
            scale_w, scale_h = meta.get("scale_factor", (1.0, 1.0)) if rescale else (1.0, 1.0)
            found.bboxes = clip_boxes(found.bboxes, height / scale_h, width / scale_w)
        return results

    def decode(self, priors: Tensor, codes: Tensor, max_shape: tuple[int, int]) -> Tensor:
        """Return boxes [K, 4] in pixels, not cut off, from points [K, 4] and logits [K, 4 * reg_max]."""
        return self.bbox_coder.decode(priors[:, :2], self.expect(codes) * priors[:, 2:3])

    def expect(self, codes: Tensor) -> Tensor:
        """Return the mean distances [..., 4] of distributions given by logits [..., 4 * reg_max]."""
        bins = torch.arange(self.reg_max, device=codes.device, dtype=codes.dtype)
        return codes.unflatten(-1, (4, self.reg_max)).softmax(-1) @ bins

    def _init_biases(self) -> None:
        """Distances of one stride or so, and about five objects on 640 x 640 pixels."""
        towers: Any = zip(self.prior_generator.strides, self.cv2, self.cv3, strict=True)
        for stride, sides, classes in towers:
            nn.init.constant_(sides[-1].bias, 1.0)
            nn.init.constant_(classes[-1].bias, math.log(5 / self.num_classes / (640 / stride[0]) ** 2))

    def _flat(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Logits [N, P_l, C], distances' logits [N, P_l, 4 * reg_max] and points [P_l, 4] of each level."""
        scores, sides = self(feats)
        codes = [flatten_level(x, 4 * self.reg_max) for x in sides]
        priors = self.prior_generator.grid_priors(map_sizes(feats), codes[0].dtype, codes[0].device, with_stride=True)
        return [flatten_level(x, self.num_classes) for x in scores], codes, priors
