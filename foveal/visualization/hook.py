"""VisualizationHook: ground truth beside prediction, one picture file for each image of a validation or test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from foveal.errors import ConfigError
from foveal.registry import HOOKS
from foveal.structures import DataSample
from foveal.visualization.sample import compare_sample


@HOOKS.register_module(["VisualizationHook", "DetVisualizationHook", "SegVisualizationHook"])
class VisualizationHook(Hook):
    """Write pictures while validating or testing; mmdet's and mmseg's names are the same hook.

    Files are named after the image. A validation overwrites the pictures of the one before. Boxes are drawn as they
    are, so the test pipeline loads annotations after its resize, see `foveal.visualization.sample.draw_sample`.

    Args:
        draw: False: the hook does nothing.
        interval: Draw every so many images.
        show_dir: Folder of the pictures. None: ``<log folder of the run>/pictures``.
        score_thr: Predicted instances with a lower score are left out.

    Raises:
        ConfigError: If ``interval`` is below 1.
    """

    def __init__(
        self, draw: bool = False, interval: int = 1, show_dir: str | None = None, score_thr: float = 0.3
    ) -> None:
        if interval < 1:
            raise ConfigError(f"VisualizationHook: interval must be at least 1, got {interval}")
        self.draw = draw
        self.interval = interval
        self.show_dir = show_dir
        self.score_thr = score_thr
        self._seen = 0
        self._names: dict[str, str] = {}

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin to count anew."""
        self._seen = 0

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin to count anew."""
        self._seen = 0

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[DataSample] | None = None
    ) -> None:
        """Draw the samples of a validation batch.

        Args:
            runner: The run.
            batch_idx: Not used.
            data_batch: What the data loader gave; ``inputs`` are uint8 [3, H, W], BGR.
            outputs: The samples with predictions.
        """
        self._draw_batch(runner, data_batch, outputs, runner.val_dataloader.dataset.metainfo)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[DataSample] | None = None
    ) -> None:
        """Draw the samples of a test batch; arguments as in `after_val_iter`."""
        self._draw_batch(runner, data_batch, outputs, runner.test_dataloader.dataset.metainfo)

    def _draw_batch(
        self, runner: Runner, data_batch: Any, outputs: Sequence[DataSample] | None, dataset_meta: dict[str, Any]
    ) -> None:
        if not self.draw:
            return
        folder = Path(self.show_dir) if self.show_dir is not None else Path(runner.log_dir, "pictures")
        for index, sample in enumerate(outputs or []):
            self._seen += 1
            if (self._seen - 1) % self.interval:
                continue
            image = source_image(sample, data_batch["inputs"][index])
            picture = compare_sample(image, sample, dataset_meta, self.score_thr)
            write_image(folder / self._file_name(sample), picture)

    def _file_name(self, sample: DataSample) -> str:
        """Return the image's own name; where two folders have the same, with the folder's name before it."""
        path = Path(str(sample.get("img_path", f"image_{self._seen - 1:06d}")))
        if self._names.setdefault(path.stem, str(path)) != str(path):
            return f"{path.parent.name}_{path.stem}.png"
        return f"{path.stem}.png"


def source_image(sample: DataSample, network_input: torch.Tensor) -> np.ndarray:
    """Return the picture to draw on, RGB uint8 [H, W, 3].

    The original file, where it can be read; the low-quality image itself for restoration, since it may have been
    made on the fly.

    Args:
        sample: With ``img_path``.
        network_input: [3, H, W], BGR, or [1, H, W], in [0, 255]; colour distortion leaves floats, also beyond.
    """
    if "pred_img" not in sample and sample.get("img_path"):
        image = cv2.imread(str(sample.img_path), cv2.IMREAD_COLOR)
        if image is not None:
            return np.ascontiguousarray(image[..., ::-1])
    pixels = network_input.float().clamp(0, 255).round().byte().cpu().numpy()[::-1].transpose(1, 2, 0)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an RGB uint8 picture; its folder is made. OpenCV's imwrite fails without a word, so bytes are written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(path.suffix, np.ascontiguousarray(image[..., ::-1]))
    path.write_bytes(encoded.tobytes())
