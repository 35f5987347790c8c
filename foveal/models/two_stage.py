"""Detectors that propose regions first and look at each again."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from foveal.errors import ConfigError
from foveal.models.build import Node, build_backbone_and_neck, build_data_preprocessor, build_head
from foveal.models.detector import check_labels
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]


@MODELS.register_module(name=["TwoStageDetector", "FasterRCNN", "MaskRCNN", "CascadeRCNN", "SparseRCNN"])
class TwoStageDetector(BaseModel):
    """Backbone, neck, region proposals and a second stage: mmdet's Faster, Mask, Cascade and Sparse R-CNN.

    Args:
        backbone: Config of the backbone.
        neck: Config of the neck; ``in_channels`` may be left out. None: the heads read the backbone's maps.
        rpn_head: Config of the region proposal network; ``in_channels`` may be left out.
        roi_head: Config of the second stage.
        train_cfg: mmdet's: ``rpn``, ``rpn_proposal`` and ``rcnn``.
        test_cfg: mmdet's: ``rpn`` and ``rcnn``.
        data_preprocessor: Config of the batch's normalisation and padding.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        backbone: Node,
        neck: Node | None = None,
        *,
        rpn_head: Node,
        roi_head: Node,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        data_preprocessor: Node | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(build_data_preprocessor(data_preprocessor), init_cfg)
        train, test = train_cfg or {}, test_cfg or {}
        self.backbone, self.neck = build_backbone_and_neck(backbone, neck)
        rpn_options = {"train_cfg": train.get("rpn"), "test_cfg": test.get("rpn")}
        if isinstance(rpn_head, dict):
            # configs of whole detectors may give the data's classes; there is one kind of object here
            rpn_head = {**rpn_head, "num_classes": 1}
        self.rpn_head: Any = build_head(rpn_head, self.neck or self.backbone, **rpn_options)
        roi_options = {"train_cfg": train.get("rcnn"), "test_cfg": test.get("rcnn")}
        self.roi_head: Any = MODELS.build({**roi_options, **roi_head}) if isinstance(roi_head, dict) else roi_head
        self.trains = train_cfg is not None
        self.proposal_cfg = train.get("rpn_proposal") or test.get("rpn")

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps that the heads read.

        Args:
            inputs: [N, 3, H, W], normalised.
        """
        feats = self.backbone(inputs)
        return feats if self.neck is None else self.neck(feats)

    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = "tensor") -> Any:
        """Run the model.

        Args:
            inputs: [N, 3, H, W], normalised.
            data_samples: The images' samples; not needed for ``tensor``.
            mode: ``tensor``, ``loss`` or ``predict``.

        Returns:
            ``tensor``: the first stage's raw outputs and the second's for its proposals, the images taken to fill the
            input; ``loss``: a dict of losses; ``predict``: ``data_samples`` with ``pred_instances``.

        Raises:
            ValueError: If ``mode`` is another word, or the samples are missing.
        """
        if mode == "tensor":
            feats = self.extract_feat(inputs)
            size = tuple(inputs.shape[-2:])
            samples = data_samples or [DataSample(metainfo={"img_shape": size}) for _ in inputs]
            return self.rpn_head(feats), self.roi_head(feats, self.rpn_head.predict(feats, samples))
        if mode not in ("loss", "predict"):
            raise ValueError(f"mode must be tensor, loss or predict, got {mode!r}")
        if data_samples is None:
            raise ValueError(f"mode {mode!r} needs data_samples")
        return self.loss(inputs, data_samples) if mode == "loss" else self.predict(inputs, data_samples)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Any]:
        """Return both stages' losses.

        Args:
            inputs: [N, 3, H, W], normalised.
            data_samples: N samples with ``gt_instances``.

        Raises:
            ConfigError: If there was no ``train_cfg``.
            DataError: If a label is no class of the head; names the image.
        """
        if not self.trains:
            raise ConfigError("the detector has no train_cfg: training needs rpn, rpn_proposal and rcnn")
        check_labels(data_samples, self.roi_head.num_classes)
        feats = self.extract_feat(inputs)
        losses, proposals = self.rpn_head.loss_and_predict(feats, data_samples, self.proposal_cfg)
        return {**losses, **self.roi_head.loss(feats, proposals, data_samples)}

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, data_samples: list[DataSample], proposals: list[InstanceData] | None = None
    ) -> list[DataSample]:
        """Return ``data_samples`` with ``pred_instances`` in pixels of the original images.

        Args:
            inputs: [N, 3, H, W], normalised.
            data_samples: N samples with ``img_shape``, ``ori_shape`` and ``scale_factor``.
            proposals: N images' ``bboxes`` in pixels of the input. None: the first stage's.
        """
        feats = self.extract_feat(inputs)
        if proposals is None:
            proposals = self.rpn_head.predict(feats, data_samples)
        for sample, result in zip(data_samples, self.roi_head.predict(feats, proposals, data_samples), strict=True):
            sample.pred_instances = result
        return data_samples
