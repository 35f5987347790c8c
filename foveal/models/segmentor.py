"""EncoderDecoder: semantic segmentation, on the whole image or in sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from foveal.errors import ConfigError
from foveal.heads.segmentation.decode_head import resize
from foveal.models.build import Node, build_backbone_and_neck, build_data_preprocessor, build_head
from foveal.registry import MODELS
from foveal.structures import DataSample

Options = dict[str, Any]


@MODELS.register_module()
class EncoderDecoder(BaseModel):
    """A backbone, perhaps a neck, and a head that labels every pixel; auxiliary heads help while training.

    Args:
        backbone: Config of the backbone.
        decode_head: Config of the head; ``in_channels`` may be left out.
        neck: Config of the neck.
        auxiliary_head: Config of a head that only adds a loss, or a list of them.
        train_cfg: Taken for mmseg's configs; nothing reads it.
        test_cfg: ``mode`` is ``whole`` (default) or ``slide``; the latter needs ``crop_size`` (h, w) and ``stride``
            (h, w), at most the crop. ``window_batch`` (default 4) windows run at once. ``strip_rows``, for ``whole``:
            enlarge and argmax this many rows of an image at a time and keep no ``seg_logits``, which at 1024 x 2048
            with 150 classes are 1.2 GiB.
        data_preprocessor: Config of it.
        pretrained: Checkpoint of the backbone, for a backbone without ``init_cfg``.
        init_cfg: mmengine's initialisation.

    Raises:
        ConfigError: If ``test_cfg`` or ``pretrained`` cannot be used.

    Source: ``encoder_decoder.py`` of open-mmlab/mmsegmentation.
    """

    def __init__(
        self,
        backbone: Node,
        decode_head: Node,
        neck: Node | None = None,
        auxiliary_head: Node | Sequence[Node] | None = None,
        train_cfg: Options | None = None,
        test_cfg: Options | None = None,
        data_preprocessor: Node | None = None,
        pretrained: str | None = None,
        init_cfg: Options | list[Options] | None = None,
    ) -> None:
        super().__init__(build_data_preprocessor(data_preprocessor), init_cfg)
        if pretrained is not None:
            backbone = _with_pretrained(backbone, pretrained)
        self.backbone, self.neck = build_backbone_and_neck(backbone, neck)
        feeder = self.backbone if self.neck is None else self.neck
        self.decode_head: Any = build_head(decode_head, feeder)
        if auxiliary_head is None or isinstance(auxiliary_head, dict | nn.Module):
            self.auxiliary_head: Any = None if auxiliary_head is None else build_head(auxiliary_head, feeder)
        else:
            self.auxiliary_head = nn.ModuleList(build_head(head, feeder) for head in auxiliary_head)
        self.test_cfg = _checked({"mode": "whole", "window_batch": 4, "strip_rows": None, **(test_cfg or {})})

    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = "tensor") -> Any:
        """Run the network.

        Args:
            inputs: Normalised images [N, 3, H, W].
            data_samples: N of them; needed for ``loss``.
            mode: ``tensor`` gives the head's logits [N, K, h, w], ``loss`` a dictionary of scalars, ``predict`` data
                samples with ``seg_logits`` and ``pred_sem_seg``.

        Raises:
            ValueError: If ``mode`` is another word.
        """
        if mode == "loss":
            return self.loss(inputs, data_samples or [])
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode == "tensor":
            return self.decode_head(self.extract_feat(inputs))
        raise ValueError(f"mode must be tensor, loss or predict, got {mode!r}")

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps that the heads read, finest first."""
        feats = self.backbone(inputs)
        return feats if self.neck is None else self.neck(feats)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return the losses and accuracies with the prefixes ``decode.`` and ``aux.`` (``aux_0.``, … for several).

        Args:
            inputs: [N, 3, H, W].
            data_samples: N of them with ``gt_sem_seg`` [1, H, W].
        """
        feats = self.extract_feat(inputs)
        heads = {"decode": self.decode_head}
        if isinstance(self.auxiliary_head, nn.ModuleList):
            heads |= {f"aux_{i}": head for i, head in enumerate(self.auxiliary_head)}
        elif self.auxiliary_head is not None:
            heads["aux"] = self.auxiliary_head
        return {
            f"{prefix}.{name}": value
            for prefix, head in heads.items()
            for name, value in head.loss(feats, data_samples).items()
        }

    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> list[DataSample]:
        """Label every pixel of the original images.

        Args:
            inputs: [N, 3, H, W].
            data_samples: N of them with ``img_shape`` (the rest of H x W is padding), ``ori_shape``, ``flip``; each is
                optional.

        Returns:
            The data samples with ``seg_logits`` [K, h, w] and ``pred_sem_seg`` [1, h, w] in the size ``ori_shape``.
            A head with one channel gives probabilities for logits.
        """
        slide = self.test_cfg["mode"] == "slide"
        if self.test_cfg["strip_rows"] is not None:
            return self._predict_in_strips(inputs, data_samples)
        logits = self.slide_inference(inputs) if slide else self.encode_decode(inputs)
        samples = data_samples or [DataSample() for _ in range(len(inputs))]
        for sample, values in zip(samples, logits, strict=True):
            self._finish(sample, values)
        return samples

    def encode_decode(self, inputs: Tensor) -> Tensor:
        """Return logits [N, K, H, W] in the size of ``inputs`` [N, 3, H, W]."""
        return self.decode_head.predict(self.extract_feat(inputs), inputs.shape[-2:])

    def slide_inference(self, inputs: Tensor) -> Tensor:
        """Average the logits of overlapping windows; the last window of a row or column ends at the image's border.

        Args:
            inputs: [N, 3, H, W]. Where it is smaller than the crop, the window is as small.

        Returns:
            [N, K, H, W].
        """
        size = inputs.shape[-2:]
        crop = [min(c, s) for c, s in zip(self.test_cfg["crop_size"], size, strict=True)]
        rows, columns = (
            window_starts(*each) for each in zip(size, self.test_cfg["crop_size"], self.test_cfg["stride"], strict=True)
        )
        corners = [(y, x) for y in rows for x in columns]
        total = inputs.new_zeros(len(inputs), self.decode_head.out_channels, *size)
        step = self.test_cfg["window_batch"]
        for group in (corners[i : i + step] for i in range(0, len(corners), step)):
            windows = torch.cat([inputs[..., y : y + crop[0], x : x + crop[1]] for y, x in group])
            for (y, x), values in zip(group, self.encode_decode(windows).split(len(inputs)), strict=True):
                total[..., y : y + crop[0], x : x + crop[1]] += values
        counts = [_cover(length, starts, c) for length, starts, c in zip(size, (rows, columns), crop, strict=True)]
        return total / torch.outer(*counts).to(total)

    def _predict_in_strips(self, inputs: Tensor, data_samples: list[DataSample] | None) -> list[DataSample]:
        """`predict` without the logits of a whole image: labels only, a few rows at a time."""
        small = self.decode_head(self.extract_feat(inputs))
        if not isinstance(small, Tensor):
            name = type(self.decode_head).__name__
            raise ConfigError(f"EncoderDecoder.test_cfg.strip_rows needs logits of pixels, which {name} does not give")
        samples = data_samples or [DataSample() for _ in range(len(inputs))]
        align, step = self.decode_head.align_corners, self.test_cfg["strip_rows"]
        for sample, logits in zip(samples, small, strict=True):
            if sample.get("flip"):
                raise ConfigError(
                    "EncoderDecoder.test_cfg.strip_rows does not undo flips, which are averaged as logits"
                )
            height, width = sample.get("img_shape", inputs.shape[-2:])[:2]
            size = sample.get("ori_shape", (height, width))[:2]
            strips = []
            for start in range(0, size[0], step):
                rows = range(start, min(start + step, size[0]))
                low, high, share = _neighbours(rows, height, size[0], align)
                between = range(int(low[0]), int(high[-1]) + 1)
                strip = _resized_rows(logits, between, inputs.shape[-2:], align)[..., :width]
                share = share.to(strip)[:, None]
                low, high = (index.to(strip.device) - between[0] for index in (low, high))
                strip = strip[:, low] * (1 - share) + strip[:, high] * share
                strip = resize(strip[None], (len(rows), size[1]), align)[0]
                if len(strip) == 1:
                    strips.append((strip.sigmoid() > self.decode_head.threshold).long())
                else:
                    strips.append(strip.argmax(0, keepdim=True))
            sample.pred_sem_seg = PixelData(data=torch.cat(strips, dim=1))
        return samples

    def _finish(self, sample: DataSample, logits: Tensor) -> None:
        """Cut the padding off [K, H, W], undo the flip, resize to the original image, choose the classes."""
        height, width = sample.get("img_shape", logits.shape[-2:])[:2]
        logits = logits[:, :height, :width]
        if sample.get("flip"):
            direction = sample.get("flip_direction") or "horizontal"
            dims = {"horizontal": (2,), "vertical": (1,), "diagonal": (1, 2)}[direction]
            logits = logits.flip(dims)
        size = sample.get("ori_shape", (height, width))[:2]
        logits = resize(logits[None], size, self.decode_head.align_corners)[0]
        if len(logits) == 1:
            logits = logits.sigmoid()
            labels = (logits > self.decode_head.threshold).long()
        else:
            labels = logits.argmax(0, keepdim=True)
        sample.seg_logits = PixelData(data=logits)
        sample.pred_sem_seg = PixelData(data=labels)


def window_starts(length: int, crop: int, stride: int) -> list[int]:
    """Return where windows of ``crop`` start along ``length`` pixels, ``stride`` apart, the last one at the end."""
    last = max(length - crop, 0)
    return [*range(0, last, stride), last]


def _neighbours(rows: range, source: int, target: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Between which of ``source`` rows each of some of ``target`` rows lies, and how near to the second."""
    place = torch.arange(rows.start, rows.stop, dtype=torch.float64)
    if align_corners:
        place = place * ((source - 1) / max(target - 1, 1))
    else:
        place = ((place + 0.5) * (source / target) - 0.5).clamp(min=0)
    low = place.long().clamp(max=source - 1)
    return low, (low + 1).clamp(max=source - 1), place - low


def _resized_rows(x: Tensor, rows: range, size: Sequence[int], align_corners: bool) -> Tensor:
    """Some rows of [K, h, w] resized bilinearly to [K, *size]."""
    low, high, share = _neighbours(rows, x.shape[1], size[0], align_corners)
    share = share.to(x)[:, None]
    slab = x[:, low.to(x.device)] * (1 - share) + x[:, high.to(x.device)] * share
    return resize(slab[None], (len(rows), size[1]), align_corners)[0]


def _cover(length: int, starts: Sequence[int], crop: int) -> Tensor:
    """How many windows lie over each pixel of a row."""
    count = torch.zeros(length)
    for start in starts:
        count[start : start + crop] += 1
    return count


def _with_pretrained(backbone: Node, checkpoint: str) -> Options:
    if isinstance(backbone, nn.Module) or backbone.get("init_cfg") is not None:
        raise ConfigError(f"EncoderDecoder.pretrained ({checkpoint}) needs a backbone config without init_cfg")
    return {**backbone, "init_cfg": {"type": "Pretrained", "checkpoint": checkpoint}}


def _checked(test_cfg: Options) -> Options:
    if test_cfg["mode"] not in ("whole", "slide"):
        raise ConfigError(f"EncoderDecoder.test_cfg.mode must be whole or slide, got {test_cfg['mode']!r}")
    if test_cfg["strip_rows"] is not None and (test_cfg["mode"] == "slide" or test_cfg["strip_rows"] < 1):
        raise ConfigError("EncoderDecoder.test_cfg.strip_rows must be at least 1, and goes with mode whole only")
    if test_cfg["mode"] == "slide":
        for key in ("crop_size", "stride"):
            if len(test_cfg.get(key) or ()) != 2:
                raise ConfigError(f"EncoderDecoder.test_cfg.{key} must be (h, w) for mode slide")
        crop, stride = test_cfg["crop_size"], test_cfg["stride"]
        if not all(0 < s <= c for s, c in zip(stride, crop, strict=True)):
            raise ConfigError(f"EncoderDecoder.test_cfg.stride {stride} must be from 1 to crop_size {crop}")
    return test_cfg
