"""Restorer: super-resolution, denoising and other image-to-image tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from foveal.errors import ConfigError, DataError
from foveal.models.build import Node, build_backbone_and_neck, build_data_preprocessor, build_head
from foveal.models.restoration.image import pad_to_multiple
from foveal.models.tiling import check_tiles, restore_in_tiles, self_ensemble
from foveal.registry import MODELS, accepted_arguments, lookup
from foveal.structures import DataSample

Options = dict[str, Any]

_UNIT_RGB = {"type": "DataPreprocessor", "mean": [0.0] * 3, "std": [255.0] * 3, "bgr_to_rgb": True}
_L1 = {"type": "L1Loss"}
_TEST_CFG: Options = {"tile": None, "tile_overlap": 32, "self_ensemble": False}


@MODELS.register_module()
class Restorer(BaseModel):
    """A network that makes an image ``scale`` times as large: a whole one, or a backbone, perhaps a neck, and a head.

    Args:
        generator: Config of a whole network, image to image, such as `CFSR`; it has ``scale``. Its key names are
            those of the official release: a file of that release is loaded as it is, one of ours has ``generator.``
            before each name.
        backbone: Config of the backbone, where there is no generator.
        head: Config of the head on it; ``in_channels`` may be left out.
        neck: Config of the neck between.
        pixel_loss: Config of the loss between restored and sharp image, both in [0, 1].
        upsample_residual: The head makes only what is added to the input, enlarged by repeating its pixels (ABPN,
            arXiv:2105.09750). A small network then starts near bicubic quality and trains in a fraction of the time.
        test_cfg: How `restore` and ``predict`` work: ``tile``, the side of the tiles that an image is cut into (None:
            it is not), ``tile_overlap``, the pixels that they share (default 32), and ``self_ensemble``, the average
            over the eight flips and turns.
        data_preprocessor: Config of it. None: RGB in [0, 1].
        init_cfg: mmengine's initialisation.

    Raises:
        ConfigError: If there is neither a generator nor a backbone with a head, or both, or ``test_cfg`` is wrong.
    """

    def __init__(
        self,
        generator: Node | None = None,
        backbone: Node | None = None,
        head: Node | None = None,
        neck: Node | None = None,
        pixel_loss: Node = _L1,
        upsample_residual: bool = False,
        test_cfg: Options | None = None,
        data_preprocessor: Node | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(build_data_preprocessor(data_preprocessor or _UNIT_RGB), init_cfg)
        self.generator: Any = None
        if generator is not None and backbone is head is neck is None:
            self.generator = generator if isinstance(generator, nn.Module) else MODELS.build(generator)
        elif generator is None and backbone is not None and head is not None:
            self.backbone, self.neck = build_backbone_and_neck(backbone, neck)
            feeder: Any = self.backbone if self.neck is None else self.neck
            encoder: Any = self.backbone
            strides = getattr(feeder, "out_strides", encoder.out_strides[: len(feeder.out_channels)])
            self.head: Any = build_head(_with_strides(head, strides), feeder)
        else:
            raise ConfigError("Restorer takes either a generator, or a backbone and a head with perhaps a neck between")
        self.upsample_residual = upsample_residual
        self.test_cfg = {**_TEST_CFG, **(test_cfg or {})}
        if set(self.test_cfg) != set(_TEST_CFG):
            wrong = sorted(set(self.test_cfg) - set(_TEST_CFG))
            raise ConfigError(f"Restorer.test_cfg has no key {wrong[0]!r}; it has {', '.join(_TEST_CFG)}")
        check_tiles(self.test_cfg["tile"], self.test_cfg["tile_overlap"])
        self.pixel_loss = MODELS.build(pixel_loss)

    @property
    def scale(self) -> int:
        """Size of the output divided by that of the input."""
        return self.head.scale if self.generator is None else self.generator.scale

    def switch_to_deploy(self) -> None:
        """Merge the branches of the generator or backbone in place, where it has any to merge."""
        network = self.backbone if self.generator is None else self.generator
        merge: Any = getattr(network, "switch_to_deploy", None)
        if merge is not None:
            merge()

    def convert_state_dict(self, state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return a state dict under our names: an official file of the generator gets its prefix."""
        if self.generator is None or any(key.startswith("generator.") for key in state_dict):
            return state_dict
        if hasattr(self.generator, "convert_state_dict"):
            state_dict = self.generator.convert_state_dict(state_dict)
        return {f"generator.{key}": value for key, value in state_dict.items()}

    def explain_misfit(self, state_dict: Mapping[str, Tensor]) -> str | None:
        """Say why a state dict under our names does not fit, such as another scale; None where that is not known."""
        name, part = ("head.", self.head) if self.generator is None else ("generator.", self.generator)
        if not hasattr(part, "explain_misfit"):
            return None
        return part.explain_misfit({k.removeprefix(name): v for k, v in state_dict.items() if k.startswith(name)})

    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = "tensor") -> Any:
        """Run the network.

        Args:
            inputs: Images [N, C, H, W] in [0, 1], RGB unless the network takes others.
            data_samples: N of them; needed for ``loss``.
            mode: ``tensor`` gives [N, C, H * scale, W * scale], ``loss`` a dictionary of scalars, ``predict`` data
                samples with ``pred_img``.

        Raises:
            ValueError: If ``mode`` is another word.
        """
        if mode == "loss":
            return self.loss(inputs, data_samples or [])
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode != "tensor":
            raise ValueError(f"mode must be tensor, loss or predict, got {mode!r}")
        if self.generator is not None:
            image = self.generator(inputs)
        else:
            height, width = inputs.shape[-2:]
            feats = self.backbone(pad_to_multiple(inputs, getattr(self.head, "multiple", 1)))
            image = self.head(feats if self.neck is None else self.neck(feats))
            image = image[..., : height * self.scale, : width * self.scale]
        return image + F.interpolate(inputs, scale_factor=float(self.scale)) if self.upsample_residual else image

    def loss(self, inputs: Tensor, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return ``loss_pixel`` of a batch.

        Args:
            inputs: [N, C, H, W].
            data_samples: N of them with ``gt_img`` uint8 [C, H * scale, W * scale].

        Raises:
            DataError: If a sharp image has another size.
        """
        height, width = (side * self.scale for side in inputs.shape[-2:])
        for i, sample in enumerate(data_samples):
            if tuple(sample.gt_img.shape[-2:]) != (height, width):
                raise DataError(
                    f"{sample.get('img_path') or f'sample {i}'}: the input is {inputs.shape[-2]} x {inputs.shape[-1]} "
                    f"(h x w), so at scale {self.scale} its sharp image must be {height} x {width}, got "
                    f"{sample.gt_img.shape[-2]} x {sample.gt_img.shape[-1]}; images of one batch need one size"
                )
        target = torch.stack([sample.gt_img for sample in data_samples]).to(inputs) / 255
        return {"loss_pixel": self.pixel_loss(self(inputs), target)}

    def restore(self, inputs: Tensor) -> Tensor:
        """Restore images in the way that ``test_cfg`` says.

        Args:
            inputs: [N, C, H, W].

        Returns:
            [N, C, H * scale, W * scale] in [0, 1].
        """
        tile, overlap = self.test_cfg["tile"], self.test_cfg["tile_overlap"]

        def run(x: Tensor) -> Tensor:
            return self(x) if tile is None else restore_in_tiles(self, x, self.scale, tile, overlap)

        return (self_ensemble(run, inputs) if self.test_cfg["self_ensemble"] else run(inputs)).clamp(0, 1)

    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> list[DataSample]:
        """Restore a batch.

        Args:
            inputs: [N, C, H, W].
            data_samples: N of them; where they have ``img_shape``, the rest of H x W is padding and is cut off.

        Returns:
            The data samples with ``pred_img`` float [C, h * scale, w * scale] in [0, 1].
        """
        samples = data_samples or [DataSample() for _ in range(len(inputs))]
        for sample, image in zip(samples, self.restore(inputs), strict=True):
            height, width = sample.get("img_shape", inputs.shape[-2:])[:2]
            sample.pred_img = image[:, : height * self.scale, : width * self.scale]
        return samples


def _with_strides(head: Node, strides: Sequence[int]) -> Node:
    """The head's config with the strides of the maps that it reads, where it takes them and the config has none."""
    if isinstance(head, nn.Module) or head.get("in_strides") is not None:
        return head
    kind = lookup(head["type"], MODELS) if isinstance(head["type"], str) else head["type"]
    if "in_strides" not in (accepted_arguments(kind) or ()):
        return head
    index = head.get("in_index")
    return {**head, "in_strides": [strides[i] for i in index] if index is not None else list(strides)}
