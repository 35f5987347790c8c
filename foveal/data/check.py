"""Reading a whole dataset and telling what is wrong with it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import cv2
import numpy as np
from PIL import Image

from foveal.data.base import Dataset
from foveal.data.check_coco import annotation_findings, png_findings, segment_findings
from foveal.data.coco import CocoDataset
from foveal.data.coco_panoptic import CocoPanopticDataset
from foveal.data.depth import DepthDataset
from foveal.data.finding import Finding
from foveal.data.seg_folder import IGNORED, SegFolderDataset
from foveal.data.transforms.depth import read_depth
from foveal.errors import DataError, FovealError

Job = Callable[[], list[Finding]]
Size = tuple[int, int]


@dataclass
class CheckReport:
    """What a check found.

    Args:
        findings: Everything that is wrong, in the order of the data.
        counts: How many ``images``, ``masks``, ``depth maps`` and ``annotations`` were looked at.
    """

    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def by_kind(self) -> Counter[str]:
        """Number of findings of each kind."""
        return Counter(finding.kind for finding in self.findings)

    def summary(self) -> str:
        """Return one line: what was looked at and how many findings of each kind there are."""
        seen = ", ".join(f"{count} {what}" for what, count in self.counts.items() if count) or "nothing"
        kinds = ", ".join(f"{count} x {kind}" for kind, count in self.by_kind.most_common())
        return f"{seen} checked; {f'{len(self.findings)} found: {kinds}' if kinds else 'all is well'}"


def check_dataset(dataset: Any, progress: Callable[[list], Iterable] | None = None) -> CheckReport:
    """Read every record, image and mask of a dataset, before anything is filtered or left out.

    The kinds of findings: ``dataset`` (it cannot be built), ``missing file``, ``unreadable image`` (truncated ones
    too), ``image size`` (not as annotated), ``empty box``, ``box outside image``, ``bad box``, ``unknown category``,
    ``unknown image`` (an annotation's image is not in the file), ``duplicate id``, ``bad mask``, ``mask size``,
    ``mask value``, ``bad depth map``, ``segments`` (a panoptic PNG and its JSON disagree).

    Args:
        dataset: One of ours, built with ``lazy_init=True`` where its annotations may be so broken that it cannot read
            them, or a wrapper around some (mmengine's ConcatDataset, RepeatDataset).
        progress: Given the list of all that is to be done, returns it as something to go through, such as rich's
            ``track``, which draws a bar.

    Returns:
        The findings; none if all is well.
    """
    report = CheckReport()
    jobs: list[Job] = []
    for part in _parts(dataset):
        try:
            part.check_paths()
            jobs += _plan(part, report)
        except FovealError as error:
            report.findings.append(Finding("dataset", part.source, str(error)))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        running = [pool.submit(job) for job in jobs]
        for future in running if progress is None else progress(running):
            report.findings += future.result()
    return report


def _parts(dataset: Any) -> Iterator[Dataset]:
    """Yield the datasets of ours inside mmengine's wrappers."""
    if hasattr(dataset, "datasets"):
        for inner in dataset.datasets:
            yield from _parts(inner)
    elif hasattr(dataset, "dataset"):
        yield from _parts(dataset.dataset)
    else:
        yield dataset


def _plan(dataset: Dataset, report: CheckReport) -> list[Job]:
    """Check the annotations of ``dataset`` and return what is to be done for each of its images."""
    if isinstance(dataset, CocoPanopticDataset):
        return _plan_panoptic(dataset, report)
    if isinstance(dataset, CocoDataset):
        return _plan_coco(dataset, report)
    if isinstance(dataset, SegFolderDataset):
        return _plan_masks(dataset, report)
    if isinstance(dataset, DepthDataset):
        records = dataset.records()
        report.counts.update({"images": len(records), "depth maps": len(records)})
        return [partial(_check_depth, record["img_path"], record["depth_map_path"]) for record in records]
    dataset.full_init()
    records = [dataset.get_data_info(index) for index in range(len(dataset))]
    paths = [record[key] for record in records for key in ("img_path", "gt_img_path") if record.get(key)]
    report.counts["images"] += len(paths)
    return [partial(_check_image, path) for path in paths]


def _plan_coco(dataset: CocoDataset, report: CheckReport) -> list[Job]:
    coco = dataset.read_annotations()
    report.counts.update(images=len(coco.images), annotations=len(coco.annotations))
    report.findings += annotation_findings(coco)
    report.findings += _building_problem(dataset)
    return [
        partial(_check_image, dataset.image_path(image), (image["height"], image["width"])) for image in coco.images
    ]


def _plan_panoptic(dataset: CocoPanopticDataset, report: CheckReport) -> list[Job]:
    coco = dataset.read_annotations()
    segments = sum(len(annotation["segments_info"]) for annotation in coco.annotations)
    report.counts.update(images=len(coco.images), masks=len(coco.annotations), annotations=segments)
    report.findings += segment_findings(coco)
    report.findings += _building_problem(dataset)
    jobs: list[Job] = []
    for image in coco.images:
        size = (image["height"], image["width"])
        jobs.append(partial(_check_image, dataset.image_path(image), size))
        for annotation in coco.of_image.get(image["id"], ()):
            jobs.append(partial(_check_panoptic_png, dataset.segment_path(annotation), size, annotation))
    return jobs


def _plan_masks(dataset: SegFolderDataset, report: CheckReport) -> list[Job]:
    pairs = dataset.pairs()
    report.counts.update(images=len(pairs), masks=sum(mask is not None for _, mask in pairs))
    # a missing file keeps it from being built, but is reported by name below
    if all(os.path.isfile(path) for pair in pairs for path in pair if path is not None):
        report.findings += _building_problem(dataset)
    zero = int(dataset.reduce_zero_label)
    allowed = {*range(dataset.mask_class_count + zero), dataset.ignore_index + zero, IGNORED}
    return [partial(_check_pair, image, mask, allowed) for image, mask in pairs]


def _building_problem(dataset: Dataset) -> list[Finding]:
    """Return what keeps the dataset from being built, such as classes that the file does not have."""
    try:
        dataset.full_init()
    except FovealError as error:
        return [Finding("dataset", dataset.source, str(error))]
    return []


def _check_image(path: str, size: Size | None = None) -> list[Finding]:
    return _read_image(path, size)[1]


def _read_image(path: str, size: Size | None = None) -> tuple[Size | None, list[Finding]]:
    """Decode an image; return its (h, w), None where it cannot be read, and what is wrong with it."""
    if not os.path.isfile(path):
        return None, [Finding("missing file", path, "the image does not exist")]
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        return None, [Finding("unreadable image", path, f"{os.path.getsize(path)} bytes do not decode")]
    got = image.shape[:2]
    found = []
    if _is_truncated(path):
        found.append(Finding("unreadable image", path, "the file is cut short: its last rows are missing"))
    if size is not None and got != size:
        annotated, actual = f"{size[1]}x{size[0]}", f"{got[1]}x{got[0]}"
        found.append(Finding("image size", path, f"annotated as {annotated}, is {actual} (width x height)"))
    return got, found


def _is_truncated(path: str) -> bool:
    """Tell whether a JPEG ends early, which OpenCV decodes without complaint."""
    with open(path, "rb") as file:
        if file.read(2) != b"\xff\xd8":
            return False
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError):
        return True
    return False


def _read_mask(path: str) -> tuple[np.ndarray | None, list[Finding]]:
    """Decode a mask with its values as stored: a palette's indices, not its colours."""
    if not os.path.isfile(path):
        return None, [Finding("missing file", path, "the mask does not exist")]
    try:
        with Image.open(path) as image:
            return np.asarray(image), []
    except (OSError, SyntaxError) as error:
        return None, [Finding("bad mask", path, f"does not decode: {error}")]


def _check_pair(image_path: str, mask_path: str | None, allowed: set[int]) -> list[Finding]:
    """Check an image and its mask, whose values must be among ``allowed``."""
    size, found = _read_image(image_path)
    if mask_path is None:
        return found
    mask, problems = _read_mask(mask_path)
    found += problems
    if mask is None:
        return found
    if mask.ndim != 2:
        channels = mask.shape[-1]
        return [*found, Finding("bad mask", mask_path, f"has {channels} channels; a mask has one, of class numbers")]
    found += _size_finding(mask_path, mask.shape, size)
    wrong = [int(value) for value in np.unique(mask) if int(value) not in allowed]
    if wrong:
        highest = max(allowed - {IGNORED}, default=IGNORED)
        values = ", ".join(map(str, wrong[:10])) + (" …" if len(wrong) > 10 else "")
        found.append(Finding("mask value", mask_path, f"has the value {values}; classes end at {highest}"))
    return found


def _check_depth(image_path: str, depth_path: str) -> list[Finding]:
    """Check an image and its depth map."""
    size, found = _read_image(image_path)
    if not os.path.isfile(depth_path):
        return [*found, Finding("missing file", depth_path, "the depth map does not exist")]
    try:
        depth = read_depth(depth_path)
    except DataError as error:
        return [*found, Finding("bad depth map", depth_path, str(error))]
    if not depth.any():
        found.append(Finding("bad depth map", depth_path, "has no known depth"))
    return [*found, *_size_finding(depth_path, depth.shape, size)]


def _check_panoptic_png(path: str, size: Size, annotation: dict[str, Any]) -> list[Finding]:
    mask, found = _read_mask(path)
    if mask is None:
        return found
    if mask.ndim != 3 or mask.shape[-1] < 3:
        return [Finding("bad mask", path, f"has shape {mask.shape}; a panoptic PNG is RGB")]
    return [*_size_finding(path, mask.shape[:2], size), *png_findings(path, mask, annotation)]


def _size_finding(path: str, got: tuple[int, ...], size: Size | None) -> list[Finding]:
    if size is None or tuple(got) == tuple(size):
        return []
    detail = f"is {got[1]}x{got[0]}, its image {size[1]}x{size[0]} (width x height)"
    return [Finding("mask size", path, detail)]
