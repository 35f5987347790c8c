"""Panoptic quality: by hand, against torchmetrics, and the truth against itself."""

import json

import cv2
import numpy as np
import pytest
import torch
from torchmetrics.detection import PanopticQuality

from foveal.errors import ConfigError, DataError
from foveal.evaluation import CocoPanopticMetric, Segment, panoptic_counts, panoptic_scores
from foveal.evaluation.coco_panoptic_metric import INSTANCE_OFFSET

CLASSES = ("dog", "cat", "sky", "sea")


def test_matches_by_hand():
    gt = np.array([[1] * 10, [2] * 10, [3] * 10, [0] * 10])
    pred = np.array([[1] * 8 + [5] * 2, [6] * 10, [7] * 10, [8] * 10])
    segments = {1: Segment(0), 2: Segment(1), 3: Segment(0, crowd=True)}
    guesses = {1: Segment(0), 5: Segment(0), 6: Segment(0), 7: Segment(0), 8: Segment(2)}
    counts = panoptic_counts(gt, pred, segments, guesses, 3)
    # 7 lies in the crowd and 8 in the void: forgiven; 5 and 6 are wrong; 2 is missed
    assert counts.T.tolist() == [[0.8, 1, 2, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    pq, sq, rq = panoptic_scores(counts)
    assert [pq[0], sq[0], rq[0]] == pytest.approx([0.4, 0.8, 0.5])
    assert pq[1] == 0
    assert np.isnan(pq[2])


def test_void_of_the_truth_does_not_count_in_the_union():
    gt, pred = np.array([[1, 1, 0, 0, 0]]), np.array([[1, 1, 1, 1, 1]])
    assert panoptic_counts(gt, pred, {1: Segment(0)}, {1: Segment(0)}, 1).ravel().tolist() == [1, 1, 0, 0]


def random_map(generator, height, width):
    """Blocks of random class and object: (class, object) int [H, W, 2]; stuff has no objects."""
    cells = generator.integers(0, (len(CLASSES), 2), (height // 4, width // 4, 2))
    cells[cells[..., 0] >= 2, 1] = 0
    return cells.repeat(4, 0).repeat(4, 1)


def test_equals_torchmetrics_on_perturbed_maps():
    generator = np.random.default_rng(0)
    other = PanopticQuality(things={0, 1}, stuffs={2, 3}, return_sq_and_rq=True)
    total = np.zeros((4, len(CLASSES)))
    for _ in range(5):
        gt = random_map(generator, 32, 40)
        pred = np.roll(gt, generator.integers(0, 3), axis=1)
        noise = generator.random(gt.shape[:2]) < 0.2
        pred[noise] = random_map(generator, 32, 40)[noise]
        other.update(torch.from_numpy(pred)[None], torch.from_numpy(gt)[None])
        ids = [values[..., 0] + 100 * values[..., 1] + 1 for values in (gt, pred)]
        segments = [{int(i): Segment(int((i - 1) % 100)) for i in np.unique(x)} for x in ids]
        total += panoptic_counts(*ids, *segments, len(CLASSES))
    ours = [np.nanmean(quality) for quality in panoptic_scores(total)]
    assert 0.1 < ours[0] < 0.9
    assert ours == pytest.approx(other.compute().tolist(), abs=1e-6)


def write(root, maps, infos):
    annotations = []
    for i, (ids, segments) in enumerate(zip(maps, infos, strict=True)):
        cv2.imwrite(str(root / f"{i}.png"), np.stack([ids // 65536, ids // 256 % 256, ids % 256], -1).astype(np.uint8))
        annotations.append({"image_id": i, "file_name": f"{i}.png", "segments_info": segments})
    categories = [{"id": 7 * i + 1, "name": name, "isthing": int(i < 2)} for i, name in enumerate(CLASSES)]
    path = root / "panoptic.json"
    path.write_text(json.dumps({"images": [], "annotations": annotations, "categories": categories}))
    return str(path)


@pytest.fixture
def truth(tmp_path):
    ids = np.zeros((8, 8), np.int64)
    ids[:2], ids[2:4], ids[4:6] = 70000, 300, 5
    infos = [{"id": 70000, "category_id": 1}, {"id": 300, "category_id": 1}, {"id": 5, "category_id": 15}]
    return write(tmp_path, [ids], [infos]), tmp_path


def score(metric, values, img_id=0):
    metric.dataset_meta = {"classes": CLASSES}
    metric.process(None, [{"img_id": img_id, "pred_panoptic_seg": {"sem_seg": torch.from_numpy(values)[None]}}])
    return metric.compute_metrics(metric.results)


def prediction():
    values = np.full((8, 8), len(CLASSES))
    values[:2], values[2:4], values[4:6] = 0, INSTANCE_OFFSET, 2
    return values


def test_metric_reads_files(truth):
    path, root = truth
    metric = CocoPanopticMetric(path, str(root), classwise=True)
    assert score(metric, prediction()) == {key + s: 100 for s in ("", "_th", "_st") for key in ("PQ", "SQ", "RQ")}
    half = prediction()
    half[2:4] = 3
    scores = score(CocoPanopticMetric(path, str(root)), half)
    assert scores["PQ_th"] == pytest.approx(100 / 1.5)
    assert scores["PQ_st"] == 50


def test_results_are_written_as_the_server_takes_them(truth, tmp_path):
    path, root = truth
    prefix = tmp_path / "out"
    assert score(CocoPanopticMetric(path, str(root), format_only=True, outfile_prefix=str(prefix)), prediction()) == {}
    written = json.loads((tmp_path / "out.panoptic.json").read_text())["annotations"][0]
    assert [(s["category_id"], s["area"]) for s in written["segments_info"]] == [(1, 16), (15, 16), (1, 16)]
    image = cv2.imread(str(tmp_path / "out.panoptic" / "0.png"))
    assert sorted(np.unique(image.astype(int) @ [65536, 256, 1])) == [0] + [s["id"] for s in written["segments_info"]]


def test_mistakes(truth, tmp_path):
    path, root = truth
    with pytest.raises(DataError, match="no image with the id 9"):
        score(CocoPanopticMetric(path, str(root)), prediction(), 9)
    with pytest.raises(DataError, match=r"\(8, 8\), the prediction \(8, 6\)"):
        score(CocoPanopticMetric(path, str(root)), prediction()[:, :6].copy())
    with pytest.raises(DataError, match="not a COCO panoptic file"):
        (tmp_path / "x.json").write_text("{}")
        CocoPanopticMetric(str(tmp_path / "x.json"), str(root))
    with pytest.raises(ConfigError, match="outfile_prefix"):
        CocoPanopticMetric(path, str(root), format_only=True)


def test_truth_of_coco_against_itself(shared):
    folder = shared / "data" / "coco128" / "annotations"
    files = sorted(folder.glob("panoptic*.json"))
    if not files:
        pytest.skip("no panoptic annotations")
    content = json.loads(files[0].read_text())
    metric = CocoPanopticMetric(str(files[0]), str(files[0].with_suffix("")))
    names = [category["name"] for category in content["categories"]]
    metric.dataset_meta = {"classes": names}
    labels = {category["id"]: i for i, category in enumerate(content["categories"])}
    for annotation in content["annotations"][:40]:
        image = cv2.imread(str(files[0].with_suffix("") / annotation["file_name"])).astype(np.int64)
        ids = image @ np.array([65536, 256, 1])
        values = np.full(ids.shape, len(names))
        for number, info in enumerate(annotation["segments_info"]):
            values[ids == info["id"]] = labels[info["category_id"]] + INSTANCE_OFFSET * number
        sample = {"img_id": annotation["image_id"], "pred_panoptic_seg": {"sem_seg": torch.from_numpy(values)[None]}}
        metric.process(None, [sample])
    scores = metric.compute_metrics(metric.results)
    assert {round(value, 9) for value in scores.values()} == {100}
