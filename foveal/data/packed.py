"""Decoded images in one file, for training: no decoding, and pages are read as they are needed.

The file is in the format of safetensors, a tensor uint8 [H, W, C] (BGR) or [H, W] an image, under its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from foveal.errors import DataError

SUFFIX = ".safetensors"
_SEPARATOR = "::"


def is_packed(path: str) -> bool:
    """Whether ``path`` names a file of packed images, or an image in one."""
    return path.partition(_SEPARATOR)[0].endswith(SUFFIX)


def pack_images(images: Iterable[tuple[str, np.ndarray]], target: str | Path) -> int:
    """Write images into one file; it replaces an older one only when it is complete.

    Args:
        images: Names, with folder and extension, and images uint8 [H, W, C] or [H, W].
        target: The file, .safetensors.

    Returns:
        The number of images.

    Raises:
        DataError: If the file has another suffix.
    """
    from safetensors.numpy import save_file

    path = Path(target)
    if path.suffix != SUFFIX:
        raise DataError(f"packed images are a file *{SUFFIX}, got {path}")
    tensors = {name: np.ascontiguousarray(image) for name, image in images}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(tensors, temporary)
    temporary.replace(path)
    return len(tensors)


def packed_names(path: str) -> list[str]:
    """Return the names of the images in a file, sorted, as paths that `read_packed` takes."""
    return [f"{path}{_SEPARATOR}{name}" for name in sorted(_open(path).keys())]


def read_packed(path: str) -> np.ndarray:
    """Return an image that `packed_names` names.

    Raises:
        DataError: If the file is no safetensors file or has no such image.
    """
    file, _, name = path.partition(_SEPARATOR)
    try:
        return _open(file).get_tensor(name)
    except Exception as error:
        raise DataError(f"the image {name} cannot be read from {file}: {error}") from error


@lru_cache(maxsize=16)
def _open(path: str) -> Any:
    from safetensors import safe_open

    try:
        return safe_open(path, framework="numpy")
    except Exception as error:
        raise DataError(f"{path} is no readable file of packed images: {error}") from error
