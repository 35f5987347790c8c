"""A sample of each task becomes a picture; the hook writes it to a file."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from foveal.errors import ConfigError
from foveal.registry import HOOKS
from foveal.structures import DataSample
from foveal.visualization.hook import source_image
from foveal.visualization.sample import compare_sample, draw_sample

META = {"classes": ["cat", "dog", "ship"], "palette": [(250, 10, 20), (20, 30, 240), (10, 200, 10)]}
SIZE = (90, 120)


def sample_of(task: str, **meta) -> DataSample:
    sample = DataSample(metainfo=meta)
    if task == "detection":
        boxes = torch.tensor([[20.0, 30, 80, 80]])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0]))
        scores = torch.tensor([0.9])
        sample.pred_instances = InstanceData(bboxes=boxes + 5, labels=torch.tensor([1]), scores=scores)
    elif task == "segmentation":
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, *SIZE, dtype=torch.long))
        sample.pred_sem_seg = PixelData(data=torch.full((1, *SIZE), 2))
    elif task == "classification":
        sample.gt_label, sample.pred_label = torch.tensor([0]), torch.tensor([1])
        sample.pred_score = torch.tensor([0.1, 0.8, 0.1])
    elif task == "restoration":
        sample.gt_img = torch.randint(0, 255, (3, 2 * SIZE[0], 2 * SIZE[1]), dtype=torch.uint8)
        sample.pred_img = sample.gt_img.float() / 255
    return sample


@pytest.fixture
def image() -> np.ndarray:
    return np.full((*SIZE, 3), 128, np.uint8)


def has(picture: np.ndarray, label: int) -> bool:
    """Whether a class's colour is in the picture, mixed with grey or not."""
    colour = np.array(META["palette"][label], float)
    mixed = [colour, (0.4 * 128 + 0.6 * colour).round()]
    return any((picture == c).all(axis=2).any() for c in mixed)


@pytest.mark.parametrize(("task", "gt", "pred"), [("detection", 0, 1), ("segmentation", 0, 2)])
def test_truth_and_prediction(image, task, gt, pred):
    sample = sample_of(task)
    truth, found = (draw_sample(image, sample, META, which) for which in ("gt", "pred"))
    assert has(truth, gt) and not has(truth, pred) and has(found, pred) and not has(found, gt)
    both = compare_sample(image, sample, META)
    half = both.shape[1] // 2
    assert both.shape[1] > 2 * SIZE[1] and both.shape[0] > SIZE[0]
    body = both[: SIZE[0] + 20]
    assert has(body[:, :half], gt) and has(body[:, half:], pred) and not has(body[:, half:], gt)


def test_label_maps_get_a_legend(image):
    assert draw_sample(image, sample_of("segmentation"), META, "gt").shape[0] > SIZE[0]


def test_classification_is_written_above(image):
    picture = compare_sample(image, sample_of("classification"), META)
    assert picture.shape[0] > SIZE[0] and (picture[: -SIZE[0]] < 100).any()
    assert draw_sample(image, sample_of("classification"), META, "pred").shape[0] > SIZE[0]


def test_restoration(image):
    sample = sample_of("restoration")
    assert np.array_equal(draw_sample(image, sample, META, "pred"), sample.gt_img.permute(1, 2, 0).numpy())
    assert compare_sample(image, sample, META).shape[1] > 5 * 240


def test_what_is_absent_is_not_drawn(image):
    assert np.array_equal(draw_sample(image, DataSample(), META), image)
    sample = sample_of("detection")
    del sample.gt_instances
    assert compare_sample(image, sample, META).shape[1] == SIZE[1]


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_an_input_that_colour_distortion_left_as_floats_is_drawn(image, task):
    bright = torch.full((3, *SIZE), 300.0)
    bright[2] = -20
    picture = source_image(DataSample(), bright)
    assert picture.dtype == np.uint8 and (picture == [0, 255, 255]).all()
    assert draw_sample(picture, sample_of(task), META, "gt").dtype == np.uint8


def test_labels_without_names(image):
    assert has(draw_sample(image, sample_of("detection"), {"palette": META["palette"]}, "pred"), 1)


def runner(log_dir) -> SimpleNamespace:
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=META))
    return SimpleNamespace(val_dataloader=loader, test_dataloader=loader, log_dir=str(log_dir))


def batch(count: int) -> dict:
    return {"inputs": [torch.full((3, *SIZE), 60, dtype=torch.uint8)] * count}


@pytest.mark.parametrize("name", ["VisualizationHook", "DetVisualizationHook", "SegVisualizationHook"])
@pytest.mark.parametrize("stage", ["val", "test"])
def test_hook_names_pictures_after_the_images(tmp_path, image, name, stage):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "0001.jpg"), image)
    hook = HOOKS.build({"type": name, "draw": True, "show_dir": str(tmp_path / "show")})
    samples = [sample_of("detection", img_path=str(tmp_path / f / "0001.jpg")) for f in ("a", "b")]
    getattr(hook, f"before_{stage}_epoch")(runner(tmp_path))
    getattr(hook, f"after_{stage}_iter")(runner(tmp_path), 0, batch(2), samples)
    assert sorted(p.name for p in (tmp_path / "show").iterdir()) == ["0001.png", "b_0001.png"]
    written = cv2.imread(str(tmp_path / "show" / "0001.png"))[..., ::-1]
    assert np.array_equal(written, compare_sample(cv2.imread(samples[0].img_path), samples[0], META))


def test_hook_draws_restorations_from_the_networks_input(tmp_path):
    hook = HOOKS.build({"type": "VisualizationHook", "draw": True})
    hook.after_test_iter(runner(tmp_path), 0, batch(1), [sample_of("restoration", img_path="sharp.png")])
    assert (tmp_path / "pictures" / "sharp.png").is_file()


def test_hook_draws_every_so_many(tmp_path):
    hook = HOOKS.build({"type": "VisualizationHook", "draw": True, "interval": 3})
    for number in range(4):
        samples = [sample_of("detection", img_path=f"{2 * number + i}.jpg") for i in range(2)]
        hook.after_val_iter(runner(tmp_path), number, batch(2), samples)
    assert sorted(p.stem for p in (tmp_path / "pictures").iterdir()) == ["0", "3", "6"]


def test_hook_is_silent_unless_asked(tmp_path):
    hook = HOOKS.build({"type": "VisualizationHook"})
    hook.after_val_iter(runner(tmp_path), 0, batch(1), [sample_of("detection")])
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="interval"):
        HOOKS.build({"type": "VisualizationHook", "interval": 0})
