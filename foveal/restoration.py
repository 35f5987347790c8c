"""Restoring pictures as people have them: gray, colour, with alpha, 8 or 16 bits, and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from foveal.data.imresize import imresize
from foveal.data.transforms.loading import read_image
from foveal.errors import DataError
from foveal.video import convert_video

# of uint8 and uint16; a floating-point picture is in [0, 1]
_HIGHEST = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def restore(model: nn.Module, image: np.ndarray | str | Path) -> np.ndarray:
    """Restore a picture with a restorer.

    A network for RGB gets a gray picture in three equal channels. A network for one channel gets the luminance of a
    colour picture, whose colours are enlarged by bicubic interpolation. Alpha is enlarged in the same way, and kept as
    it is where the size stays.

    Args:
        model: A `Restorer`, from ``foveal.create_restorer`` or ``foveal.init_model``; it is used in the mode it is in.
        image: A file, or an array as ``cv2.imread`` gives it: gray [H, W] or [H, W, 1], BGR [H, W, 3] or BGRA
            [H, W, 4]; uint8, uint16 or floating point in [0, 1].

    Returns:
        The picture of the same kind, ``model.scale`` times as large.

    Raises:
        DataError: If the file is missing or does not decode, or the array is no picture.
    """
    network: Any = model
    picture: Any = image if isinstance(image, np.ndarray) else read_image(str(image), "unchanged")
    where = "" if isinstance(image, np.ndarray) else f"{image}: "
    if picture.dtype not in _HIGHEST and picture.dtype not in _FLOATS:
        raise DataError(f"{where}a picture is uint8, uint16 or floating point, got {picture.dtype}")
    if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (1,), (3,), (4,)) or 0 in picture.shape:
        raise DataError(f"{where}a picture is [H, W] or [H, W, 1, 3 or 4], got {list(picture.shape)}")
    planes = picture.reshape(*picture.shape[:2], -1)
    highest = _HIGHEST.get(picture.dtype, 1.0)
    unit = planes.astype(np.float64 if picture.dtype == np.float64 else np.float32) / highest
    colour = _restore_colour(network, unit[..., :3])
    parts = [_to_kind(colour, picture.dtype, highest)]
    if planes.shape[2] == 4:
        alpha = unit[..., 3:] if network.scale == 1 else imresize(unit[..., 3:], network.scale)
        parts.append(_to_kind(alpha, picture.dtype, highest))
    result = np.concatenate(parts, 2)
    return result[..., 0] if picture.ndim == 2 else result


def restore_video(model: nn.Module, source: str | Path, target: str | Path) -> int:
    """Restore a video frame by frame, with a progress bar on a terminal; sound is not kept.

    Args:
        model: As for `restore`.
        source: A file that OpenCV reads.
        target: The file to write, .mp4 or .avi.

    Returns:
        The number of frames.

    Raises:
        DataError: If the source cannot be read, or the target not be written.
    """
    return convert_video(source, target, lambda frame: restore(model, frame), "restore")


def _restore_colour(model: Any, image: np.ndarray) -> np.ndarray:
    """Restore BGR or gray in [0, 1], [H, W, 3] or [H, W, 1]."""
    own = 1 if len(model.data_preprocessor.mean) == 1 else 3
    given = image.shape[2]
    if own == 3:
        bgr = image.repeat(3, 2) if given == 1 else image
        result = _run(model, bgr[..., ::-1])[..., ::-1]
        return result.mean(2, keepdims=True) if given == 1 else result
    if given == 1:
        return _run(model, image)
    ycc = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_BGR2YCrCb)
    luminance = _run(model, ycc[..., :1])
    chroma = ycc[..., 1:] if model.scale == 1 else imresize(ycc[..., 1:], model.scale)
    whole = np.concatenate([luminance, chroma], 2).astype(np.float32)
    return cv2.cvtColor(whole, cv2.COLOR_YCrCb2BGR)


def _run(model: Any, image: np.ndarray) -> np.ndarray:
    """[H, W, C] in [0, 1] through the network, in its type and on its device."""
    like: Tensor = next(model.parameters())
    x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(like)
    with torch.no_grad():
        return model.restore(x)[0].permute(1, 2, 0).double().cpu().numpy()


def _to_kind(image: np.ndarray, dtype: np.dtype, highest: float) -> np.ndarray:
    """From [0, 1] to the picture's type."""
    image = np.clip(image, 0, 1)
    return (image * highest).round().astype(dtype) if dtype in _HIGHEST else image.astype(dtype)
