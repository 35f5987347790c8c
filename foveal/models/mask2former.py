"""Mask2Former for objects and panoptic maps (Cheng et al., CVPR 2022, arXiv:2112.01527)."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel
from torch import Tensor

from foveal.models.build import Node, build_backbone_and_neck, build_data_preprocessor, build_head
from foveal.models.detector import check_labels
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]


@MODELS.register_module(name=["Mask2Former", "KMaXDeepLab"])
class Mask2Former(BaseModel):
    """Backbone, perhaps a neck, a head that finds masks and one that turns them into results; mmdet's arguments.

    Semantic segmentation alone is `EncoderDecoder` with the same head.

    Args:
        backbone: Config of the backbone.
        neck: Config of the neck.
        panoptic_head: Config of `Mask2FormerHead` or `KMaXDeepLabHead`; ``in_channels`` may be left out.
        panoptic_fusion_head: Config of `MaskFormerFusionHead` or `KMaXFusionHead`.
        train_cfg: Given to ``panoptic_head``.
        test_cfg: Given to both heads.
        data_preprocessor: Config of the batch's normalisation and padding.
        init_cfg: mmengine's initialisation config.

    Source: ``mask2former.py`` and ``maskformer.py`` of open-mmlab/mmdetection.
    """

    def __init__(
        self,
        backbone: Node,
        neck: Node | None = None,
        *,
        panoptic_head: Node,
        panoptic_fusion_head: Node,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        data_preprocessor: Node | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(build_data_preprocessor(data_preprocessor), init_cfg)
        self.backbone, self.neck = build_backbone_and_neck(backbone, neck)
        feeder = self.backbone if self.neck is None else self.neck
        self.panoptic_head: Any = build_head(panoptic_head, feeder, train_cfg=train_cfg, test_cfg=test_cfg)
        fusion = panoptic_fusion_head
        self.panoptic_fusion_head: Any = (
            MODELS.build({"test_cfg": test_cfg, **fusion}) if isinstance(fusion, dict) else fusion
        )

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
            data_samples: The images' samples; not needed for ``tensor``. ``loss`` reads ``gt_instances`` with masks
                and, where there is stuff to learn, ``gt_sem_seg``.
            mode: ``tensor``, ``loss`` or ``predict``.

        Returns:
            The head's class and mask logits of every layer; a dict of losses; or ``data_samples`` with
            ``pred_panoptic_seg``, ``pred_instances`` and ``pred_sem_seg`` as ``test_cfg`` asks.

        Raises:
            ValueError: If ``mode`` is another word, or the samples are missing.
            DataError: If a label is no class of the head; names the image.
        """
        if mode not in ("tensor", "loss", "predict"):
            raise ValueError(f"mode must be tensor, loss or predict, got {mode!r}")
        if mode == "tensor":
            return self.panoptic_head(self.extract_feat(inputs))
        if data_samples is None:
            raise ValueError(f"mode {mode!r} needs data_samples")
        if mode == "loss":
            check_labels(data_samples, self.panoptic_head.num_things_classes)
            return self.panoptic_head.loss(self.extract_feat(inputs), data_samples)
        scores, masks = self.panoptic_head.predict_masks(self.extract_feat(inputs), inputs.shape[-2:])
        self.panoptic_fusion_head.predict(scores, masks, data_samples)
        return data_samples
