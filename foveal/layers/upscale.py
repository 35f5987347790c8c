"""What networks that end in sub-pixel convolutions share."""

from __future__ import annotations

import math

from torch import Tensor, nn

from foveal.errors import ConfigError


def sub_pixel_stages(scale: int, channels: int) -> nn.Sequential:
    """Return convolutions that enlarge a map by 2, again and again, or by 3 at once (EDSR, arXiv:1707.02921).

    Args:
        scale: A power of 2, or 3.
        channels: Of the map, before and after.

    Returns:
        Pairs of a convolution and a pixel shuffle, keys ``0``, ``2``, …

    Raises:
        ConfigError: If ``scale`` is another number.
    """
    if scale != 3 and (scale < 1 or scale & (scale - 1)):
        raise ConfigError(f"sub-pixel stages enlarge by 3 or a power of 2, got scale={scale}")
    factors = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
    layers: list[nn.Module] = []
    for factor in factors:
        layers += [nn.Conv2d(channels, factor**2 * channels, 3, padding=1), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


def explain_scale(weight: Tensor | None, channels: int, scale: int) -> str | None:
    """Say which scale the last convolution of a checkpoint is for.

    Args:
        weight: Of the convolution before the pixel shuffle, [channels * s², …]. None: the checkpoint has none.
        channels: Of the image.
        scale: That the model was built for.

    Returns:
        Half a sentence with both scales; None where they are the same or the shape is no such convolution's.
    """
    found = 0 if weight is None else math.isqrt(len(weight) // channels)
    if weight is None or found == scale or channels * found**2 != len(weight):
        return None
    return f"it is for scale {found}, the model for scale {scale}"


def explain_stages(state_dict: dict[str, Tensor], prefix: str, channels: int, scale: int) -> str | None:
    """Say which scale the `sub_pixel_stages` of a checkpoint are for; the rest as `explain_scale`.

    Args:
        state_dict: The checkpoint.
        prefix: Before the stages' keys, such as ``upsample.``.
        channels: Of the map.
        scale: That the model was built for.
    """
    found = 1
    while (weight := state_dict.get(f"{prefix}{2 * (found.bit_length() - 1)}.weight")) is not None:
        found *= math.isqrt(len(weight) // channels)
        if found == 3:
            break
    return None if found in (1, scale) else f"it is for scale {found}, the model for scale {scale}"
