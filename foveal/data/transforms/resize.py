"""Resizing: to a fixed size, to a random one, by the shorter edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from foveal.data.transforms.sample import BACKENDS, INTERPOLATIONS, check_choice, pair_of_ints, resize_sample
from foveal.errors import ConfigError
from foveal.registry import TRANSFORMS

Scale = int | Sequence[int]


def fit_size(size: tuple[int, int], scale: tuple[int, int], offset: float = 0.5) -> tuple[int, int]:
    """Return the largest (w, h) of the same aspect ratio whose long and short edge are within those of ``scale``.

    Args:
        size: (w, h) of the image.
        scale: The bounds: the larger number holds for the longer edge, whichever that is.
        offset: Added before rounding down; mmcv's ``rescale_size`` has 0.5.
    """
    factor = min(max(scale) / max(size), min(scale) / min(size))
    width, height = (max(int(edge * factor + offset), 1) for edge in size)
    return width, height


@TRANSFORMS.register_module()
class Resize(BaseTransform):
    """Resize the image with its boxes, masks and label map.

    Args:
        scale: Target (w, h); one integer means both.
        scale_factor: Multiplier (w, h), used where ``scale`` is None.
        keep_ratio: Take ``scale`` as the bounds of the long and the short edge and keep the aspect ratio.
        clip_object_border: Clip boxes to the image.
        backend: ``'cv2'`` or ``'pillow'``.
        interpolation: Of the image; label maps and masks take the nearest pixel.

    Raises:
        ConfigError: If neither ``scale`` nor ``scale_factor`` is given, or a value is unknown.
    """

    _rounding = 0.5

    def __init__(
        self,
        scale: Scale | None = None,
        scale_factor: float | Sequence[float] | None = None,
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = "cv2",
        interpolation: str = "bilinear",
    ) -> None:
        name = type(self).__name__
        if scale is None and scale_factor is None:
            raise ConfigError(f"{name}: give scale (w, h) or scale_factor")
        check_choice(name, "backend", backend, BACKENDS)
        check_choice(name, "interpolation", interpolation, INTERPOLATIONS)
        self.scale = pair_of_ints(name, "scale", scale) if scale is not None else None
        factors = (scale_factor,) * 2 if isinstance(scale_factor, (int, float)) else tuple(scale_factor or (1.0, 1.0))
        if len(factors) != 2 or min(factors) <= 0:
            raise ConfigError(f"{name}: scale_factor must be one or two positive numbers, got {scale_factor!r}")
        self.scale_factor = factors
        self.keep_ratio = keep_ratio
        self.clip_object_border = clip_object_border
        self.backend = backend
        self.interpolation = interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize a sample; sets ``scale``, ``scale_factor`` (w, h), ``keep_ratio`` and ``img_shape`` (h, w)."""
        return self.resize_to(results, self.scale)

    def resize_to(self, results: dict[str, Any], scale: tuple[int, int] | None) -> dict[str, Any]:
        """Resize a sample to ``scale`` (w, h) in place of the configured one; None: by ``scale_factor``."""
        height, width = results["img"].shape[:2]
        if scale is None:
            by_width, by_height = self.scale_factor
            scale = max(int(width * by_width + 0.5), 1), max(int(height * by_height + 0.5), 1)
        size = fit_size((width, height), scale, self._rounding) if self.keep_ratio else scale
        resize_sample(results, size, self.interpolation, self.clip_object_border, self.backend)
        results["scale"] = scale
        results["keep_ratio"] = self.keep_ratio
        return results


@TRANSFORMS.register_module()
class FixScaleResize(Resize):
    """`Resize` that rounds the sizes of ``keep_ratio`` down, as GLIP and Grounding DINO were trained."""

    _rounding = 0.0


@TRANSFORMS.register_module()
class ResizeToMultiple(BaseTransform):
    """Stretch to the next size that a number divides, in both directions: what a network's strides need.

    Args:
        size_divisor: The number, in pixels.
        interpolation: Of the image; label maps and masks take the nearest pixel.

    Raises:
        ConfigError: If ``size_divisor`` is not a positive integer, or ``interpolation`` unknown.

    Source: the transform of this name of open-mmlab/mmsegmentation.
    """

    def __init__(self, size_divisor: int = 32, interpolation: str = "bilinear") -> None:
        if not isinstance(size_divisor, int) or size_divisor < 1:
            raise ConfigError(f"ResizeToMultiple: size_divisor must be a positive integer, got {size_divisor!r}")
        check_choice("ResizeToMultiple", "interpolation", interpolation, INTERPOLATIONS)
        self.size_divisor = size_divisor
        self.interpolation = interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize a sample; ``scale_factor`` and ``img_shape`` are the new ones."""
        height, width = (edge + -edge % self.size_divisor for edge in results["img"].shape[:2])
        resize_sample(results, (width, height), self.interpolation)
        return results


@TRANSFORMS.register_module()
class ResizeShortestEdge(BaseTransform):
    """Resize so that the short edge has a given length, unless the long edge would exceed ``max_size``.

    Args:
        scale: Length of the short edge; of two numbers the smaller.
        max_size: Bound of the long edge.
    """

    def __init__(self, scale: Scale, max_size: int) -> None:
        self.scale = scale
        self.max_size = max_size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize a sample; sets ``scale``, ``scale_factor`` and ``img_shape``."""
        return self.resize_to(results, self.scale)

    def resize_to(self, results: dict[str, Any], scale: Scale) -> dict[str, Any]:
        """Resize a sample with ``scale`` in place of the configured short edge."""
        short = scale if isinstance(scale, (int, np.integer)) else min(scale)
        height, width = results["img"].shape[:2]
        factor = min(short / min(height, width), self.max_size / max(height, width))
        size = (max(int(width * factor + 0.5), 1), max(int(height * factor + 0.5), 1))
        resize_sample(results, size)
        results["scale"] = size
        results["keep_ratio"] = True
        return results


@TRANSFORMS.register_module()
class ResizeEdge(BaseTransform):
    """Resize so that one edge has a given length and the aspect ratio stays (mmpretrain).

    Args:
        scale: Length in pixels.
        edge: Which edge: ``'short'``, ``'long'``, ``'width'`` or ``'height'``.
        backend: ``'cv2'`` or ``'pillow'``.
        interpolation: Of the image.
    """

    def __init__(self, scale: int, edge: str = "short", backend: str = "cv2", interpolation: str = "bilinear") -> None:
        check_choice("ResizeEdge", "edge", edge, ("short", "long", "width", "height"))
        check_choice("ResizeEdge", "backend", backend, BACKENDS)
        check_choice("ResizeEdge", "interpolation", interpolation, INTERPOLATIONS)
        self.scale = scale
        self.edge = edge
        self.backend = backend
        self.interpolation = interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize a sample; sets ``scale``, ``scale_factor`` and ``img_shape``."""
        height, width = results["img"].shape[:2]
        by_width = {"short": width < height, "long": width > height}.get(self.edge, self.edge == "width")
        if by_width:
            size = (self.scale, max(int(self.scale * height / width), 1))
        else:
            size = (max(int(self.scale * width / height), 1), self.scale)
        resize_sample(results, size, self.interpolation, backend=self.backend)
        results["scale"] = size
        return results


def _build_resize(
    name: str,
    resize_type: str,
    keep_ratio: bool,
    clip_object_border: bool,
    backend: str,
    interpolation: str,
    max_size: int | None,
) -> Resize | ResizeShortestEdge:
    """Return the resize that a random one applies, without a scale of its own."""
    check_choice(name, "resize_type", resize_type, ("Resize", "ResizeShortestEdge"))
    if resize_type == "Resize":
        return Resize(1, None, keep_ratio, clip_object_border, backend, interpolation)
    if max_size is None:
        raise ConfigError(f"{name}: resize_type='ResizeShortestEdge' needs max_size")
    return ResizeShortestEdge(1, max_size)


@TRANSFORMS.register_module()
class RandomResize(BaseTransform):
    """Resize to a random size.

    With ``ratio_range=(0.1, 2.0)`` and ``keep_ratio=True``, followed by `RandomCrop`, this is the large-scale jitter of
    Ghiasi et al. (https://arxiv.org/abs/2012.07177).

    Args:
        scale: (w, h), multiplied by a ratio from ``ratio_range``; or two such pairs, between which width and height are
            drawn independently.
        ratio_range: (smallest, largest) ratio, uniformly drawn; needed with one pair.
        resize_type: ``'Resize'`` or ``'ResizeShortestEdge'``.
        keep_ratio: For ``Resize``, as are the next three.
        clip_object_border: Clip boxes to the image.
        backend: ``'cv2'`` or ``'pillow'``.
        interpolation: Of the image.
        max_size: For ``ResizeShortestEdge``: bound of the long edge.

    Raises:
        ConfigError: If ``scale`` and ``ratio_range`` do not go together.
    """

    def __init__(
        self,
        scale: Sequence[Any],
        ratio_range: Sequence[float] | None = None,
        resize_type: str = "Resize",
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = "cv2",
        interpolation: str = "bilinear",
        max_size: int | None = None,
    ) -> None:
        one_pair = len(scale) == 2 and all(isinstance(s, (int, np.integer)) for s in scale)
        two_pairs = len(scale) == 2 and all(isinstance(s, Sequence) and len(s) == 2 for s in scale)
        if not (one_pair and ratio_range is not None) and not (two_pairs and ratio_range is None):
            raise ConfigError(
                "RandomResize: scale must be (w, h) with ratio_range, or two pairs without, "
                f"got scale={scale!r}, ratio_range={ratio_range!r}"
            )
        self.scale = scale
        self.ratio_range = ratio_range
        self.resize = _build_resize(
            "RandomResize", resize_type, keep_ratio, clip_object_border, backend, interpolation, max_size
        )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize a sample; sets what `Resize` sets."""
        return self.resize.resize_to(results, self._draw())

    def _draw(self) -> tuple[int, int]:
        if self.ratio_range is None:
            width, height = (np.random.randint(min(edges), max(edges) + 1) for edges in zip(*self.scale, strict=True))
            return width, height
        low, high = self.ratio_range
        ratio = np.random.random_sample() * (high - low) + low
        return max(int(self.scale[0] * ratio), 1), max(int(self.scale[1] * ratio), 1)


@TRANSFORMS.register_module()
class RandomChoiceResize(BaseTransform):
    """Resize to one of several scales, each as likely.

    Args:
        scales: Scales, each (w, h) or one integer.
        resize_type: ``'Resize'`` or ``'ResizeShortestEdge'``.
        keep_ratio: For ``Resize``, as are the next three.
        clip_object_border: Clip boxes to the image.
        backend: ``'cv2'`` or ``'pillow'``.
        interpolation: Of the image.
        max_size: For ``ResizeShortestEdge``: bound of the long edge.
    """

    def __init__(
        self,
        scales: Sequence[Scale],
        resize_type: str = "Resize",
        keep_ratio: bool = False,
        clip_object_border: bool = True,
        backend: str = "cv2",
        interpolation: str = "bilinear",
        max_size: int | None = None,
    ) -> None:
        self.scales = [pair_of_ints("RandomChoiceResize", "each of scales", scale) for scale in scales]
        self.resize = _build_resize(
            "RandomChoiceResize", resize_type, keep_ratio, clip_object_border, backend, interpolation, max_size
        )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize a sample; sets what `Resize` sets, and ``scale_idx``."""
        index = np.random.randint(len(self.scales))
        results["scale_idx"] = index
        return self.resize.resize_to(results, self.scales[index])
