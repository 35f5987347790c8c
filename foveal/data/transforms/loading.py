"""Reading images and annotations from files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from PIL import Image
from pycocotools import mask as mask_utils

from foveal.data.packed import is_packed, read_packed
from foveal.data.transforms.sample import BACKENDS, check_choice, file_of
from foveal.errors import DataError
from foveal.registry import TRANSFORMS

_COLOR_TYPES = ("color", "grayscale", "unchanged", "color_ignore_orientation", "grayscale_ignore_orientation")


def read_image(
    path: str,
    flag: str = "color",
    backend: str = "cv2",
    backend_args: Mapping[str, Any] | None = None,
    max_pixels: int | None = None,
) -> np.ndarray:
    """Read and decode an image.

    Args:
        path: File, an image in a file of `foveal.data.packed`, or whatever mmengine's file backends take.
        flag: ``'color'`` (BGR, turned upright by the EXIF tag), ``'grayscale'`` ([H, W]), ``'unchanged'``, or one of
            the first two with ``_ignore_orientation``.
        backend: ``'cv2'`` or ``'pillow'``.
        backend_args: Arguments of the file backend.
        max_pixels: Refuse larger images by what their header says, before anything is decoded. None: any.

    Returns:
        [H, W] or [H, W, C]; uint8 unless ``flag`` is ``'unchanged'``.

    Raises:
        DataError: If the file is missing, does not decode, or is too large.
    """
    if is_packed(path):
        kept = read_packed(path)
        gray = flag.startswith("grayscale") and kept.ndim == 3
        return cv2.cvtColor(kept, cv2.COLOR_BGR2GRAY) if gray else kept
    try:
        content = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError:
        raise DataError(f"the image {path} does not exist") from None
    except OSError as error:
        raise DataError(f"the image {path} cannot be read: {error}") from error
    if max_pixels is not None:
        _refuse_large(path, content, max_pixels)
    try:
        image = mmcv.imfrombytes(content, flag=flag, backend=backend)
    except (cv2.error, OSError, SyntaxError, ValueError):  # Pillow reports a broken PNG as a SyntaxError
        image = None
    if image is None:
        raise DataError(f"the image {path} does not decode ({len(content)} bytes, {backend})")
    return image


def _refuse_large(path: str, content: bytes, max_pixels: int) -> None:
    """Raise where an image's header claims more pixels; what has no header that Pillow reads is left to the decoder."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a bomb, which is what is looked for
            width, height = Image.open(io.BytesIO(content)).size
    except Image.DecompressionBombError:
        raise DataError(f"the image {path} has more than max_pixels={max_pixels}, by far") from None
    except (OSError, SyntaxError, ValueError):
        return
    if width * height > max_pixels:
        raise DataError(f"the image {path} has {width} x {height} pixels, more than max_pixels={max_pixels}")


@TRANSFORMS.register_module()
class LoadImageFromFile(BaseTransform):
    """Read ``results['img_path']`` into ``results['img']``, BGR.

    Like mmcv's, it turns the image upright by its EXIF tag, unless ``color_type`` says otherwise: boxes made on the
    upright image fit.

    Args:
        to_float32: Convert to float32, on the same scale.
        color_type: See `read_image`.
        imdecode_backend: ``'cv2'`` or ``'pillow'``.
        key: Where the image goes; ``'gt_img'`` reads ``results['gt_img_path']``, the sharp image of a restoration pair.
        backend_args: Arguments of mmengine's file backend.
        cache: Keep decoded images in memory, in every worker: for data sets of some hundred images, of which small
            patches are taken again and again.
        max_pixels: Refuse larger images before they are decoded; for data from anywhere. None: any.

    Raises:
        DataError: From ``transform``, if the file is missing, does not decode, or is too large.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = "color",
        imdecode_backend: str = "cv2",
        key: str = "img",
        backend_args: Mapping[str, Any] | None = None,
        cache: bool = False,
        max_pixels: int | None = None,
    ) -> None:
        check_choice("LoadImageFromFile", "color_type", color_type, _COLOR_TYPES)
        check_choice("LoadImageFromFile", "imdecode_backend", imdecode_backend, BACKENDS)
        check_choice("LoadImageFromFile", "key", key, ("img", "gt_img"))
        self.to_float32 = to_float32
        self.color_type = color_type
        self.imdecode_backend = imdecode_backend
        self.key = key
        self.backend_args = backend_args
        self.max_pixels = max_pixels
        self._kept: dict[str, np.ndarray] | None = {} if cache else None

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the image; ``img`` also sets ``img_shape`` and ``ori_shape`` (h, w)."""
        image = self._read(results[f"{self.key}_path"])
        results[self.key] = image.astype(np.float32) if self.to_float32 else image
        if self.key == "img":
            results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def _read(self, path: str) -> np.ndarray:
        if self._kept is not None and path in self._kept:
            return self._kept[path]
        image = read_image(path, self.color_type, self.imdecode_backend, self.backend_args, self.max_pixels)
        if self._kept is not None:
            image.flags.writeable = False  # whoever changes it would change it for all epochs
            self._kept[path] = image
        return image


@TRANSFORMS.register_module()
class LoadAnnotations(BaseTransform):
    """Turn a record's annotations into arrays; serves mmdet's and mmseg's configs.

    Args:
        with_bbox: Make ``gt_bboxes`` float32 [N, 4] and ``gt_ignore_flags`` bool [N].
        with_label: Make ``gt_bboxes_labels`` int64 [N].
        with_mask: Make ``gt_masks`` uint8 [N, H, W] of polygons and both kinds of RLE. An instance whose polygons all
            have fewer than three points is marked as ignored.
        with_seg: Make ``gt_seg_map`` uint8 [H, W] of the file ``seg_map_path``, 255 = ignored. None: only where the
            record has that file and no ``instances``, so that the bare transform suits segmentation, too.
        poly2mask: Has no effect: masks are always bitmaps. It is accepted because many configs give it.
        reduce_zero_label: Turn label 0 into 255 and lower the others by one, before the record's ``label_map`` is
            applied. None: what the record says.
        imdecode_backend: Decoder of the label map. OpenCV turns the indices of a palette image into colours; Pillow
            keeps them.
        backend_args: Arguments of mmengine's file backend.

    Raises:
        DataError: From ``transform``, if the label map does not decode, or a mask or label map has another size than
            the image.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = False,
        with_seg: bool | None = None,
        poly2mask: bool = True,
        reduce_zero_label: bool | None = None,
        imdecode_backend: str = "pillow",
        backend_args: Mapping[str, Any] | None = None,
    ) -> None:
        check_choice("LoadAnnotations", "imdecode_backend", imdecode_backend, BACKENDS)
        self.with_bbox = with_bbox
        self.with_label = with_label
        self.with_mask = with_mask
        self.with_seg = with_seg
        self.poly2mask = poly2mask
        self.reduce_zero_label = reduce_zero_label
        self.imdecode_backend = imdecode_backend
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the arrays that the arguments name."""
        instances = results.get("instances")
        has_seg_only = instances is None and results.get("seg_map_path") is not None
        if self.with_seg or (self.with_seg is None and has_seg_only):
            results["gt_seg_map"] = self._load_seg_map(results)
        if has_seg_only and not self.with_mask:
            return results
        load_instances(results, instances or [], self.with_bbox, self.with_label)
        if self.with_mask:
            masks, usable = decode_masks(instances or [], _image_shape(results), file_of(results))
            results["gt_masks"] = masks
            results["gt_ignore_flags"] = _ignore_flags(instances or []) | ~usable
        return results

    def _load_seg_map(self, results: dict[str, Any]) -> np.ndarray:
        """Return the label map, uint8 [H, W]."""
        path = results["seg_map_path"]
        seg = read_image(path, "unchanged", self.imdecode_backend, self.backend_args)
        seg = seg[..., 0] if seg.shape[2:] == (1,) else seg
        if seg.ndim != 2:
            raise DataError(f"the label map {path} has {seg.shape[2]} channels; expected one, the class of each pixel")
        if "ori_shape" in results and seg.shape != results["ori_shape"]:
            raise DataError(f"the label map {path} is {_size(seg.shape)}, its image {_size(results['ori_shape'])}")
        if seg.max() > 255:
            raise DataError(f"the label map {path} has the label {seg.max()}; labels must be at most 255")
        table = _label_table(self._reduces_zero(results), results.get("label_map"))
        seg = seg.astype(np.uint8)
        return seg if table is None else table[seg]

    def _reduces_zero(self, results: dict[str, Any]) -> bool:
        own = self.reduce_zero_label
        return bool(results.get("reduce_zero_label", False)) if own is None else own


def load_instances(
    results: dict[str, Any], instances: Sequence[Mapping[str, Any]], with_bbox: bool, with_label: bool
) -> None:
    """Put boxes, ignore flags and labels of a record's ``instances`` into a sample.

    Args:
        results: The sample.
        instances: Dicts with ``bbox``, ``bbox_label`` and ``ignore_flag``.
        with_bbox: Set ``gt_bboxes`` and ``gt_ignore_flags``.
        with_label: Set ``gt_bboxes_labels``.
    """
    if with_bbox:
        boxes = np.array([instance["bbox"] for instance in instances], dtype=np.float32)
        results["gt_bboxes"] = boxes.reshape(-1, 4)
        results["gt_ignore_flags"] = _ignore_flags(instances)
    if with_label:
        results["gt_bboxes_labels"] = np.array([instance["bbox_label"] for instance in instances], dtype=np.int64)


def decode_masks(
    instances: Sequence[Mapping[str, Any]], shape: tuple[int, int], source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Turn the ``mask`` of each instance, polygons or RLE, into bitmaps.

    Args:
        instances: Dicts with ``mask``: a list of polygons [x1, y1, x2, y2, …], or a dict with ``size`` (h, w) and
            ``counts``, text or a list.
        shape: (h, w) of the image.
        source: What the masks belong to, for messages.

    Returns:
        Masks uint8 [N, H, W] and bool [N]: False where no polygon has three points; such a mask is empty.

    Raises:
        DataError: If a mask is missing, malformed, or of another size than the image.
    """
    usable = np.ones(len(instances), dtype=bool)
    if not instances:
        return np.zeros((0, *shape), np.uint8), usable
    rles = []
    for index, instance in enumerate(instances):
        where = f"{source}: instance {index}"
        mask = instance.get("mask")
        if isinstance(mask, list):
            polygons = [polygon for polygon in mask if _has_area(polygon, shape, where)]
            usable[index] = bool(polygons)
            parts = mask_utils.frPyObjects(polygons or [[0.0] * 6], *shape)
            rles.append(mask_utils.merge(parts))
        elif isinstance(mask, Mapping) and {"size", "counts"} <= set(mask):
            size = mask["size"]
            if not isinstance(size, list | tuple) or len(size) != 2:
                raise DataError(f"{where}: the size of its mask must be [height, width], got {str(size)[:40]}")
            if tuple(size) != tuple(shape):
                raise DataError(f"{where}: its mask is {_size(size)}, the image {_size(shape)}")
            try:
                rles.append(mask_utils.frPyObjects(mask, *shape) if isinstance(mask["counts"], list) else mask)
            except (TypeError, ValueError, OverflowError) as error:
                raise DataError(f"{where}: its RLE does not decode: {error}") from None
        elif mask is None:
            raise DataError(f"{where} has no mask, which with_mask=True needs")
        else:
            raise DataError(f"{where}: a mask must be a list of polygons or a dict with size and counts, got {mask!r}")
    columns = _decode(rles, source).T  # [N, W, H] without a copy: the masks come column by column
    return np.stack([cv2.transpose(mask) for mask in columns]), usable


def _has_area(polygon: Any, shape: tuple[int, int], where: str) -> bool:
    """Whether a polygon has three points or more.

    Raises:
        DataError: If it is not numbers; if one is not finite, or further from the image than that is long: to draw a
            polygon takes memory by the length of its border.
    """
    try:
        numbers = np.asarray(polygon, dtype=np.float64).reshape(len(polygon))
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{where}: a polygon must be a list of numbers, got {str(polygon)[:40]}") from None
    longest = max(shape)
    if not ((numbers >= -longest) & (numbers <= 2 * longest)).all():  # this way round, NaN is refused too
        raise DataError(f"{where}: a polygon reaches far out of its image of {_size(shape)}")
    return len(numbers) >= 6 and len(numbers) % 2 == 0


def _decode(rles: list[Any], source: str) -> np.ndarray:
    """Return the bitmaps [H, W, N] of all instances.

    Raises:
        DataError: If an RLE does not decode, or has more pixels than its image; names the instance.
    """
    try:
        return mask_utils.decode(rles)
    except (TypeError, ValueError):
        for index, rle in enumerate(rles):
            try:
                mask_utils.decode(rle)
            except (TypeError, ValueError) as error:
                raise DataError(f"{source}: instance {index}: its RLE does not decode: {error}") from None
        raise


def _image_shape(results: Mapping[str, Any]) -> tuple[int, int]:
    """Return the (h, w) of the image as annotated."""
    return results["ori_shape"] if "ori_shape" in results else (results["height"], results["width"])


def _ignore_flags(instances: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([instance.get("ignore_flag", 0) for instance in instances], dtype=bool)


def _label_table(reduce_zero_label: bool, label_map: Mapping[int, int] | None) -> np.ndarray | None:
    """Return the new label of each of the 256 old ones, or None where nothing changes."""
    if not reduce_zero_label and not label_map:
        return None
    table = np.arange(256)
    if reduce_zero_label:
        table = np.where((table == 0) | (table == 255), 255, table - 1)
    mapped = table.copy()
    for old, new in (label_map or {}).items():
        mapped[table == old] = new if 0 <= new <= 255 else 255
    return mapped.astype(np.uint8)


def _size(shape: Sequence[int]) -> str:
    """Write (h, w) as people do: width x height."""
    return f"{shape[1]}x{shape[0]}"
