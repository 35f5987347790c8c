"""The training curves of a run as one picture."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foveal.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BOOKKEEPING = {"step", "iter", "epoch", "time", "data_time", "memory"}
_NOISY = ("loss", "gradient norm")  # drawn smoothed; the others mean what they are
_SMOOTH_FROM = 60  # points; below, the raw line is readable


@dataclass
class _Series:
    """One curve."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: float, value: float) -> None:
        self.steps.append(step)
        self.values.append(value)


def plot_curves(scalars_json: str | Path, out_png: str | Path, title: str | None = None) -> Path:
    """Draw losses, learning rate and metrics, each in a panel of its own.

    Metrics of different size (PSNR beside SSIM, percent beside fractions) get a panel each; a metric that is -1
    throughout (COCO's mark for no such object) is left out.

    Args:
        scalars_json: ``vis_data/scalars.json`` as mmengine's LocalVisBackend writes it: one JSON object a line.
        out_png: The picture to write; its folder is made.
        title: Over the picture.

    Returns:
        ``out_png``.

    Raises:
        DataError: If the file is missing, a line but the last is not JSON, or nothing can be drawn.
    """
    series, metric_axis = _read(Path(scalars_json))
    panels = _panels(series, metric_axis)
    if not panels:
        raise DataError(f"{scalars_json} holds no loss, learning rate or metric to draw")
    return _figure(panels, Path(out_png), title)


def plot_runs(scalars: Mapping[str, str | Path], out_png: str | Path) -> Path:
    """Draw several runs' losses, learning rates and metrics over each other, a panel a quantity.

    Args:
        scalars: Names of runs to their ``scalars.json``.
        out_png: The picture to write; its folder is made.

    Returns:
        ``out_png``.

    Raises:
        DataError: If a file cannot be read, or there is nothing to draw.
    """
    curves = {run: _read(Path(path))[0] for run, path in scalars.items()}
    # of the losses only their sum: the parts of different heads have nothing in common
    names = dict.fromkeys(n for found in curves.values() for n in found if "loss" not in n or n == "loss")
    panels = []
    for name in names:
        lines = {run: found[name] for run, found in curves.items() if name in found}
        if any(value != -1 for line in lines.values() for value in line.values):
            panels.append((name, "step", lines))
    if not panels:
        raise DataError(f"the runs have no curves to draw: {', '.join(scalars) or 'none wrote scalars.json'}")
    return _figure(panels, Path(out_png), None)


def _figure(panels: list[tuple[str, str, dict[str, _Series]]], out: Path, title: str | None) -> Path:
    # Figure with the Agg canvas, not pyplot: no display is looked for and the user's backend stays as it is
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5.2 * columns, 3.8 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for index, (heading, unit, curves) in enumerate(panels):
        _draw(figure.add_subplot(rows, columns, index + 1), heading, unit, curves)
    if title is not None:
        figure.suptitle(title)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    return out


def _read(path: Path) -> tuple[dict[str, _Series], str]:
    """Return the curves by name, and the unit of the metrics' steps."""
    series: dict[str, _Series] = defaultdict(_Series)
    last_epoch = last_metric = 0.0
    for record in _records(path):
        training = any("loss" in name or name == "lr" for name in record)
        step = record.get("step", record.get("iter", 0))
        if training:
            last_epoch = max(last_epoch, record.get("epoch", 0))
        else:
            last_metric = max(last_metric, step)
        for name, value in record.items():
            if name not in _BOOKKEEPING and isinstance(value, (int, float)) and math.isfinite(value):
                series[name].add(step, value)
    # mmengine counts validations in epochs or in iterations and does not say which
    return dict(series), "epoch" if 0 < last_metric <= last_epoch else "iteration"


def _records(path: Path) -> list[dict]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"cannot read the scalars {path}: {error.strerror}") from error
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise DataError(f"{path}, line {number}, is not JSON: {error}") from error
            # a run that is being written, or was killed, may end in half a line
    return records


def _panels(series: dict[str, _Series], metric_axis: str) -> list[tuple[str, str, dict[str, _Series]]]:
    """Return heading, unit of the steps, and curves of each panel."""
    losses = {name: s for name, s in series.items() if "loss" in name}
    rates = {name: s for name, s in series.items() if name == "lr" or name.endswith("/lr")}
    norms = {name: s for name, s in series.items() if "grad_norm" in name}
    metrics = {n: s for n, s in series.items() if not any(n in group for group in (losses, rates, norms))}
    groups: dict[int, dict[str, _Series]] = defaultdict(dict)
    for name, curve in metrics.items():
        if any(value != -1 for value in curve.values):
            groups[_magnitude(curve.values)][name] = curve
    panels = [
        ("loss", "iteration", losses),
        ("learning rate", "iteration", rates),
        ("gradient norm", "iteration", norms),
    ]
    panels += [(_shared_prefix(group), metric_axis, group) for _, group in sorted(groups.items())]
    return [panel for panel in panels if panel[2]]


def _magnitude(values: Sequence[float]) -> int:
    """Return 0 for fractions, 1 for percent and decibels, 2 for what is larger."""
    top = max(abs(value) for value in values)
    return 0 if top <= 1 else 1 if top <= 100 else 2


def _shared_prefix(curves: dict[str, _Series]) -> str:
    """Return the heading of a panel of metrics: their common first part (``coco``), or their one name."""
    if len(curves) == 1:
        return next(iter(curves))
    prefixes = {name.split("/")[0] if "/" in name else "" for name in curves}
    return prefixes.pop() or "metrics" if len(prefixes) == 1 else "metrics"


def _draw(axes: Axes, heading: str, unit: str, curves: dict[str, _Series]) -> None:
    for name, curve in sorted(curves.items(), key=lambda item: item[0] != "loss"):
        label = name.removeprefix(f"{heading}/")
        width = 2.0 if name == "loss" else 1.3
        if len(curve.values) >= _SMOOTH_FROM and heading in _NOISY:
            (line,) = axes.plot(curve.steps, curve.values, linewidth=0.6, alpha=0.3)
            axes.plot(curve.steps, _smooth(curve.values), linewidth=width, color=line.get_color(), label=label)
        else:
            few = len(curve.values) <= 30
            axes.plot(curve.steps, curve.values, linewidth=width, marker="." if few else None, label=label)
    axes.set_title(heading, fontsize=11)
    axes.set_xlabel(unit)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if heading == "learning rate":
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    if len(curves) > 1:
        axes.legend(fontsize=8, frameon=False)


def _smooth(values: Sequence[float]) -> np.ndarray:
    """Return a moving average over a twentieth of the curve, shorter at both ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
