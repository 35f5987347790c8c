"""Text on pictures: smooth, any alphabet, sized in pixels.

OpenCV's own fonts are thin strokes without accents; DejaVu Sans comes with matplotlib, so nothing has to be shipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK = (32, 32, 32)
PAPER = (255, 255, 255)


class Text(NamedTuple):
    """A line of text: its top left corner in pixels, the words, the RGB colour."""

    x: int
    y: int
    words: str
    colour: tuple[int, int, int] = INK


def font_size(shape: tuple[int, ...]) -> int:
    """Return the height of letters, in pixels, that reads well on a picture of ``shape`` (h, w, …)."""
    return int(np.clip(round(0.022 * max(shape[:2])), 11, 48))


def text_width(words: str, size: int) -> int:
    """Return the width of a line in pixels."""
    return round(_font(size).getlength(words))


def line_height(size: int) -> int:
    """Return the height of a line in pixels, with room for accents and descenders."""
    return sum(_font(size).getmetrics())


def draw_texts(image: np.ndarray, texts: Iterable[Text], size: int) -> np.ndarray:
    """Return a copy of a picture with lines of text on it.

    Args:
        image: RGB uint8 [H, W, 3].
        texts: The lines.
        size: Font size in pixels.
    """
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    for text in texts:
        pen.text((text.x, text.y), text.words, fill=text.colour, font=_font(size))
    return np.array(canvas)


def wrap(words: str, width: int, size: int) -> list[str]:
    """Break a text into lines that fit ``width`` pixels; a longer single word is cut and ends in an ellipsis."""
    lines: list[str] = []
    for word in words.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(shorten(word, width, size))
    return lines


def shorten(words: str, width: int, size: int) -> str:
    """Cut a line to ``width`` pixels, with an ellipsis where something was cut."""
    if text_width(words, size) <= width:
        return words
    while words and text_width(f"{words}…", size) > width:
        words = words[:-1]
    return f"{words}…"


def contrasting(colour: Iterable[int]) -> tuple[int, int, int]:
    """Return black or white, whichever reads better on ``colour``."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)
