"""What can be wrong inside COCO's JSON files and panoptic PNGs."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

import numpy as np
from pycocotools import mask as rle

from foveal.data.coco_json import CocoFile
from foveal.data.finding import Finding

SLACK = 1.0  # px; COCO's own boxes and polygons are rounded and may pass the border by a fraction of a pixel


def annotation_findings(coco: CocoFile) -> Iterator[Finding]:
    """Yield what is wrong with the annotations of an instance file, ids, boxes and masks.

    Args:
        coco: The file, unfiltered.
    """
    images = {image["id"]: image for image in coco.images}
    categories = {category["id"] for category in coco.categories}
    seen: set[Any] = set()
    for annotation in coco.annotations:
        place = f"annotation {annotation['id']} of image {annotation['image_id']}"
        image = images.get(annotation["image_id"])
        problems = []
        if annotation["id"] in seen:
            problems.append(("duplicate id", "its id was used before"))
        seen.add(annotation["id"])
        if annotation["category_id"] not in categories:
            problems.append(("unknown category", f"category_id {annotation['category_id']} is not in 'categories'"))
        if image is None:
            problems.append(("unknown image", "the image is not in 'images'"))
        else:
            problems += _box_problems(annotation, image)
            problems += _mask_problems(annotation.get("segmentation"), image)
        for kind, detail in problems:
            yield Finding(kind, coco.path, f"{place}: {detail}")


def segment_findings(coco: CocoFile) -> Iterator[Finding]:
    """Yield what is wrong with the segments of a panoptic file, its PNGs aside.

    Args:
        coco: The file, unfiltered; an annotation is an image's list of segments.
    """
    images = {image["id"]: image for image in coco.images}
    categories = {category["id"] for category in coco.categories}
    for annotation in coco.annotations:
        image = images.get(annotation["image_id"])
        if image is None:
            detail = f"segments of image {annotation['image_id']}: the image is not in 'images'"
            yield Finding("unknown image", coco.path, detail)
            continue
        for segment in annotation["segments_info"]:
            problems = _box_problems(segment, image)
            if segment["category_id"] not in categories:
                problems.append(("unknown category", f"category_id {segment['category_id']} is not in 'categories'"))
            for kind, detail in problems:
                yield Finding(kind, coco.path, f"segment {segment['id']} of image {image['id']}: {detail}")
    for image in coco.images:
        if not coco.of_image.get(image["id"]):
            yield Finding("segments", coco.path, f"image {image['id']} ({image['file_name']}) has no annotation")


def png_findings(path: str, png: np.ndarray, annotation: dict[str, Any]) -> Iterator[Finding]:
    """Yield where a panoptic PNG and its JSON disagree.

    Args:
        path: The PNG's name, for the findings.
        png: uint8 [H, W, 3], RGB.
        annotation: The image's entry, with ``segments_info``.
    """
    ids, areas = np.unique(segment_ids(png), return_counts=True)
    areas_in_png = dict(zip(ids.tolist(), areas.tolist(), strict=True))
    areas_in_png.pop(0, None)  # 0 is unlabelled
    for segment in annotation["segments_info"]:
        area = areas_in_png.pop(segment["id"], None)
        if area is None:
            yield Finding("segments", path, f"segment {segment['id']} of the JSON has no pixel")
        elif area != segment["area"]:
            detail = f"segment {segment['id']} has {area} pixels, the JSON says {segment['area']}"
            yield Finding("segments", path, detail)
    for segment_id, area in areas_in_png.items():
        yield Finding("segments", path, f"the value {segment_id} ({area} pixels) is not in the JSON")


def segment_ids(png: np.ndarray) -> np.ndarray:
    """Return the segment ids, int32 [H, W], of a panoptic PNG, uint8 [H, W, 3], RGB."""
    return png[..., 0] + png[..., 1] * np.int32(256) + png[..., 2] * np.int32(65536)


def _box_problems(annotation: dict[str, Any], image: dict[str, Any]) -> list[tuple[str, str]]:
    box = annotation["bbox"]
    if not all(map(isfinite, box)):
        return [("bad box", f"bbox {box} is not finite")]
    x, y, w, h = box
    area = annotation.get("area", w * h)
    if w < 1 or h < 1 or area <= 0:
        return [("empty box", f"bbox {box} (x, y, width, height) with area {area}; the smallest side used is 1 pixel")]
    width, height = image["width"], image["height"]
    if x < -SLACK or y < -SLACK or x + w > width + SLACK or y + h > height + SLACK:
        return [("box outside image", f"bbox {box} (x, y, width, height) in an image of {width}x{height}")]
    return []


def _mask_problems(segmentation: Any, image: dict[str, Any]) -> list[tuple[str, str]]:
    if not segmentation:
        return []
    if isinstance(segmentation, list):
        return _polygon_problems(segmentation, image)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        return [("bad mask", "the segmentation is neither polygons nor a dict with 'size' and 'counts'")]
    size = segmentation["size"]
    if not isinstance(size, list) or len(size) != 2:
        return [("bad mask", f"the RLE's size is {size!r}, not [height, width]")]
    height, width = size
    if (height, width) != (image["height"], image["width"]):
        detail = f"the RLE is {width}x{height}, its image {image['width']}x{image['height']} (width x height)"
        return [("mask size", detail)]
    counts = segmentation["counts"]
    if isinstance(counts, list):
        total = sum(counts)
        return [] if total == height * width else [("bad mask", f"the RLE has {total} of {height * width} pixels")]
    try:
        rle.decode(segmentation)
    except (ValueError, TypeError) as error:
        return [("bad mask", f"the RLE does not decode: {error}")]
    return []


def _polygon_problems(polygons: list[Any], image: dict[str, Any]) -> list[tuple[str, str]]:
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            length = len(polygon) if isinstance(polygon, list) else repr(polygon)
            return [("bad mask", f"a polygon of {length} numbers; it needs three points or more, two numbers each")]
        xs, ys = polygon[0::2], polygon[1::2]
        if min(xs + ys) < -SLACK or max(xs) > image["width"] + SLACK or max(ys) > image["height"] + SLACK:
            size = f"{image['width']}x{image['height']}"
            return [("bad mask", f"a polygon reaches out of its image of {size}")]
    return []
