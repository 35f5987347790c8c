"""What a config may leave out."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

_HOOKS: dict[str, dict[str, Any]] = {
    "loss_check": {"type": "CheckInvalidLossHook"},
    "progress": {"type": "ProgressHook"},
}
_SCALARS = [{"type": "LocalVisBackend"}, {"type": "CSVVisBackend"}]


def apply_defaults(config: Config) -> None:
    """Fill in, in place, what Foveal always wants: our registries, the loss check, the progress bar, the scalar files."""
    config.default_scope = "foveal"
    hooks = config.setdefault("default_hooks", {})
    for name, hook in _HOOKS.items():
        hooks.setdefault(name, dict(hook))
    visualizer = config.setdefault("visualizer", {"type": "Visualizer"})
    visualizer.setdefault("vis_backends", [])
    visualizer.setdefault("name", "visualizer")
    present = {backend["type"] for backend in visualizer.vis_backends or []}
    visualizer.vis_backends = list(visualizer.vis_backends or [])
    visualizer.vis_backends += [dict(b) for b in _SCALARS if b["type"] not in present]
    for phase in ("val", "test"):
        if config.get(f"{phase}_dataloader") is not None and config.get(f"{phase}_cfg") is None:
            config[f"{phase}_cfg"] = {}
