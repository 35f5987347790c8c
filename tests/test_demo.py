"""What `make demo` rests on: its data, its configs and its script."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.dataset import pseudo_collate

from foveal.config import load_config
from foveal.registry import DATASETS, METRICS, MODELS

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo"
ANNOTATIONS = DEMO / "annotations"
CONFIGS = ("detector", "segmentor", "super_resolver")
FREE_LICENCES = {4, 5, 7}


def read(name: str) -> dict:
    return json.loads((ANNOTATIONS / f"{name}.json").read_text())


def names(path: str) -> list[str]:
    return (ANNOTATIONS / path).read_text().splitlines()


@pytest.fixture(autouse=True)
def _in_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_size() -> None:
    images = read("instances")["images"]
    assert 30 <= len(images) <= 60
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) <= 10_000_000


@pytest.mark.parametrize("name", ["instances", "instances_detector", "panoptic"])
def test_only_free_licences(name: str) -> None:
    content = read(name)
    assert {image["license"] for image in content["images"]} <= FREE_LICENCES
    assert {a["image_id"] for a in content["annotations"]} <= {image["id"] for image in content["images"]}


def test_every_file_is_attributed_and_annotated() -> None:
    page = (DEMO / "ATTRIBUTION.md").read_text()
    images = read("instances")["images"]
    licences = {licence["id"]: licence["url"] for licence in read("instances")["licenses"]}
    files = sorted(path.name for path in (DEMO / "images").iterdir())
    assert sorted(image["file_name"] for image in images) == files
    for image in images:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {image['file_name']} ")]
        assert licences[image["license"]] in line
        assert image["flickr_url"] in line
    for kind in ("panoptic", "semantic"):
        assert sorted(path.stem for path in (ANNOTATIONS / kind).iterdir()) == [Path(file).stem for file in files]
    assert sorted(image["file_name"] for image in read("panoptic")["images"]) == files


def test_images_decode_to_their_annotated_size() -> None:
    for image in read("instances")["images"]:
        pixels = cv2.imread(str(DEMO / "images" / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3), image["file_name"]


def test_objects_lie_inside_their_images() -> None:
    content = read("instances")
    images = {image["id"]: image for image in content["images"]}
    assert len({a["id"] for a in content["annotations"]}) == len(content["annotations"]) > 200
    for a in content["annotations"]:
        width, height = images[a["image_id"]]["width"], images[a["image_id"]]["height"]
        x, y, w, h = a["bbox"]
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height, a["id"]
        if isinstance(a["segmentation"], dict):
            assert a["segmentation"]["size"] == [height, width]
            continue
        for polygon in a["segmentation"]:
            points = np.reshape(polygon, (-1, 2))
            assert len(points) >= 3 and points.min() >= 0 and (points <= [width, height]).all(), a["id"]


def test_panoptic_masks_have_the_annotated_segments_and_give_the_label_maps() -> None:
    content = read("panoptic")
    label_of = {category["id"]: label for label, category in enumerate(content["categories"])}
    assert [category["name"] for category in content["categories"]] == names("semantic_classes.txt")
    for annotation in content["annotations"]:
        colours = cv2.imread(str(ANNOTATIONS / "panoptic" / annotation["file_name"]))[:, :, ::-1].astype(int)
        segments = colours @ [1, 256, 65536]
        areas = dict(zip(*(values.tolist() for values in np.unique(segments, return_counts=True)), strict=True))
        areas.pop(0, None)
        assert areas == {segment["id"]: segment["area"] for segment in annotation["segments_info"]}
        labels = cv2.imread(str(ANNOTATIONS / "semantic" / annotation["file_name"]), cv2.IMREAD_UNCHANGED)
        assert labels.dtype == np.uint8 and labels.shape == segments.shape
        expected = Counter({255: int((segments == 0).sum())})
        for segment in annotation["segments_info"]:
            assert (labels[segments == segment["id"]] == label_of[segment["category_id"]]).all()
            expected[label_of[segment["category_id"]]] += segment["area"]
        assert +expected == Counter(labels.ravel().tolist())


def test_lists_name_images_and_hold_some_out() -> None:
    train, held_out = names("super_resolver_train.txt"), names("super_resolver_heldout.txt")
    known = {path.stem for path in (DEMO / "images").iterdir()}
    assert not set(train) & set(held_out)
    assert set(train) | set(held_out) == known
    assert set(names("segmentor.txt")) < known


@pytest.mark.parametrize("name", CONFIGS)
def test_config_builds_and_the_datasets_fit_the_model(name: str) -> None:
    config = load_config(f"configs/demo/{name}.py")
    model = MODELS.build(config.model)
    for phase in ("train", "test"):
        dataset = DATASETS.build(config[f"{phase}_dataloader"].dataset)
        assert len(dataset) >= 12
        classes = dataset.metainfo.get("classes")
        head = getattr(model, "bbox_head", None) or getattr(model, "decode_head", None)
        assert classes is None or len(classes) == head.num_classes
    evaluators = config.test_evaluator
    for evaluator in evaluators if isinstance(evaluators, list) else [evaluators]:
        METRICS.build(evaluator)
    (sample,) = model.eval().test_step(pseudo_collate([dataset[0]]))
    assert {"pred_instances", "pred_sem_seg", "pred_img"} & set(sample.keys())
    head = Path(f"configs/demo/{name}.py").read_text().split('"""')[1]
    for word in ("tools/train.py", "minutes", "core"):
        assert word in head, f"the head of the config says nothing of {word}"


def test_one_iteration_through_the_command(tmp_path: Path) -> None:
    options = ["train_cfg.max_iters=1", "train_cfg.val_interval=5", "train_dataloader.batch_size=2"]
    command = ["tools/train.py", "configs/demo/detector.py", "--work-dir", str(tmp_path), "--cfg-options", *options]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "iter_1.pth").is_file()


def test_script_leaves_pictures_curves_and_summary(tmp_path: Path) -> None:
    former = tmp_path / "detector" / "iter_400.pth"  # of an earlier run; every run starts afresh
    former.parent.mkdir()
    former.write_bytes(b"")
    command = [sys.executable, "tools/demo.py", "--quick", "--work-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in CONFIGS:
        assert cv2.imread(str(tmp_path / f"{name}.png")).size > 0
        assert cv2.imread(str(tmp_path / f"curves_{name}.png")).size > 0
        assert len(list((tmp_path / name).glob("*.pth"))) == 1
        assert name in done.stdout
    summary = {line["task"]: line for line in json.loads((tmp_path / "summary.json").read_text())}
    assert list(summary) == list(CONFIGS)
    assert not any(line["reached"] for line in summary.values())
    assert summary["super_resolver"]["wanted"] == pytest.approx(summary["super_resolver"]["baseline"] + 0.5)
    assert "held out" in summary["super_resolver"]["scored_on"]
    assert "training" in summary["detector"]["scored_on"]
