"""DepthMetric: errors of depth maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from foveal.errors import ConfigError, DataError
from foveal.evaluation.table import render_table
from foveal.registry import METRICS

DEPTH_METRICS = ("d1", "d2", "d3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog")
_NYU_CROP = [[45, 471], [41, 601]]
_GARG_CROP = ((0.40810811, 0.99189189), (0.03594771, 0.96405229))


@METRICS.register_module()
class DepthMetric(BaseMetric):
    """The scores of Eigen et al. (NeurIPS 2014, arXiv:1406.2283), the mean over images of each; mmseg's names.

    ``d1``, ``d2``, ``d3`` are the shares of pixels that are wrong by a factor below 1.25, 1.25² and 1.25³.

    Args:
        depth_metrics: Some of `DEPTH_METRICS`. None: all.
        min_depth_eval: Depths in metres up to this do not count.
        max_depth_eval: Depths from this on do not count.
        crop_type: ``nyu_crop`` counts only the part of 480 x 640 pixels that NYU's sensor covers, ``garg_crop`` the
            part of KITTI's images that Garg et al. (arXiv:1603.04992) count; both are places in the whole image, which
            `DepthCrop` may have cut before.
        collect_device: Where the results of several processes meet: ``cpu`` or ``gpu``.
        prefix: First part of the names of the results. None: none.

    Raises:
        ConfigError: If a name is unknown.
    """

    def __init__(
        self,
        depth_metrics: Sequence[str] | None = None,
        min_depth_eval: float = 0.0,
        max_depth_eval: float = float("inf"),
        crop_type: str | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = DEPTH_METRICS if depth_metrics is None else tuple(depth_metrics)
        wrong = [name for name in self.metrics if name not in DEPTH_METRICS]
        if wrong:
            raise ConfigError(f"DepthMetric: depth_metrics are some of {', '.join(DEPTH_METRICS)}, got {wrong}")
        if crop_type not in (None, "nyu_crop", "garg_crop"):
            raise ConfigError(f"DepthMetric: crop_type is 'nyu_crop', 'garg_crop' or None, got {crop_type!r}")
        self.min_depth_eval = min_depth_eval
        self.max_depth_eval = max_depth_eval
        self.crop_type = crop_type

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Score the images of a batch.

        Args:
            data_batch: Not used.
            data_samples: Samples as dicts with ``pred_depth_map`` and ``gt_depth_map``, ``data`` [1, H, W] in metres.

        Raises:
            DataError: If the two sizes differ, or no pixel of the truth counts.
        """
        for sample in data_samples:
            pred, gt = (sample[key]["data"].squeeze(0) for key in ("pred_depth_map", "gt_depth_map"))
            name = sample.get("img_path", "an image")
            if pred.shape != gt.shape:
                raise DataError(f"{name}: the truth is {tuple(gt.shape)}, the prediction {tuple(pred.shape)} (h, w)")
            gt = gt.to(pred)
            counted = (gt > self.min_depth_eval) & (gt < self.max_depth_eval)
            if self.crop_type is not None:
                inside = torch.zeros_like(counted)
                inside[self._window(sample.get("full_shape", gt.shape), sample.get("crop_offset", (0, 0)))] = True
                counted &= inside
            if not counted.any():
                raise DataError(f"{name}: no pixel has a depth between {self.min_depth_eval} and {self.max_depth_eval}")
            self.results.append(depth_scores(pred[counted], gt[counted]))

    def _window(self, shape: Sequence[int], offset: Sequence[int]) -> tuple[slice, slice]:
        """What counts of an image of ``shape`` (h, w), of which the rows and columns before ``offset`` are cut off."""
        if self.crop_type == "nyu_crop":
            edges = _NYU_CROP
        else:
            edges = [
                [int(share * length) for share in limits] for limits, length in zip(_GARG_CROP, shape, strict=True)
            ]
        rows, columns = (slice(*(max(edge - cut, 0) for edge in pair)) for pair, cut in zip(edges, offset, strict=True))
        return rows, columns

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """Return the means.

        Args:
            results: The scores of each image.
        """
        scores = {name: sum(result[name] for result in results) / len(results) for name in self.metrics}
        rows: list[Sequence[str | float]] = [[name, value] for name, value in scores.items()]
        MMLogger.get_current_instance().info(
            f"depth of {len(results)} images:\n" + render_table(["score", "mean"], rows, digits=4)
        )
        return scores


def depth_scores(pred: Tensor, gt: Tensor) -> dict[str, float]:
    """Return all of `DEPTH_METRICS` for the pixels of one image.

    Args:
        pred: Positive depths in metres [P].
        gt: The same.
    """
    factor = torch.maximum(gt / pred, pred / gt)
    error, log_error = pred - gt, pred.log() - gt.log()
    scores = {f"d{i}": (factor < 1.25**i).float().mean() for i in (1, 2, 3)}
    scores["abs_rel"] = (error.abs() / gt).mean()
    scores["sq_rel"] = (error.square() / gt).mean()
    scores["rmse"] = error.square().mean().sqrt()
    scores["rmse_log"] = log_error.square().mean().sqrt()
    scores["log10"] = (pred.log10() - gt.log10()).abs().mean()
    scores["silog"] = (log_error.square().mean() - 0.5 * log_error.mean().square()).clamp(min=0).sqrt()
    return {name: float(value) for name, value in scores.items()}
