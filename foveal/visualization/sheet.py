"""Pictures put together: side by side with captions, in a sheet, and what a restoration did, enlarged."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from foveal.data.imresize import imresize
from foveal.evaluation.psnr_ssim import psnr
from foveal.visualization.text import PAPER, Text, draw_texts, font_size, line_height, text_width, wrap

_CROP_SHARE = 5  # the enlarged window of a restoration is this fraction of the shorter side


def side_by_side(images: Sequence[np.ndarray], captions: Sequence[str]) -> np.ndarray:
    """Put pictures in a row, each under its caption.

    Args:
        images: RGB uint8 [H, W, 3]; all are brought to the height of the first.
        captions: One each.

    Returns:
        RGB uint8, white between the pictures.
    """
    height = images[0].shape[0]
    fitted = [_resize(image, (height, round(image.shape[1] * height / image.shape[0]))) for image in images]
    size = font_size(images[0].shape)
    cells = _captioned(fitted, captions, size)
    return _row(cells, gap=max(4, size // 2))


def picture_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    captions: Sequence[Sequence[str]] | None = None,
    column_titles: Sequence[str] | None = None,
    title: str | None = None,
    cell_size: tuple[int, int] = (400, 300),
) -> np.ndarray:
    """Lay pictures out in a grid whose cells have one width; a row is as high as its highest picture.

    Args:
        rows: RGB uint8 pictures of any size; each is scaled into its cell and centred.
        captions: A line under each picture, wrapped to the cell's width.
        column_titles: A heading over each column.
        title: A heading over all.
        cell_size: (width, greatest height) in pixels.

    Returns:
        RGB uint8 [H, W, 3].
    """
    width, height = cell_size
    size = int(np.clip(round(width / 26), 12, 24))
    gap = size
    columns = max(len(row) for row in rows)
    total = columns * width + (columns + 1) * gap
    bands = []
    if title is not None:
        bands.append(_heading([title], [total - 2 * gap], round(1.6 * size), gap))
    if column_titles is not None:
        bands.append(_heading(list(column_titles), [width] * columns, round(1.15 * size), gap))
    for index, row in enumerate(rows):
        cells = _into_cells(row, (height, width))
        cells += [np.full_like(cells[0], 255)] * (columns - len(row))
        if captions is not None:
            words = list(captions[index]) + [""] * (columns - len(row))
            cells = _captioned(cells, words, size, below=True)
        bands.append(_row(cells, gap, margin=gap))
    bands = [_widen(band, total) for band in bands]
    space = np.full((gap, total, 3), PAPER, np.uint8)
    return np.concatenate([part for band in bands for part in (space, band)] + [space])


def restoration_panel(
    low: np.ndarray, pred: np.ndarray, gt: np.ndarray | None = None, crop: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """Show a restored picture and, enlarged, the same window of the input, bicubic interpolation, result and truth.

    The captions give PSNR of the luma over the whole picture, with a border of ``scale`` pixels left out.

    Args:
        low: The low-quality picture [h, w, 3], RGB uint8.
        pred: The restored one [H, W, 3].
        gt: The sharp one [H, W, 3], where known.
        crop: The window (x1, y1, x2, y2) in ``pred``. None: the one with the most detail.

    Returns:
        RGB uint8: the whole picture with the window marked, then the enlarged windows, in one row.
    """
    scale = max(1, round(pred.shape[0] / low.shape[0]))
    whole = pred if gt is None else gt
    x1, y1, x2, y2 = _detailed_window(whole) if crop is None else crop
    shown = {"input": _resize(low, pred.shape[:2], cv2.INTER_NEAREST)}
    if scale > 1:
        shown["bicubic"] = imresize(low, output_shape=pred.shape[:2])
    shown["prediction"] = pred
    captions = {name: _with_psnr(name, image, gt, scale) for name, image in shown.items()} | {"input": "input"}
    if scale == 1:
        captions["input"] = _with_psnr("input", low, gt, scale)
    if gt is not None:
        shown["ground truth"], captions["ground truth"] = gt, "ground truth"
    side = max(240, min(pred.shape[0], 480))
    zoom = side / whole.shape[0]
    marked = _resize(whole, (side, round(zoom * whole.shape[1]))).copy()
    left, top, right, bottom = (round(zoom * value) for value in (x1, y1, x2 - 1, y2 - 1))
    cv2.rectangle(marked, (left, top), (right, bottom), (255, 40, 40), max(2, side // 120))
    tiles = [marked]
    for image in shown.values():
        tiles.append(_resize(image[y1:y2, x1:x2], (side, side), cv2.INTER_NEAREST))
    size = max(12, round(side / 18))
    return _row(
        _captioned(tiles, ["whole picture", *(captions[name] for name in shown)], size, below=True), gap=size // 2
    )


def _with_psnr(name: str, image: np.ndarray, gt: np.ndarray | None, scale: int) -> str:
    if gt is None or image.shape != gt.shape:
        return name
    return f"{name} {psnr(image, gt, scale, 'Y'):.2f} dB"


def _detailed_window(image: np.ndarray) -> tuple[int, int, int, int]:
    """Return the square window (x1, y1, x2, y2) with the strongest mean gradient."""
    height, width = image.shape[:2]
    side = max(min(24, height, width), min(height, width) // _CROP_SHARE)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = np.abs(cv2.Sobel(gray, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    sums = cv2.integral(detail)
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(x), int(y), int(x) + side, int(y) + side


def _resize(image: np.ndarray, shape: Sequence[int], enlarge: int = cv2.INTER_CUBIC) -> np.ndarray:
    """Resize to (h, w), averaging where it shrinks."""
    if image.shape[:2] == tuple(shape):
        return image
    shrinks = shape[0] < image.shape[0]
    return cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_AREA if shrinks else enlarge)


def _into_cells(images: Sequence[np.ndarray], shape: tuple[int, int]) -> list[np.ndarray]:
    """Scale pictures into cells of at most (h, w), centred; the cells are as high as the highest picture."""
    height, width = shape
    fitted = []
    for image in images:
        ratio = min(height / image.shape[0], width / image.shape[1])
        fitted.append(_resize(image, [max(1, round(side * ratio)) for side in image.shape[:2]]))
    highest = max(image.shape[0] for image in fitted)
    cells = []
    for image in fitted:
        cell = np.full((highest, width, 3), PAPER, np.uint8)
        top, left = (highest - image.shape[0]) // 2, (width - image.shape[1]) // 2
        cell[top : top + image.shape[0], left : left + image.shape[1]] = image
        cells.append(cell)
    return cells


def _captioned(
    images: Sequence[np.ndarray], captions: Sequence[str], size: int, below: bool = False
) -> list[np.ndarray]:
    """Add to each picture a band with its caption; all bands are as high as the one with most lines."""
    lines = [wrap(caption, image.shape[1], size) for image, caption in zip(images, captions, strict=True)]
    count = max(1, *(len(block) for block in lines))
    cells = []
    for image, block in zip(images, lines, strict=True):
        band = _centred(block, image.shape[1], size, count)
        cells.append(np.concatenate([image, band] if below else [band, image]))
    return cells


def _centred(lines: Sequence[str], width: int, size: int, count: int) -> np.ndarray:
    pitch, margin = line_height(size), size // 3
    band = np.full((count * pitch + 2 * margin, width, 3), PAPER, np.uint8)
    texts = [Text((width - text_width(line, size)) // 2, margin + i * pitch, line) for i, line in enumerate(lines)]
    return draw_texts(band, texts, size)


def _heading(titles: Sequence[str], widths: Sequence[int], size: int, gap: int) -> np.ndarray:
    blocks = [wrap(title, width, size) for title, width in zip(titles, widths, strict=True)]
    count = max(len(block) for block in blocks)
    return _row([_centred(b, w, size, count) for b, w in zip(blocks, widths, strict=True)], gap, margin=gap)


def _row(images: Sequence[np.ndarray], gap: int, margin: int = 0) -> np.ndarray:
    """Join pictures of one height, with white between them and at both ends."""
    height = images[0].shape[0]
    parts = [np.full((height, margin, 3), PAPER, np.uint8)]
    for index, image in enumerate(images):
        if index:
            parts.append(np.full((height, gap, 3), PAPER, np.uint8))
        parts.append(image)
    return np.concatenate([*parts, parts[0]], axis=1)


def _widen(image: np.ndarray, width: int) -> np.ndarray:
    return np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=255)
