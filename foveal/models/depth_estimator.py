"""DepthEstimator: a depth for every pixel."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor

from foveal.errors import ConfigError
from foveal.heads.segmentation.decode_head import resize
from foveal.models.build import Node, build_backbone_and_neck, build_data_preprocessor, build_head
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]


@MODELS.register_module()
class DepthEstimator(BaseModel):
    """Backbone, neck and a head that gives depths in metres; mmseg's name and arguments.

    Args:
        backbone: Config of the backbone.
        decode_head: Config of the head; ``in_channels`` may be left out.
        neck: Config of the neck. None: the head reads the backbone's maps.
        data_preprocessor: Config of the batch's normalisation and padding.
        train_cfg: mmseg's; nothing in it is read.
        test_cfg: mmseg's; whole images only.
        init_cfg: mmengine's initialisation config.

    Raises:
        ConfigError: If ``test_cfg`` has another mode.
    """

    def __init__(
        self,
        backbone: Node,
        decode_head: Node,
        neck: Node | None = None,
        data_preprocessor: Node | None = None,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(build_data_preprocessor(data_preprocessor), init_cfg)
        self.backbone, self.neck = build_backbone_and_neck(backbone, neck)
        self.decode_head: Any = build_head(decode_head, self.neck or self.backbone)
        mode = (test_cfg or {}).get("mode", "whole")
        if mode != "whole":
            raise ConfigError(f"DepthEstimator measures whole images: test_cfg.mode must be 'whole', got {mode!r}")

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the maps that the head reads, finest first."""
        feats = self.backbone(inputs)
        return feats if self.neck is None else self.neck(feats)

    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = "tensor") -> Any:
        """Run the network.

        Args:
            inputs: Normalised images [N, 3, H, W].
            data_samples: N of them; needed for ``loss``.
            mode: ``tensor`` gives the head's depths [N, 1, h, w], ``loss`` a dictionary of scalars, ``predict`` data
                samples with ``pred_depth_map``.

        Raises:
            ValueError: If ``mode`` is another word, or the samples are missing.
        """
        if mode == "tensor":
            return self.decode_head(self.extract_feat(inputs))
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode != "loss":
            raise ValueError(f"mode must be tensor, loss or predict, got {mode!r}")
        if data_samples is None:
            raise ValueError("mode 'loss' needs data_samples")
        return self.decode_head.loss(self.extract_feat(inputs), data_samples)

    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> list[DataSample]:
        """Measure every pixel of the original images.

        Args:
            inputs: [N, 3, H, W].
            data_samples: N of them with ``img_shape`` (the rest of H x W is padding), ``ori_shape`` and ``focal``; each
                is optional.

        Returns:
            The samples with ``pred_depth_map`` [1, h, w] in metres, in the size ``ori_shape``.
        """
        depths = self.decode_head.predict(self.extract_feat(inputs), inputs.shape[-2:], data_samples)
        samples = data_samples or [DataSample() for _ in range(len(inputs))]
        for sample, depth in zip(samples, depths, strict=True):
            height, width = sample.get("img_shape", inputs.shape[-2:])[:2]
            size = sample.get("ori_shape", (height, width))[:2]
            sample.pred_depth_map = PixelData(data=resize(depth[None, :, :height, :width], size)[0])
        return samples
