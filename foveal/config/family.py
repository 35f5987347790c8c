"""Configs written for mmdet 3.x and mmseg 1.x: the few words in them that mean nothing here."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

# Packages that a config imports for the names they register; the names are Foveal's own here.
_FAMILY = {"mmcls", "mmdet", "mmpretrain", "mmseg"}
_LOCAL = (None, {"backend": "local"}, {"backend": "disk"})
_FILE_ARGUMENTS = ("backend_args", "file_client_args")


def is_family_package(module: str) -> bool:
    """Return whether ``module`` is, or lies in, a package whose registered names Foveal serves itself."""
    return module.partition(".")[0] in _FAMILY


def adapt_to_foveal(config: Config) -> None:
    """Take out, in place, what says that files are read from the local disk, and the name of the visualizer.

    The first happens anyway; a remote file backend stays, and is refused by the component that does not know it. By
    the second, mmengine would find the visualizer of an earlier run of the same process.

    Args:
        config: A config whose ``default_scope`` is not ours.
    """
    _drop_local_backends(config._cfg_dict)
    if isinstance(config.get("visualizer"), dict):
        config.visualizer.pop("name", None)


def _drop_local_backends(node: Any) -> None:
    if isinstance(node, dict):
        for name in _FILE_ARGUMENTS:
            if name in node and node[name] in _LOCAL:
                del node[name]
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for inner in node:
            _drop_local_backends(inner)
