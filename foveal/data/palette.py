"""Colours for classes that bring none of their own."""

from __future__ import annotations

import colorsys

_GOLDEN = 0.618033988749895  # steps of the golden ratio keep neighbouring classes apart on the colour wheel
_TONES = ((0.75, 0.95), (0.95, 0.70), (0.50, 0.85))


def make_palette(count: int) -> list[list[int]]:
    """Return ``count`` colours, the same ones every time.

    Args:
        count: Number of classes.

    Returns:
        RGB in 0..255, a list of three each.
    """
    colours = []
    for index in range(count):
        saturation, value = _TONES[index % len(_TONES)]
        rgb = colorsys.hsv_to_rgb(index * _GOLDEN % 1.0, saturation, value)
        colours.append([round(255 * channel) for channel in rgb])
    return colours
