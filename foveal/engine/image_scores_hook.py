"""Scores image by image: a mean hides the one image that went wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook

from foveal.engine.checkpoint import replacing
from foveal.registry import HOOKS


@HOOKS.register_module()
class ImageScoresHook(Hook):
    """After a test, log the score of each image and the mean, and write both to ``scores.json`` and ``scores.csv``.

    The files lie in the run's folder. Metrics that score single images have ``key`` and ``scores`` (`PSNR`, `SSIM`); of
    others nothing is written.
    """

    @master_only
    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Log and write what the metrics have counted."""
        columns = {
            metric.key: metric.scores
            for metric in runner.test_loop.evaluator.metrics
            if getattr(metric, "scores", None) and hasattr(metric, "key")
        }
        if not columns:
            return
        images = list(next(iter(columns.values())))
        rows = [{"image": image, **{key: scores[image] for key, scores in columns.items()}} for image in images]
        mean = {key: sum(scores.values()) / len(scores) for key, scores in columns.items()}
        runner.logger.info("scores of each image\n" + table([*rows, {"image": "mean", **mean}]))
        folder = Path(runner.work_dir)
        with replacing(folder / "scores.json") as temporary:
            Path(temporary).write_text(json.dumps({"images": rows, "mean": mean}, indent=1) + "\n")
        with replacing(folder / "scores.csv") as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, ["image", *columns])
            writer.writeheader()
            writer.writerows([*rows, {"image": "mean", **mean}])
        runner.logger.info(f"scores written: {folder / 'scores.json'}, {folder / 'scores.csv'}")


def table(rows: list[dict[str, Any]]) -> str:
    """Lay out rows of one name and some numbers, the file's name only.

    Args:
        rows: Each with ``image`` and the same other keys.
    """
    names = [Path(row["image"]).name for row in rows]
    width = max(map(len, [*names, "image"]))
    keys = [key for key in rows[0] if key != "image"]
    lines = ["image".ljust(width) + "".join(f"{key:>12}" for key in keys)]
    for name, row in zip(names, rows, strict=True):
        lines.append(name.ljust(width) + "".join(f"{row[key]:12.4f}" for key in keys))
    return "\n".join(lines)
