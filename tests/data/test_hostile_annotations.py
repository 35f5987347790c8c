"""Annotation files from anywhere: whatever is in them, a sentence that names the file, or data that are sound."""

import copy
import json
import random
import time

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils

from foveal.errors import FovealError
from foveal.registry import DATASETS

VALUES = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**400, 0.5, -1e308, float("nan"), float("inf"), "", "x", "1", "..",
    "/etc/passwd", "../../etc/passwd", [], {}, [[]], [None], [1, 2], [1e9] * 4, [-5, -5, 1e12, 1e12], ["a"] * 4,
    [[0, 0, 9]], [[1e300] * 6], [[[[[]]]]], {"counts": ""}, {"size": "x", "counts": None},
    {"size": [24, 32], "counts": "0" * 50}, {"size": [24, 32], "counts": [10**9, 5]},
    {"size": [24, 32], "counts": [-3, 771]}, {"size": [10**6, 10**6], "counts": [1]},
)  # fmt: skip


TEXT = mask_utils.encode(np.asfortranarray(np.eye(24, 32, dtype=np.uint8)))["counts"].decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.zeros((24, 32, 3), np.uint8))
    return folder


def sound():
    polygon = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 2, 10, 10], "area": 100, "iscrowd": 0}
    polygon["segmentation"] = [[2, 2, 12, 2, 12, 12, 2, 12]]
    text = {**polygon, "id": 2, "segmentation": {"size": [24, 32], "counts": TEXT}}
    counts = {
        **polygon,
        "id": 3,
        "image_id": 2,
        "iscrowd": 1,
        "segmentation": {"size": [24, 32], "counts": [100, 68, 600]},
    }
    return {
        "images": [
            {"id": 1, "file_name": "a.png", "height": 24, "width": 32},
            {"id": 2, "file_name": "b.png", "height": 24, "width": 32},
        ],
        "annotations": [polygon, text, counts],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


def read(folder, text):
    """Read everything that a training would."""
    path = folder / "annotations.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    dataset = DATASETS.build(
        {
            "type": "CocoDataset",
            "data_root": str(folder),
            "ann_file": "annotations.json",
            "data_prefix": {"img": ""},
            "pipeline": [
                {"type": "LoadImageFromFile"},
                {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
                {"type": "PackInputs"},
            ],
        }
    )
    for index in range(len(dataset)):
        sample = dataset[index]["data_samples"]
        boxes = sample.gt_instances.bboxes
        assert boxes.isfinite().all()
        assert ((sample.gt_instances.labels >= 0) & (sample.gt_instances.labels < 2)).all()
        assert sample.gt_instances.masks.shape == (len(boxes), 24, 32)


def places(node, path=()):
    """Where a value can be put."""
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def put(content, path, value):
    if not path:
        return value
    node = content
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return content


def changed(moments):
    """A sound file with one to three values replaced, or removed, or with its bytes disturbed."""
    content = sound()
    for _ in range(moments.randint(1, 3)):
        path = moments.choice(list(places(content)))
        try:
            content = put(content, path, copy.deepcopy(moments.choice(VALUES)))
        except (KeyError, TypeError, IndexError):
            continue
    text = json.dumps(content).encode()
    if moments.random() < 0.3:
        at = moments.randrange(len(text))
        text = (
            text[:at]
            + bytes(moments.randrange(256) for _ in range(moments.randint(0, 4)))
            + text[at + moments.randint(0, 9) :]
        )
    return text


def survives(folder, text):
    try:
        read(folder, text)
    except FovealError as error:
        assert str(error) and "\n" not in str(error).strip()
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {error}\n{text[:2000]!r}")


def test_a_sound_file_is_read(folder):
    read(folder, json.dumps(sound()))


@pytest.mark.parametrize("seed", range(150))
def test_disturbed_files(seed, folder):
    survives(folder, changed(random.Random(seed)))


@pytest.mark.slow
def test_disturbed_files_for_a_minute(folder):
    start, seed = time.monotonic(), 1000
    while time.monotonic() - start < 60:
        survives(folder, changed(random.Random(seed)))
        seed += 1


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"images":' * 50_000, "[" * 5000 + "]" * 5000, '{"images": ' + "9" * 5000 + "}"]
)
def test_deep_and_long_files(text, folder):
    survives(folder, text)


@pytest.mark.parametrize("name", ["../out.png", "/etc/passwd", "x/../../out.png", "a.png\0.jpg"])
def test_names_that_lead_out_of_the_folder(name, folder):
    content = sound()
    content["images"][0]["file_name"] = name
    with pytest.raises(FovealError, match=r"annotations\.json: .*file_name"):
        read(folder, json.dumps(content))


def test_names_within_the_folder_may_go_up_and_down(folder):
    content = sound()
    content["images"][0]["file_name"] = "x/../a.png"
    content["images"][1]["file_name"] = str(folder / "b.png")
    (folder / "x").mkdir(exist_ok=True)
    read(folder, json.dumps(content))
