"""Detectors that answer in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from foveal.errors import DataError
from foveal.models.build import Node, build_backbone_and_neck, build_data_preprocessor, build_head
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]


NAMES = ["SingleStageDetector", "RetinaNet", "FCOS", "ATSS", "RTMDet", "YOLOX", "CenterNet", "BVR", "FemtoDet"]


@MODELS.register_module(name=NAMES)
class SingleStageDetector(BaseModel):
    """Backbone, neck and a dense head; mmdet's one-stage detectors, which differ in nothing else, are this class.

    Args:
        backbone: Config of the backbone.
        neck: Config of the neck; ``in_channels`` may be left out. None: the head reads the backbone's maps.
        bbox_head: Config of the head; ``in_channels`` may be left out.
        train_cfg: Given to the head as its ``train_cfg``.
        test_cfg: Given to the head as its ``test_cfg``.
        data_preprocessor: Config of the batch's normalisation and padding.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        backbone: Node,
        neck: Node | None = None,
        *,
        bbox_head: Node,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        data_preprocessor: Node | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(build_data_preprocessor(data_preprocessor), init_cfg)
        self.backbone, self.neck = build_backbone_and_neck(backbone, neck)
        self.bbox_head: Any = build_head(bbox_head, self.neck or self.backbone, train_cfg=train_cfg, test_cfg=test_cfg)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps that the head reads.

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
            The head's raw outputs; a dict of losses; or ``data_samples`` with ``pred_instances``.

        Raises:
            ValueError: If ``mode`` is another word, or the samples are missing.
        """
        if mode == "tensor":
            return self.bbox_head(self.extract_feat(inputs))
        if mode not in ("loss", "predict"):
            raise ValueError(f"mode must be tensor, loss or predict, got {mode!r}")
        if data_samples is None:
            raise ValueError(f"mode {mode!r} needs data_samples")
        return self.loss(inputs, data_samples) if mode == "loss" else self.predict(inputs, data_samples)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor | list[Tensor]]:
        """Return the head's losses.

        Args:
            inputs: [N, 3, H, W], normalised.
            data_samples: N samples with ``gt_instances``.

        Raises:
            DataError: If a label is no class of the head; names the image.
        """
        check_labels(data_samples, self.bbox_head.num_classes)
        return self.bbox_head.loss(self.extract_feat(inputs), data_samples)

    def predict(self, inputs: Tensor, data_samples: list[DataSample]) -> list[DataSample]:
        """Return ``data_samples`` with ``pred_instances`` in pixels of the original images.

        Args:
            inputs: [N, 3, H, W], normalised.
            data_samples: N samples with ``img_shape`` and ``scale_factor``.
        """
        results = self.bbox_head.predict(self.extract_feat(inputs), data_samples)
        for sample, result in zip(data_samples, results, strict=True):
            sample.pred_instances = result
        return data_samples


def check_labels(data_samples: Sequence[BaseDataElement], num_classes: int) -> None:
    """Refuse labels that are no class, and boxes that are not finite.

    Called before the forward pass, where the device has little left to do and reading one value from it is cheap.

    Args:
        data_samples: Samples with ``gt_instances.labels``, and ``bboxes`` where there are any.
        num_classes: Labels are 0 to this, less 1.

    Raises:
        DataError: If one is not; names its image.
    """
    labels = torch.cat([sample.gt_instances.labels for sample in data_samples])
    wrong = ((labels < 0) | (labels >= num_classes)).any()
    boxes = [sample.gt_instances.bboxes for sample in data_samples if "bboxes" in sample.gt_instances]
    if boxes:
        wrong = wrong | ~torch.cat(boxes).isfinite().all()
    if not wrong:
        return
    for sample in data_samples:
        image = sample.get("img_path") or f"img_id {sample.get('img_id')}"
        for i, box in enumerate(sample.gt_instances.get("bboxes", labels.new_zeros(0, 4)).tolist()):
            if not all(map(isfinite, box)):
                raise DataError(f"{image}: box {i} is {box}, which is not finite")
        for i, label in enumerate(sample.gt_instances.labels.tolist()):
            if not 0 <= label < num_classes:
                raise DataError(f"{image}: box {i} has label {label}, but the head has classes 0 to {num_classes - 1}")
