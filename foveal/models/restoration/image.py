"""What whole restoration networks do alike with the image that comes in."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from foveal.errors import DataError

# means of DIV2K's red, green and blue
RGB_MEAN = (0.4488, 0.4371, 0.4040)


def check_image(name: str, x: Tensor, channels: int) -> None:
    """Check that ``x`` is [N, channels, H, W].

    Raises:
        DataError: If it is not; the message begins with ``name``.
    """
    if x.ndim != 4 or x.shape[1] != channels:
        raise DataError(f"{name} takes images [N, {channels}, H, W], got shape {list(x.shape)}")


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Enlarge an image at the bottom and right to a multiple, by mirroring it; a tiny one by repeating its border.

    Args:
        x: [N, C, H, W].
        multiple: Of height and width.
    """
    height, width = x.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if not below and not right:
        return x
    mode = "reflect" if below < height and right < width else "replicate"
    return F.pad(x, (0, right, 0, below), mode)
