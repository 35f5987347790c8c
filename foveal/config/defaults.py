"""What a config may leave out."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

_HOOKS: dict[str, dict[str, Any]] = {
    "class_check": {"type": "NumClassCheckHook"},
    "loss_check": {"type": "CheckInvalidLossHook"},
    "progress": {"type": "ProgressHook"},
    "record": {"type": "RunRecordHook"},
    "scores": {"type": "ImageScoresHook"},
}
_SCALARS = [{"type": "LocalVisBackend"}, {"type": "CSVVisBackend"}]


def apply_defaults(config: Config) -> None:
    """Fill in, in place, what Foveal always wants: our registries, the loss check, the progress bar, scalar files."""
    config.default_scope = "foveal"
    if config.get("default_hooks") is None:
        config.default_hooks = {}
    for name, hook in _HOOKS.items():
        config.default_hooks.setdefault(name, dict(hook))
    loop = config.get("train_cfg") or {}
    by_epoch = loop.get("by_epoch", "Iter" not in str(loop.get("type", "")))
    # mmengine's defaults count epochs even where the loop counts iterations: every validation would stand at step 0
    config.default_hooks.setdefault("logger", {"type": "LoggerHook"}).setdefault("log_metric_by_epoch", by_epoch)
    if config.get("log_processor") is None:
        config.log_processor = {}
    config.log_processor.setdefault("by_epoch", by_epoch)
    if config.get("visualizer") is None:
        config.visualizer = {}
    config.visualizer.setdefault("type", "Visualizer")
    backends = list(config.visualizer.get("vis_backends") or [])
    present = {backend.get("type") for backend in backends if isinstance(backend, dict)}
    config.visualizer.vis_backends = backends + [dict(b) for b in _SCALARS if b["type"] not in present]
    for phase in ("val", "test"):
        if config.get(f"{phase}_dataloader") is not None and config.get(f"{phase}_cfg") is None:
            config[f"{phase}_cfg"] = {}
