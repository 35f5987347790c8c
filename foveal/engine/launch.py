"""Training and testing of a config, as ``tools/train.py``, ``tools/test.py`` and the ``foveal`` command do it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from foveal.config import load_config
from foveal.engine.faults import check_writable, explained
from foveal.engine.processes import join_group
from foveal.engine.progress_hook import ProgressHook
from foveal.engine.runner import Runner
from foveal.errors import ConfigError


def train(
    path: str | Path,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    options: dict[str, Any] | None = None,
    launcher: str = "none",
) -> Runner:
    """Train what a config describes.

    Args:
        path: A config file.
        work_dir: Folder for checkpoints and logs; default: the config's ``work_dir``, else ``work_dirs/<config name>``.
        resume: ``auto``: from ``last_checkpoint`` in ``work_dir`` if there is one; or the path of a checkpoint.
        amp: Automatic mixed precision: bfloat16 on the CPU, float16 with a gradient scaler on a GPU.
        auto_scale_lr: Scale the learning rate by the batch size over the config's ``auto_scale_lr.base_batch_size``.
        options: Overrides by dotted key.
        launcher: ``none``, ``pytorch`` (torchrun), ``slurm`` or ``mpi``.

    Returns:
        The runner after training.

    Raises:
        ConfigError: The config is wrong, or lacks what training needs.
    """
    config = _prepare(path, work_dir, options, launcher)
    for key in ("model", "train_dataloader", "train_cfg", "optim_wrapper"):
        if config.get(key) is None:
            raise ConfigError(f"{path}: training needs the key {key!r}")
    for phase in ("val", "test"):
        parts = [f"{phase}_dataloader", f"{phase}_evaluator"]
        missing = [key for key in parts if config.get(key) is None]
        if len(missing) == 1:
            (given,) = set(parts) - set(missing)
            raise ConfigError(f"{path}: {given} needs {missing[0]} beside it; without scores give neither")
    if amp:
        _use_amp(config)
    if auto_scale_lr:
        if "base_batch_size" not in config.get("auto_scale_lr", {}):
            raise ConfigError(f"{path}: --auto-scale-lr needs auto_scale_lr.base_batch_size in the config")
        config.auto_scale_lr.enable = True
    if config.optim_wrapper.get("type") == "AmpOptimWrapper" and not torch.cuda.is_available():
        kept = {k: v for k, v in config.optim_wrapper.items() if k not in ("loss_scale", "dtype", "use_fsdp")}
        config.optim_wrapper = {**kept, "type": "CpuAmpOptimWrapper"}
    if resume is not None:
        config.resume = True
        config.load_from = None if resume == "auto" else resume
    runner = Runner.from_cfg(config)
    return _run(runner, runner.train)


def test(
    path: str | Path,
    checkpoint: str | Path,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    options: dict[str, Any] | None = None,
    launcher: str = "none",
    tta: bool = False,
) -> dict[str, float]:
    """Evaluate a checkpoint on the config's test data.

    Args:
        path: A config file.
        checkpoint: Path or URL.
        work_dir: Folder for the log.
        out: Where predictions are written: a ``.json`` file (detections in COCO's result format, labels) or a folder
            (one PNG an image: class indices, or restored images).
        show_dir: Where ground truth beside prediction is drawn, a picture an image.
        options: Overrides by dotted key.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        tta: Merge predictions for several views of an image, as the config's ``tta_model`` and ``tta_pipeline`` say.

    Returns:
        The metrics by name.

    Raises:
        ConfigError: The config is wrong, or lacks what testing needs.
        CheckpointError: The checkpoint cannot be read or does not fit.
    """
    config = _prepare(path, work_dir, options, launcher)
    for key in ("model", "test_dataloader", "test_evaluator"):
        if config.get(key) is None:
            raise ConfigError(f"{path}: testing needs the key {key!r}")
    for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"):
        config[key] = None
    for key in ("val_dataloader", "val_cfg", "val_evaluator"):
        config[key] = None
    config.load_from, config.resume = str(checkpoint), False
    hooks = list(config.get("custom_hooks") or [])
    if show_dir is not None:
        hooks.append({"type": "VisualizationHook", "draw": True, "show_dir": show_dir})
    if out is not None:
        hooks.append({"type": "PredictionWriterHook", "out": out})
    if tta:
        for key in ("tta_model", "tta_pipeline"):
            if config.get(key) is None:
                raise ConfigError(f"{path}: --tta needs the key {key!r}")
        config.test_dataloader.dataset.pipeline = config.tta_pipeline
        hooks.append({"type": "PrepareTTAHook", "tta_cfg": config.tta_model})
    config.custom_hooks = hooks
    runner = Runner.from_cfg(config)
    return _run(runner, runner.test)


def _prepare(path: str | Path, work_dir: str | None, options: dict[str, Any] | None, launcher: str) -> Config:
    config = load_config(path, options)
    config.launcher = launcher
    config.work_dir = work_dir or config.get("work_dir") or str(Path("work_dirs") / Path(path).stem)
    check_writable(config.work_dir)
    if launcher != "none":
        join_group(launcher, (config.get("env_cfg") or {}).get("dist_cfg"))
        config.launcher = "pytorch"
    return config


def _use_amp(config: Config) -> None:
    kind = config.optim_wrapper.get("type", "OptimWrapper")
    if kind not in ("OptimWrapper", "AmpOptimWrapper"):
        raise ConfigError(f"--amp works with optim_wrapper.type='OptimWrapper', the config has {kind!r}")
    config.optim_wrapper.type = "AmpOptimWrapper"
    config.optim_wrapper.setdefault("loss_scale", "dynamic")


def _run(runner: Runner, work: Callable[[], Any]) -> Any:
    """Run, and take the progress bar away whatever happens, so that an error's sentence stands below it."""
    try:
        with explained():
            result = work()
    finally:
        for hook in runner.hooks:
            if isinstance(hook, ProgressHook):
                hook.after_run(runner)
    return runner if work.__name__ == "train" else result
