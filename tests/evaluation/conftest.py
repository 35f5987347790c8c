"""A small synthetic data set in COCO's format, and detections for it."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as mask_utils

HEIGHT, WIDTH, IMAGES = 150, 200, 12


def _blob(rng: np.random.Generator, side: int) -> np.ndarray:
    """An ellipse somewhere in the image, about ``side`` pixels long."""
    cy, cx = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)
    ry, rx = side * rng.uniform(0.3, 0.7, 2)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1).astype(np.uint8)


def _annotation(mask: np.ndarray, number: int, image_id: int, category_id: int, crowd: int) -> dict:
    rle = mask_utils.encode(np.asfortranarray(mask))
    annotation = {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": mask_utils.toBbox(rle).tolist(),
        "area": float(mask_utils.area(rle)),
        "iscrowd": crowd,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()},
    }
    return annotation


@pytest.fixture
def synthetic() -> dict:
    """Twelve images: the first has no object, every third has a crowd; ids start at 0, where pycocotools stumbles."""
    rng = np.random.default_rng(3)
    categories = [{"id": i, "name": n} for i, n in ((7, "cat"), (2, "dog"), (30, "bird"))]
    images = [{"id": 100 + i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH} for i in range(IMAGES)]
    annotations = []
    for index, image in enumerate(images[1:], start=1):
        for _ in range(rng.integers(1, 6)):
            mask = _blob(rng, int(rng.choice([12, 50, 130])))
            if mask.sum() >= 4:
                category = int(rng.choice([7, 2, 30]))
                annotations.append(_annotation(mask, len(annotations), image["id"], category, 0))
        if index % 3 == 0:
            annotations.append(_annotation(_blob(rng, 120), len(annotations), image["id"], 7, 1))
    return {"images": images, "categories": categories, "annotations": annotations}


def perturbed(gt: dict, seed: int = 0, extra: int = 2) -> list[dict]:
    """Detections near the truth, some missing, some doubled, some of a wrong class; none in the last two images."""
    rng = np.random.default_rng(seed)
    size = {image["id"]: (image["height"], image["width"]) for image in gt["images"]}
    silent = {image["id"] for image in gt["images"][-2:]}
    cats = [category["id"] for category in gt["categories"]]
    found = []
    for annotation in gt["annotations"]:
        if annotation["image_id"] in silent or rng.random() < 0.15:
            continue
        for _ in range(rng.integers(1, 2 + extra)):
            h, w = size[annotation["image_id"]]
            box = np.asarray(annotation["bbox"]) + rng.normal(0, 0.06, 4) * (annotation["bbox"][2:] * 2)
            box[2:] = np.maximum(box[2:], 1)
            x, y = np.clip(box[:2], 0, [w - 2, h - 2])
            mask = np.zeros((h, w), np.uint8)
            mask[int(y) : int(y + box[3]) + 1, int(x) : int(x + box[2]) + 1] = 1
            rle = mask_utils.encode(np.asfortranarray(mask))
            wrong = rng.random() < 0.1
            found.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": int(rng.choice(cats)) if wrong else annotation["category_id"],
                    "bbox": box.tolist(),
                    "score": float(np.round(rng.random(), 2)),  # rounded: equal scores test the order of ties
                    "segmentation": {"size": [h, w], "counts": rle["counts"].decode()},
                }
            )
    return found
