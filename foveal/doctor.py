"""What is installed and what works on this machine."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch

import foveal
import foveal.ops
from foveal.cache import home
from foveal.ops import dispatch

_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "mmengine",
    "onedl-mmengine",
    "mmcv-lite",
    "albumentations",
    "opencv-python-headless",
    "opencv-python",
    "numpy",
    "pycocotools",
    "faster-coco-eval",
    "safetensors",
    "rich",
    "matplotlib",
    "tensorboard",
)


def report() -> Iterator[str]:
    """Yield lines: versions, device, tools, and one line for each thing that is likely to cause trouble."""
    yield f"foveal {foveal.__version__} at {Path(foveal.__file__).parent}"
    yield f"python {platform.python_version()} on {platform.platform()}"
    versions = {name: version for name in _PACKAGES if (version := _version(name))}
    for name, version in versions.items():
        yield f"  {name:24} {version}"
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield f"device cuda:{index}: {properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    else:
        yield f"device: CPU, {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads; no CUDA device"
    for tool in ("gcc", "nvcc", "git"):
        yield f"{tool}: {shutil.which(tool) or 'not found'}"
    yield f"downloads go to {home()}"
    yield f"operators and their backends, [chosen]; {dispatch.VARIABLE} chooses another"
    yield from dispatch.report()
    yield from _warnings(versions)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _warnings(versions: dict[str, str]) -> Iterator[str]:
    both = [versions.get("opencv-python"), versions.get("opencv-python-headless")]
    if all(both) and both[0] != both[1]:
        yield f"warning: opencv-python {both[0]} and opencv-python-headless {both[1]} write one folder: make them equal"
    if "faster-coco-eval" not in versions:
        yield "warning: faster-coco-eval is missing: COCO evaluation falls back to pycocotools, several times slower"
    if shutil.disk_usage(Path.cwd()).free < 2 * 2**30:
        yield "warning: less than 2 GiB free on this disk"
