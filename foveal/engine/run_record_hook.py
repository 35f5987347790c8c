"""A run's record: what it was made of and what it reached, in one JSON file."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook

import foveal
from foveal.engine.checkpoint import replacing
from foveal.engine.download import hash_of
from foveal.registry import HOOKS

FILE = "run.json"
_PACKAGES = ("torch", "torchvision", "mmengine", "numpy")


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Write ``run.json`` into the run's log folder: at the start, after each validation and at the end.

    Keys: ``command``, ``config`` (resolved), ``git`` (``commit`` and whether files were ``changed``, of the folder that
    the run was started in; None without git), ``environment``, ``seed``, ``world_size``, ``data`` (a data set's size
    and the hash of its annotation file, by phase), ``started``, ``seconds``, ``status`` (``running``, which a killed
    run keeps, or ``finished``), ``iterations``, ``metrics`` (the last values) and ``best`` (the largest, by name).
    `foveal runs list` and `compare` read it.
    """

    priority = "VERY_LOW"  # the metrics are there

    def __init__(self) -> None:
        self.record: dict[str, Any] = {}
        self._start = time.perf_counter()

    @master_only
    def before_run(self, runner: Any) -> None:
        """Note what is known at the start."""
        self._start = time.perf_counter()
        self.record = {
            "command": sys.argv,
            "config": _plain(runner.cfg.to_dict()),
            "git": git_state(),
            "environment": environment(),
            "seed": runner.seed,
            "world_size": get_world_size(),
            "data": {},
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime()),
            "status": "running",
            "metrics": {},
            "best": {},
        }
        self._write(runner)

    @master_only
    def before_train(self, runner: Any) -> None:
        """Note the training data, which are built by now."""
        self._add_data("train", runner.train_dataloader)
        self._write(runner)

    @master_only
    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Note the metrics of a validation."""
        self._add_data("val", runner.val_dataloader)
        self._add_metrics(runner, metrics or {})

    @master_only
    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Note the metrics of a test."""
        self._add_data("test", runner.test_dataloader)
        self._add_metrics(runner, metrics or {})

    @master_only
    def after_run(self, runner: Any) -> None:
        """Note the end."""
        self.record["status"] = "finished"
        self._write(runner)

    def _add_data(self, phase: str, loader: Any) -> None:
        if phase not in self.record["data"]:
            self.record["data"][phase] = fingerprint(loader.dataset)

    def _add_metrics(self, runner: Any, metrics: Mapping[str, Any]) -> None:
        values = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
        self.record["metrics"] |= values
        best = self.record["best"]
        best |= {name: max(value, best.get(name, value)) for name, value in values.items()}
        self._write(runner)

    def _write(self, runner: Any) -> None:
        self.record |= {"iterations": runner.iter, "seconds": round(time.perf_counter() - self._start, 1)}
        with replacing(Path(runner.log_dir) / FILE) as temporary:
            Path(temporary).write_text(json.dumps(self.record, indent=1))


def fingerprint(dataset: Any) -> dict[str, Any]:
    """Return a data set's number of samples and, where it has an annotation file, that file's name and SHA-256."""
    found: dict[str, Any] = {"samples": len(dataset)}
    while not getattr(dataset, "ann_file", None) and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    path = Path(str(getattr(dataset, "ann_file", None) or ""))
    if path.is_file():
        found |= {"ann_file": path.name, "sha256": hash_of(path)}
    return found


def git_state() -> dict[str, Any] | None:
    """Return the commit of the current folder and whether its files differ; None without git or a repository."""
    try:
        commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": bool(changed)}


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def environment() -> dict[str, Any]:
    """Return the versions that a result depends on, and the devices."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "foveal": foveal.__version__,
        "python": platform.python_version(),
        **versions,
        "devices": devices or ["cpu"],
    }


def _plain(value: Any) -> Any:
    """A config as JSON can hold it: what it cannot becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
