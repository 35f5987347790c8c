"""Videos, frame by frame, by OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from foveal.errors import DataError

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")


def read_frames(source: str | Path, text: str) -> Iterator[np.ndarray]:
    """Yield a video's frames, BGR uint8 [H, W, 3], with a progress bar on a terminal.

    Args:
        source: A file that OpenCV reads.
        text: Beside the bar.

    Raises:
        DataError: If the file is missing, cannot be read, or has no frame that decodes.
    """
    from rich.console import Console
    from rich.progress import track

    reader = _open(source)
    console = Console(stderr=True)
    total = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) or None
    count = 0
    try:
        frames = iter(reader.read, (False, None))
        for _, frame in track(frames, text, total, console=console, disable=not console.is_terminal):
            yield frame
            count += 1
    finally:
        reader.release()
    if not count:
        raise DataError(f"the video {source} has no frame that decodes")


def convert_video(source: str | Path, target: str | Path, change: Callable[[np.ndarray], np.ndarray], text: str) -> int:
    """Write a video whose frames are made of another's; sound is not kept.

    Args:
        source: A file that OpenCV reads.
        target: The file to write, .mp4 or .avi.
        change: From a frame BGR uint8 [H, W, 3] to the new one; all new ones have one size.
        text: Beside the progress bar.

    Returns:
        The number of frames.

    Raises:
        DataError: If the source cannot be read, or the target not be written.
    """
    target = Path(target)
    if target.suffix.lower() not in (".mp4", ".avi"):
        raise DataError(f"a video is written as .mp4 or .avi, got {target}")
    reader = _open(source)
    rate = reader.get(cv2.CAP_PROP_FPS) or 25.0
    reader.release()
    code = "mp4v" if target.suffix.lower() == ".mp4" else "MJPG"
    writer = None
    count = 0
    try:
        for frame in read_frames(source, text):
            changed = change(frame)
            if writer is None:
                size = (changed.shape[1], changed.shape[0])
                writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*code), rate, size)
                if not writer.isOpened():
                    raise DataError(f"the video {target} cannot be written, {size[0]}x{size[1]} pixels")
            writer.write(changed)
            count += 1
    finally:
        if writer is not None:
            writer.release()
    return count


def _open(source: str | Path) -> cv2.VideoCapture:
    if not Path(source).is_file():
        raise DataError(f"the video {source} does not exist")
    reader = cv2.VideoCapture(str(source))
    if not reader.isOpened():
        raise DataError(f"the video {source} cannot be read")
    return reader
