"""Tiny datasets in the layouts of the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

SIZES = {1: (40, 60), 2: (50, 48), 3: (64, 64), 4: (33, 70)}  # image id: (h, w)
CATEGORIES = [
    {"id": 3, "name": "cat"},
    {"id": 7, "name": "dog"},
    {"id": 90, "name": "owl"},
]


def write_image(path: Path, size: tuple[int, int], seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.GaussianBlur(image, (5, 5), 0))


def write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), mask)


def ring(size: tuple[int, int]) -> np.ndarray:
    """A mask with a hole, which polygons cannot say."""
    mask = np.zeros(size, np.uint8)
    mask[5:25, 5:30] = 1
    mask[10:20, 10:20] = 0
    return mask


def coco_content() -> dict:
    mask = ring(SIZES[2])
    compressed = rle.encode(np.asfortranarray(mask))
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    annotations = [
        dict(image_id=1, category_id=3, bbox=[2, 3, 20, 10], segmentation=[[2, 3, 22, 3, 22, 13, 2, 13]]),
        dict(image_id=1, category_id=90, bbox=[30, 5, 12, 30], segmentation=[]),
        dict(image_id=2, category_id=7, bbox=[5, 5, 25, 20], area=int(mask.sum())),
        dict(image_id=2, category_id=7, bbox=[5, 5, 25, 20], area=int(mask.sum()), iscrowd=1),
        dict(image_id=3, category_id=3, bbox=[10, 10, 20, 20], segmentation=[[10, 10, 30, 10, 30, 30, 10, 30]]),
    ]
    annotations[2]["segmentation"] = {"size": list(mask.shape), "counts": compressed["counts"].decode()}
    annotations[3]["segmentation"] = {"size": list(mask.shape), "counts": counts}
    for number, annotation in enumerate(annotations):
        annotation.update(id=100 + number, iscrowd=annotation.get("iscrowd", 0))
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
    images = [dict(id=i, file_name=f"{i:04d}.png", height=h, width=w) for i, (h, w) in SIZES.items()]
    return {"images": images, "categories": [dict(c) for c in CATEGORIES], "annotations": annotations}


@pytest.fixture
def coco(tmp_path: Path) -> tuple[Path, dict, Callable[[dict], None]]:
    """(root, content, write): images under root/images, write(content) writes root/ann.json."""
    root = tmp_path / "coco"
    content = coco_content()
    for image in content["images"]:
        write_image(root / "images" / image["file_name"], (image["height"], image["width"]), image["id"])

    def write(content: dict) -> None:
        (root / "ann.json").write_text(json.dumps(content))

    write(content)
    return root, content, write


@pytest.fixture
def panoptic(tmp_path: Path) -> tuple[Path, dict, Callable[[dict], None]]:
    """(root, content, write): one image; a dog (thing), a crowd of cats, sky (stuff), an unlabelled strip."""
    root = tmp_path / "panoptic"
    size = (32, 40)
    ids = np.zeros(size, np.int64)
    segments = []
    for segment_id, category, crowd, (x, y, w, h) in [
        (70000, 7, 0, (0, 0, 10, 32)),
        (300, 3, 1, (10, 0, 10, 32)),
        (5, 200, 0, (20, 0, 15, 32)),
    ]:
        ids[y : y + h, x : x + w] = segment_id
        segments.append(dict(id=segment_id, category_id=category, iscrowd=crowd, bbox=[x, y, w, h], area=w * h))
    png = np.stack([ids // 65536, ids // 256 % 256, ids % 256], -1).astype(np.uint8)  # BGR for OpenCV
    write_image(root / "images" / "a.jpg", size)
    write_mask(root / "seg" / "a.png", png)
    content = {
        "images": [dict(id=9, file_name="a.jpg", height=size[0], width=size[1])],
        "categories": [
            dict(id=200, name="sky", isthing=0),
            dict(id=7, name="dog", isthing=1),
            dict(id=3, name="cat", isthing=1),
        ],
        "annotations": [dict(image_id=9, file_name="a.png", segments_info=segments)],
    }

    def write(content: dict) -> None:
        (root / "ann.json").write_text(json.dumps(content))

    write(content)
    return root, content, write


@pytest.fixture
def mask_folder(tmp_path: Path) -> Path:
    """Three images in root/img (one in a sub-folder) with masks of the values 0, 1, 2 and 255 in root/ann."""
    root = tmp_path / "masks"
    for seed, name in enumerate(("a", "b", "sub/c")):
        write_image(root / "img" / f"{name}.jpg", (24, 30), seed)
        mask = np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], np.uint8), (24, 30))
        write_mask(root / "ann" / f"{name}.png", mask)
    return root


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """Two images of each of the classes cat, dog and owl."""
    root = tmp_path / "folders"
    for name in ("owl", "cat", "dog"):
        for seed in range(2):
            write_image(root / name / f"{seed}.png", (8, 9), seed)
    return root
