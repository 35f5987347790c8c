"""What is exported of a model: a function from images to named tensors, without data samples and modes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from foveal.errors import ConfigError, ExportError
from foveal.models.mask2former import Mask2Former
from foveal.models.restorer import Restorer
from foveal.models.two_stage import TwoStageDetector
from foveal.structures import DataSample


class ExportGraph(nn.Module):
    """A model as a function of one tensor.

    Args:
        model: Of any task, from `foveal.init_model` or the ``create_…`` functions. It is put into eval mode and its
            re-parameterised branches are merged, in place.
        postprocess: True: the outputs are final results, in pixels of the input. False: what the head's last layers
            give.
        half: Compute in float16 within; images and results stay float32.

    Shape:
        ``images`` float [N, C, H, W], normalised as ``model.data_preprocessor`` does. Results, by task:

        ==================  =========================================================================================
        classification      ``scores`` [N, K], their sum 1
        detection           ``bboxes`` [N, M, 4], ``scores`` [N, M], ``labels`` int64 [N, M], where there are masks
                            ``masks`` bool [N, M, H, W]; M is ``max_per_img``, best first, and where there are fewer
                            detections, the last have the score 0 and the label -1
        segmentation        ``labels`` int64 [N, H, W]
        panoptic            ``class_logits`` [N, Q, K + 1] and ``mask_logits`` [N, Q, H, W] of the queries
        restoration         ``restored`` [N, C, H * scale, W * scale] in [0, 1]
        depth               ``depth`` [N, 1, H, W] in metres
        ==================  =========================================================================================

        Without ``postprocess``: ``output_0``, … in the order of ``model(images, mode='tensor')``.

    Raises:
        ExportError: If it is no model of ours.
        ConfigError: If a two-stage detector is to be without post-processing: its first stage's is part of it.
    """

    def __init__(self, model: nn.Module, postprocess: bool = True, half: bool = False) -> None:
        super().__init__()
        if not isinstance(model, BaseModel):
            raise ExportError(
                "a whole model is exported, of init_model, create_classifier or create_restorer; "
                f"{type(model).__name__} is a part of one, or another library's"
            )
        if isinstance(model, TwoStageDetector) and not postprocess:
            raise ConfigError(
                f"{type(model).__name__} has two stages, and between them proposals are suppressed: it cannot be "
                "exported without post-processing"
            )
        fuse: Any = getattr(model, "switch_to_deploy", None) or getattr(
            getattr(model, "backbone", None), "switch_to_deploy", None
        )
        if fuse is not None:
            fuse()
        if half:
            _halve(model)
        self.model: Any = model.eval().requires_grad_(False)
        self.postprocess = postprocess
        self.half_precision = half
        self.names: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, in the order of ``names``, which this sets."""
        found = self.named(images)
        self.names = tuple(found)
        return tuple(found.values())

    def named(self, images: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name."""
        x = images.half() if self.half_precision else images
        found = self._results(x) if self.postprocess else dict(_numbered(self.model(x)))
        return {name: y.float() if y.is_floating_point() else y for name, y in found.items()}

    def _results(self, images: Tensor) -> dict[str, Tensor]:
        model: Any = self.model
        if isinstance(model, Restorer):
            return {"restored": model(images).clamp(0, 1)}
        if isinstance(model, Mask2Former):
            logits = model.panoptic_head.predict_masks(model.extract_feat(images), images.shape[-2:])
            return dict(zip(("class_logits", "mask_logits"), logits, strict=True))
        return _stacked(model(images, _samples(images), mode="predict"))


def _halve(model: Any) -> None:
    """Make a model's weights float16, but not the numbers that images are normalised with, which are no part of it."""
    kept = {name: value.clone() for name, value in model.data_preprocessor.named_buffers()}
    model.half()
    model.data_preprocessor.float()
    for name, value in kept.items():
        model.data_preprocessor.get_buffer(name).copy_(value)


def _samples(images: Tensor) -> list[DataSample]:
    """Samples of images that fill the batch and were not resized."""
    height, width = images.shape[-2:]
    meta = {"img_shape": (height, width), "ori_shape": (height, width), "scale_factor": (1.0, 1.0)}
    meta |= {"pad_shape": (height, width), "batch_input_shape": (height, width)}
    samples = [DataSample() for _ in range(images.shape[0])]
    for sample in samples:
        for name, value in meta.items():
            # not by set_metainfo, which copies: a size may be a symbol of the graph
            sample.set_field(value, name, field_type="metainfo")
    return samples


def _stacked(samples: list[Any]) -> dict[str, Tensor]:
    """The predictions of a batch as tensors."""
    if "pred_sem_seg" in samples[0]:
        return {"labels": torch.cat([sample.pred_sem_seg.data for sample in samples])}
    if "pred_depth_map" in samples[0]:
        return {"depth": torch.stack([sample.pred_depth_map.data for sample in samples])}
    if "pred_score" in samples[0]:
        return {"scores": torch.stack([sample.pred_score for sample in samples])}
    fields = ("bboxes", "scores", "labels", "masks")
    found = {
        name: torch.stack([sample.pred_instances[name] for sample in samples])
        for name in fields
        if name in samples[0].pred_instances
    }
    found["labels"] = torch.where(found["scores"] > 0, found["labels"], -1)
    return found


def _numbered(outputs: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested lists, tuples and dicts, in order."""
    return ((f"output_{i}", x) for i, x in enumerate(_tensors(outputs)))


def _tensors(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, dict):
        for value in outputs.values():
            yield from _tensors(value)
    elif isinstance(outputs, list | tuple):
        for value in outputs:
            yield from _tensors(value)
    elif hasattr(outputs, "__dict__"):
        yield from _tensors(vars(outputs))
