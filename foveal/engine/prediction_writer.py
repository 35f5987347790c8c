"""Predictions to files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook

from foveal.engine.checkpoint import replacing
from foveal.errors import ConfigError
from foveal.evaluation import detections_to_json
from foveal.registry import HOOKS
from foveal.structures import DataSample


@HOOKS.register_module()
class PredictionWriterHook(Hook):
    """Write the predictions of a test run (``tools/test.py --out``).

    Args:
        out: A ``.json`` file for detections (COCO's result format) and labels, else a folder for one PNG an image.
    """

    def __init__(self, out: str) -> None:
        self.writer = PredictionWriter(out)

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Take a batch's predictions."""
        dataset = runner.test_dataloader.dataset
        self.writer.add(outputs or [], getattr(dataset, "cat_ids", None))

    def after_test(self, runner: Any) -> None:
        """Write the file."""
        runner.logger.info(f"predictions written: {self.writer.close()}")


class PredictionWriter:
    """Collects predictions of any task and writes them.

    Args:
        out: A ``.json`` file, or a folder.

    Raises:
        ConfigError: If ``out`` has another suffix than .json and is no folder name.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        if self.out.suffix not in ("", ".json"):
            raise ConfigError(f"--out {out}: expected a .json file or a folder, got the suffix {self.out.suffix!r}")
        self.records: list[dict[str, Any]] = []
        self.pictures = 0

    def add(self, samples: Sequence[DataSample], cat_ids: Sequence[int] | None = None) -> None:
        """Take predictions.

        Args:
            samples: With ``pred_instances``, ``pred_sem_seg``, ``pred_img`` or ``pred_label``.
            cat_ids: The annotation file's category id of each label; default: label + 1.
        """
        for sample in samples:
            self.records_of(sample, cat_ids)
            if "pred_sem_seg" in sample:
                self._picture(sample, sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8))
            if "pred_img" in sample:
                image = (sample.pred_img.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
                self._picture(sample, np.ascontiguousarray(image[:, :, ::-1]))

    def records_of(self, sample: DataSample, cat_ids: Sequence[int] | None = None) -> None:
        """Take what goes into a JSON file; arguments as for `add`."""
        if "pred_instances" in sample:
            labels = sample.pred_instances.labels
            ids = cat_ids if cat_ids is not None else range(1, int(labels.max()) + 2 if len(labels) else 1)
            self.records += detections_to_json([sample.to_dict()], list(ids))
        if "pred_label" in sample:
            score = float(sample.pred_score.max())
            self.records.append(
                {"image": sample.get("img_path"), "label": int(sample.pred_label.max()), "score": score}
            )

    def close(self) -> str:
        """Write what was collected; return a sentence that says what and where."""
        if self.pictures and not self.records:
            return f"{self.pictures} pictures in {self.out}"
        path = self.out if self.out.suffix else self.out / "predictions.json"
        with replacing(path) as temporary:
            Path(temporary).write_text(json.dumps(self.records))
        return f"{len(self.records)} predictions in {path}"

    def _picture(self, sample: DataSample, image: np.ndarray) -> None:
        if self.out.suffix:
            raise ConfigError(f"--out {self.out}: this task writes pictures, give a folder")
        name = Path(sample.get("img_path") or f"{self.pictures:06d}").stem
        self.out.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(self.out / f"{name}.png"), image)
        self.pictures += 1
