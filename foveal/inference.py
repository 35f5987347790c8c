"""Predictions on whatever a user names, written in the forms that other programs read."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from foveal import api, video
from foveal.cache import home
from foveal.engine.download import fetch
from foveal.engine.prediction_writer import PredictionWriter
from foveal.errors import ConfigError, DataError
from foveal.structures import DataSample
from foveal.visualization import draw_sample
from foveal.visualization.sample import draw_on_image, rgb_image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
FORMS = ("overlay", "json", "yolo", "mask")


def find_inputs(names: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Return the images and the videos that words name.

    Args:
        names: Files, folders, patterns with ``*``, ``?`` or ``**``, and URLs, which are fetched into the cache.

    Returns:
        Images and videos, each in the order of the words, within a folder or pattern by name.

    Raises:
        DataError: If a word names nothing, or a file of another kind.
    """
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if name.startswith(("http://", "https://")):
            found.append(_fetched(name))
        elif path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in (*IMAGE_SUFFIXES, *video.SUFFIXES)]
            if not inside:
                raise DataError(f"no image ({', '.join(IMAGE_SUFFIXES)}) or video in the folder {name}")
            found += inside
        elif path.exists():
            found.append(path)
        elif glob.has_magic(name):
            matches = [Path(match) for match in sorted(glob.glob(name, recursive=True)) if Path(match).is_file()]
            if not matches:
                raise DataError(f"no file matches {name}")
            found += matches
        else:
            raise DataError(f"input {name} does not exist")
    for path in found:
        if path.suffix.lower() not in (*IMAGE_SUFFIXES, *video.SUFFIXES):
            raise DataError(f"{path}: expected an image ({', '.join(IMAGE_SUFFIXES)}) or a video")
    videos = [path for path in found if path.suffix.lower() in video.SUFFIXES]
    return [path for path in found if path not in videos], videos


def predict_images(
    model: Any, images: Sequence[Path], out: str | Path, forms: Sequence[str], score_thr: float = 0.3, batch: int = 1
) -> Iterator[Path]:
    """Predict on images and write what comes out, a batch after the other.

    Args:
        model: From `foveal.init_model`.
        images: Files; of those with one name in several folders the later ones get a number.
        out: Folder.
        forms: Of ``FORMS``. ``overlay``: ``pictures/*.png``. ``json``: ``predictions.json``, detections in COCO's
            result format and labels of images. ``yolo``: ``labels/*.txt``, a line an object: class, centre and size as
            shares of the image, score. ``mask``: ``masks/*.png``, the class of each pixel, 16 bits for panoptic maps
            (class + 1000 * object); of objects with masks the number of the object, from 1. Restored images are always
            written, as ``*.png``.
        score_thr: Objects with lower scores are drawn and put into ``yolo`` and ``mask`` not at all.
        batch: Images a forward pass.

    Yields:
        Each image's path when its results are written.

    Raises:
        ConfigError: If a form is unknown.
        DataError: If an image does not decode.
    """
    for form in forms:
        if form not in FORMS:
            raise ConfigError(f"a form of results is one of {', '.join(FORMS)}, got {form!r}")
    out = Path(out)
    writer = PredictionWriter(out) if "json" in forms else None
    taken: dict[str, int] = {}
    for start in range(0, len(images), batch):
        group = images[start : start + batch]
        for path, sample in zip(group, api.predict(model, group, batch), strict=True):
            count = taken[path.stem] = taken.get(path.stem, 0) + 1
            name = path.stem if count == 1 else f"{path.stem}_{count}"
            write_sample(sample, path, name, out, forms, score_thr, model.dataset_meta)
            if writer is not None:
                writer.records_of(sample, model.dataset_meta.get("cat_ids"))
            yield path
    if writer is not None and writer.records:
        writer.close()


def write_sample(
    sample: DataSample, path: Path, name: str, out: Path, forms: Sequence[str], score_thr: float, meta: dict[str, Any]
) -> None:
    """Write one image's results under ``name``; arguments are those of `predict_images`."""
    if "pred_img" in sample:
        _write(out / f"{name}.png", rgb_image(sample.pred_img)[:, :, ::-1])
        return
    if "overlay" in forms:
        image = np.ascontiguousarray(np.asarray(cv2.imread(str(path)))[:, :, ::-1])
        _write(out / "pictures" / f"{name}.png", draw_sample(image, sample, meta, "pred", score_thr)[:, :, ::-1])
    if "mask" in forms:
        mask = label_map(sample, score_thr)
        if mask is not None:
            _write(out / "masks" / f"{name}.png", mask)
    if "yolo" in forms and "pred_instances" in sample:
        lines = yolo_lines(sample, score_thr)
        target = out / "labels" / f"{name}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(f"{line}\n" for line in lines))


def label_map(sample: DataSample, score_thr: float) -> np.ndarray | None:
    """Return a sample's classes or objects as an image [H, W], uint8 or uint16; None where it has neither."""
    if "pred_panoptic_seg" in sample:
        return sample.pred_panoptic_seg.sem_seg[0].cpu().numpy().astype(np.uint16)
    if "pred_sem_seg" in sample:
        return sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
    if "pred_instances" not in sample or "masks" not in sample.pred_instances:
        return None
    found = sample.pred_instances
    kept = found.masks[found.scores >= score_thr].cpu().numpy()
    numbers = np.zeros(found.masks.shape[1:], np.uint16)
    # the best object is written last, over the others
    for number in range(len(kept), 0, -1):
        numbers[kept[number - 1]] = number
    return numbers


def yolo_lines(sample: DataSample, score_thr: float) -> list[str]:
    """Return a sample's boxes as YOLO's text lines with scores: class, centre x, centre y, width, height, score."""
    height, width = sample.ori_shape[:2]
    found = sample.pred_instances
    lines = []
    for box, score, label in zip(found.bboxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
        if score >= score_thr:
            x1, y1, x2, y2 = box
            numbers = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height, score
            lines.append(" ".join([str(label), *(f"{number:.6f}" for number in numbers)]))
    return lines


def predict_video(model: Any, source: Path, out: str | Path, score_thr: float = 0.3) -> Path:
    """Write a video with the predictions drawn on each frame, or of restored frames, into a folder; return its path."""
    target = Path(out) / f"{source.stem}.mp4"
    target.parent.mkdir(parents=True, exist_ok=True)

    def change(frame: np.ndarray) -> np.ndarray:
        (sample,) = api.predict(model, frame)
        if "pred_img" in sample:
            return np.ascontiguousarray(rgb_image(sample.pred_img)[:, :, ::-1])
        image = np.ascontiguousarray(frame[:, :, ::-1])
        if "pred_label" in sample:
            picture = draw_sample(image, sample, model.dataset_meta, "pred", score_thr)
        else:  # without a legend, which would grow and shrink from frame to frame
            picture = draw_on_image(image, sample, model.dataset_meta, "pred", score_thr)
        return np.ascontiguousarray(picture[:, :, ::-1])

    video.convert_video(source, target, change, "predict")
    return target


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise DataError(f"{path} cannot be written")


def _fetched(url: str) -> Path:
    name = Path(url.partition("?")[0]).name or "input"
    folder = hashlib.sha256(url.encode()).hexdigest()[:8]
    return fetch([url], home() / "inputs" / folder / name)
