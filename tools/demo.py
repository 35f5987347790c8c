"""``make demo``: train, score and look at a detector, a segmentor and a super-resolver on this repository's pictures.

Leaves picture sheets, training curves and ``summary.json`` in ``work_dirs/demo``; every run starts afresh. The
detector and the segmentor are fitted to and scored on the same few photographs: that shows the machinery, not how
well they would do on others. The super-resolver is scored on photographs that it was not trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData, PixelData
from rich.console import Console
from rich.table import Table

from foveal.api import init_model
from foveal.config import load_config
from foveal.data.imresize import imresize
from foveal.engine.launch import test, train
from foveal.registry import DATASETS, METRICS
from foveal.structures import DataSample
from foveal.visualization import compare_sample, picture_sheet, plot_curves, write_image
from foveal.visualization.hook import source_image
from foveal.visualization.sample import rgb_image

ROOT = Path(__file__).resolve().parent.parent
QUICK = {
    "train_cfg.max_iters": 2,
    "train_cfg.val_interval": 2,
    "default_hooks.logger.interval": 1,
    "train_dataloader.batch_size": 2,
    "val_dataloader.dataset.indices": 2,
    "test_dataloader.dataset.indices": 2,
}

Data = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """A config and what is asked of it.

    Attributes:
        name: Of the config file and of what is written.
        metric: As people call it.
        key: As the evaluator calls it.
        unit: What the evaluator's number is divided by: 100 turns percent into a fraction.
        wanted: The least value; with ``over_baseline`` the least gain over the trivial predictor's.
        trivial: Puts the trivial prediction into every sample.
        trivial_is: In words.
        scored_on: Which photographs count.
        drawn: How many of them are in the picture sheet.
        columns: Of the picture sheet.
        remark: Added to its title.
        over_baseline: See ``wanted``.
    """

    name: str
    metric: str
    key: str
    unit: float
    wanted: float
    trivial: Callable[[Data], None]
    trivial_is: str
    scored_on: str = "its own few training photographs"
    drawn: int = 12
    columns: int = 2
    remark: str = ""
    over_baseline: bool = False


@dataclass(frozen=True)
class Result:
    """A line of the summary."""

    task: str
    scored_on: str
    metric: str
    value: float
    baseline: float
    baseline_is: str
    wanted: float
    minutes: float

    @property
    def reached(self) -> bool:
        """Whether the value is at least the wanted one."""
        return self.value >= self.wanted


def main() -> None:
    """Run the tasks one after the other; exit with 1 if a wanted value was not reached."""
    parser = argparse.ArgumentParser(description="Train, score and look at three small models on the CPU.")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"), help="default: work_dirs/demo")
    parser.add_argument("--quick", action="store_true", help="two iterations each, to test this script; wants nothing")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="mmengine|mmcv|albumentations|timm")
    work_dir = arguments.work_dir.resolve()
    os.chdir(ROOT)  # paths in the configs are relative to the checkout
    console = Console()
    results = []
    for task in TASKS:
        console.rule(f"[bold]{task.name}[/bold], scored on {task.scored_on}")
        results.append(run_task(task, work_dir, QUICK if arguments.quick else {}))
    report(results, work_dir, console)
    if not arguments.quick and not all(result.reached for result in results):
        sys.exit(1)


def run_task(task: Task, work_dir: Path, options: dict[str, Any]) -> Result:
    """Train and evaluate one model, draw its pictures and curves.

    Args:
        task: Which.
        work_dir: Folder of the demo; what an earlier run left of this task is removed.
        options: Overrides of the config by dotted key.
    """
    config = f"configs/demo/{task.name}.py"
    run_dir = str(work_dir / task.name)
    shutil.rmtree(run_dir, ignore_errors=True)
    start = time.monotonic()
    runner = train(config, run_dir, options=options)
    checkpoint = Path(run_dir) / "last_checkpoint"
    value = test(config, checkpoint, run_dir, options=options)[task.key] / task.unit
    minutes = (time.monotonic() - start) / 60

    dataset = DATASETS.build(load_config(config, options).test_dataloader.dataset)
    data = [dataset[index] for index in range(len(dataset))]
    baseline = score_trivial(task, config, dataset.metainfo, data)
    drawn = data[:: max(1, len(data) // task.drawn)][: task.drawn]
    pictures = draw(init_model(config, checkpoint, "cpu"), drawn, dataset.metainfo)
    rows = [pictures[i : i + task.columns] for i in range(0, len(pictures), task.columns)]
    title = f"{task.name}: {task.metric} {value:.2f} on {task.scored_on}{task.remark}"
    write_image(work_dir / f"{task.name}.png", picture_sheet(rows, title=title, cell_size=(1800 // task.columns, 480)))
    plot_curves(Path(runner.log_dir, "vis_data", "scalars.json"), work_dir / f"curves_{task.name}.png", task.name)
    wanted = task.wanted + (baseline if task.over_baseline else 0)
    return Result(task.name, task.scored_on, task.metric, value, baseline, task.trivial_is, wanted, minutes)


def score_trivial(task: Task, config: str, metainfo: dict[str, Any], data: Data) -> float:
    """Score the trivial predictor with the metric that scores the model."""
    metrics = load_config(config).test_evaluator
    evaluator = Evaluator([METRICS.build(m) for m in (metrics if isinstance(metrics, list) else [metrics])])
    evaluator.dataset_meta = metainfo
    print(f"Trivial baseline of the {task.name}: {task.trivial_is}")
    task.trivial(data)
    evaluator.process([item["data_samples"] for item in data])
    return evaluator.evaluate(len(data))[task.key] / task.unit


def predict_mean_box(data: Data) -> None:
    """Predict one box an image: the most frequent class, at the mean position and size relative to the image."""
    samples = [item["data_samples"] for item in data]
    label = torch.cat([sample.gt_instances.labels for sample in samples]).bincount().argmax()
    box = torch.cat([sample.gt_instances.bboxes / _sides(sample) for sample in samples]).mean(0)
    for sample in samples:
        sample.pred_instances = InstanceData(
            bboxes=(box * _sides(sample))[None], scores=torch.ones(1), labels=label[None]
        )


def _sides(sample: DataSample) -> torch.Tensor:
    """Width, height, width, height of the photograph."""
    return torch.tensor([*sample.ori_shape[::-1]] * 2, dtype=torch.float32)


def predict_frequent_class(data: Data) -> None:
    """Predict the class with most pixels, everywhere."""
    samples = [item["data_samples"] for item in data]
    counts = sum(sample.gt_sem_seg.data.flatten().bincount(minlength=256)[:255] for sample in samples)
    for sample in samples:
        sample.pred_sem_seg = PixelData(data=torch.full_like(sample.gt_sem_seg.data, int(counts.argmax())))


def predict_bicubic(data: Data) -> None:
    """Enlarge as MATLAB's ``imresize`` does."""
    for item in data:
        sample = item["data_samples"]
        image = imresize(rgb_image(item["inputs"].flip(0)), output_shape=sample.gt_img.shape[1:])
        sample.pred_img = torch.from_numpy(image.transpose(2, 0, 1).copy())


def draw(model: Any, data: Data, metainfo: dict[str, Any]) -> list[np.ndarray]:
    """Return pictures of samples, ground truth beside the model's prediction."""
    pictures = []
    for item in data:
        with torch.no_grad():
            (sample,) = model.test_step(pseudo_collate([item]))
        pictures.append(compare_sample(source_image(sample, item["inputs"]), sample, metainfo))
    return pictures


def report(results: Sequence[Result], work_dir: Path, console: Console) -> None:
    """Print the summary and write ``summary.json``."""
    table = Table(title="make demo")
    for heading in ("task", "metric", "value", "baseline", "wanted", "", "min"):
        table.add_column(heading, justify="left" if heading in ("task", "metric", "") else "right")
    for r in results:
        mark = "[green]reached[/green]" if r.reached else "[red]missed[/red]"
        numbers = (f"{r.value:.3f}", f"{r.baseline:.3f}", f">= {r.wanted:.3f}")
        table.add_row(r.task, r.metric, *numbers, mark, f"{r.minutes:.1f}")
    console.print(table)
    lines = [f"{r.task}: scored on {r.scored_on}; the baseline is {r.baseline_is}." for r in results]
    lines.append("Scores on training photographs show that the machinery works, not how good a model is.")
    lines.append(f"Pictures, curves and summary.json: {work_dir}")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    content = [{**asdict(result), "reached": result.reached} for result in results]
    (work_dir / "summary.json").write_text(json.dumps(content, indent=2))


TASKS = (
    Task(
        name="detector",
        metric="box AP50",
        key="coco/bbox_mAP_50",
        unit=1.0,
        wanted=0.5,
        trivial=predict_mean_box,
        trivial_is="the commonest class in the mean box, on every photograph",
    ),
    Task(
        name="segmentor",
        metric="mIoU",
        key="mIoU",
        unit=100.0,
        wanted=0.6,
        trivial=predict_frequent_class,
        trivial_is="the commonest class everywhere",
        remark=" (dark: not annotated)",
    ),
    Task(
        name="super_resolver",
        metric="PSNR-Y dB",
        key="PSNR_Y",
        unit=1.0,
        wanted=0.5,
        trivial=predict_bicubic,
        trivial_is="bicubic interpolation",
        scored_on="photographs held out of training",
        drawn=6,
        columns=1,
        over_baseline=True,
    ),
)

if __name__ == "__main__":
    main()
