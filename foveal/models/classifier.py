"""Image classification: a backbone and a head on its last map."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel
from torch import Tensor

from foveal.errors import ConfigError
from foveal.models.build import Node, build_backbone_and_neck, build_data_preprocessor, build_head
from foveal.registry import MODELS
from foveal.structures import DataSample


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """A backbone, a neck where there is one, and a classification head.

    Args:
        backbone: Config node or built module.
        head: Config node or built module; its ``in_channels`` may be left out.
        neck: Config node, built module or None.
        data_preprocessor: Config node; None: images are stacked as they are.
        init_cfg: mmengine's.

    Shape:
        images [N, 3, H, W] to logits [N, K] with ``mode='tensor'``.

    Raises:
        ConfigError: If the head reads a method of the backbone that is not there, or reads past a neck.
    """

    def __init__(
        self,
        backbone: Node,
        head: Node,
        neck: Node | None = None,
        data_preprocessor: Node | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(build_data_preprocessor(data_preprocessor), init_cfg)
        self.backbone, self.neck = build_backbone_and_neck(backbone, neck)
        self.head: Any = build_head(head, self.backbone if self.neck is None else self.neck)
        reads = getattr(self.head, "reads", "forward")
        if reads != "forward" and (self.neck is not None or not hasattr(self.backbone, reads)):
            name = type(self.backbone).__name__
            raise ConfigError(f"this head reads the backbone's {reads}(): {name} must have it, with no neck between")
        self.reads = reads

    def extract_feat(self, inputs: Tensor) -> Any:
        """Return what the head reads of [N, 3, H, W]: a tuple of maps [N, C, h, w] unless its tail asks else."""
        if self.reads != "forward":
            return getattr(self.backbone, self.reads)(inputs)
        feats = self.backbone(inputs)
        return feats if self.neck is None else self.neck(feats)

    def switch_to_deploy(self) -> None:
        """Fuse the backbone's branches in place, where its family has any to fuse."""
        fuse = getattr(self.backbone, "switch_to_deploy", None)
        if fuse is not None:
            fuse()

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = "tensor"
    ) -> Tensor | dict[str, Tensor] | list[DataSample]:
        """Run the network on [N, 3, H, W].

        Args:
            inputs: Normalised images.
            data_samples: N; ``loss`` needs their ``gt_label``, ``predict`` may do without them.
            mode: ``tensor``: logits [N, K]. ``loss``: dict of losses. ``predict``: the samples with ``pred_label`` and
                ``pred_score``.

        Raises:
            ValueError: If ``mode`` is another word.
        """
        feats = self.extract_feat(inputs)
        if mode == "tensor":
            return self.head(feats)
        if mode == "loss":
            return self.head.loss(feats, data_samples)
        if mode == "predict":
            return self.head.predict(feats, data_samples or [DataSample() for _ in range(len(inputs))])
        raise ValueError(f"mode must be tensor, loss or predict, got {mode!r}")
