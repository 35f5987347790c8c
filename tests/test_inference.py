"""Predictions on what people name: files, folders, patterns, addresses, videos; and what is written."""

import http.server
import json
import shutil
import threading
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

import foveal
from foveal import inference
from foveal.cli import main
from foveal.errors import DataError
from foveal.structures import DataSample

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "demo/images/000000000030.jpg"


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "photos" / "more"
    inside.mkdir(parents=True)
    small = cv2.resize(cv2.imread(str(PHOTO)), (80, 60))
    for place in (inside.parent / "b.jpg", inside.parent / "a.png", inside / "b.jpg"):
        cv2.imwrite(str(place), small)
    (inside / "notes.txt").write_text("no image")
    video = cv2.VideoWriter(str(inside / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (80, 60))
    for shade in (0, 100, 200):
        video.write(np.full((60, 80, 3), shade, np.uint8))
    video.release()
    return inside.parent


def names(paths):
    return [path.name for path in paths]


def test_inputs_are_found(folder, monkeypatch, tmp_path):
    images, videos = inference.find_inputs([str(folder)])
    assert names(images) == ["a.png", "b.jpg", "b.jpg"]
    assert names(videos) == ["film.avi"]
    assert names(inference.find_inputs([f"{folder}/*.jpg", str(folder / "a.png")])[0]) == ["b.jpg", "a.png"]
    assert len(inference.find_inputs([f"{folder}/**/*.jpg"])[0]) == 2

    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *a: None)
    monkeypatch.setenv("FOVEAL_HOME", str(tmp_path / "home"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (fetched,), _ = inference.find_inputs([f"http://127.0.0.1:{server.server_port}/a.png?size=large"])
        server.shutdown()
    assert fetched.read_bytes() == (folder / "a.png").read_bytes()
    assert inference.find_inputs([str(fetched)]) == ([fetched], [])


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("none.jpg", "input .*none.jpg does not exist"),
        ("*.bmp", r"no file matches .*\.bmp"),
        ("more/notes.txt", "notes.txt: expected an image"),
        ("empty", "no image .* or video in the folder"),
    ],
)
def test_what_is_no_input(word, sentence, folder):
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=sentence):
        inference.find_inputs([str(folder / word)])


def test_a_detector_in_every_form(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    model = foveal.init_model("configs/demo/detector.py", device="cpu")
    model.bbox_head.test_cfg["score_thr"] = 0.0
    found = inference.predict_images(model, sorted(folder.rglob("*.jpg")), tmp_path / "out", inference.FORMS, 0.0, 2)
    assert names(found) == ["b.jpg", "b.jpg"]
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    both = [
        f"{folder_}/b{number}{kind}"
        for folder_, kind in (("labels", ".txt"), ("pictures", ".png"))
        for number in ("", "_2")
    ]
    assert written == sorted([*both, "predictions.json"])
    records = json.loads((tmp_path / "out/predictions.json").read_text())
    lines = [line.split() for n in ("b", "b_2") for line in (tmp_path / f"out/labels/{n}.txt").read_text().splitlines()]
    assert len(records) == len(lines) > 2
    for record, line in zip(records, lines, strict=True):
        x, y, w, h = record["bbox"]
        shares = [(x + w / 2) / 80, (y + h / 2) / 60, w / 80, h / 60, record["score"]]
        np.testing.assert_allclose([float(word) for word in line[1:]], shares, atol=2e-6)
        assert int(line[0]) + 1 == record["category_id"]


def test_masks_of_objects_and_of_panoptic_maps():
    masks = torch.zeros(3, 4, 6, dtype=torch.bool)
    masks[0, :2], masks[1, 1:3], masks[2] = True, True, True
    objects = DataSample()
    objects.pred_instances = InstanceData(masks=masks, scores=torch.tensor([0.9, 0.8, 0.1]), labels=torch.arange(3))
    np.testing.assert_array_equal(inference.label_map(objects, 0.5)[:, 0], [1, 1, 2, 0])
    panoptic = DataSample()
    panoptic.pred_panoptic_seg = PixelData(sem_seg=torch.full((1, 4, 6), 2003, dtype=torch.int32))
    assert inference.label_map(panoptic, 0.5).dtype == np.uint16
    assert (inference.label_map(panoptic, 0.5) == 2003).all()


def test_a_video(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    model = foveal.init_model("configs/demo/segmentor.py", device="cpu")
    target = inference.predict_video(model, folder / "more/film.avi", tmp_path / "out")
    reader = cv2.VideoCapture(str(target))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_a_classifier_by_its_name(folder, tmp_path, capsys):
    checkpoint = tmp_path / "shvit.pth"
    torch.save({"model": foveal.create_classifier("shvit_s1").state_dict()}, checkpoint)
    words = [
        "predict",
        "shvit_s1",
        str(checkpoint),
        str(folder / "a.png"),
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "o"),
    ]
    main(words)
    assert capsys.readouterr().out == f"1 images and 0 videos predicted; results in {tmp_path / 'o'}\n"
    (record,) = json.loads((tmp_path / "o/predictions.json").read_text())
    assert 0 <= record["label"] < 1000 and 0 < record["score"] <= 1
    assert (tmp_path / "o/pictures/a.png").is_file()
    model = foveal.init_model("shvit_s1", checkpoint, "cpu")
    assert model.dataset_meta["classes"][207] == "golden retriever"
    (sample,) = foveal.predict(model, folder / "a.png")
    assert int(sample.pred_label) == record["label"]


def test_a_restorer_by_its_name(folder, tmp_path):
    model = foveal.init_model("edsr_baseline_x2", device="cpu")
    list(inference.predict_images(model, [folder / "a.png"], tmp_path / "o", ["overlay"]))
    assert cv2.imread(str(tmp_path / "o/a.png")).shape == (120, 160, 3)


def test_bad_words_are_one_sentence(folder, tmp_path, capsys):
    (folder / "broken.png").write_bytes(b"no image")
    checkpoint = tmp_path / "x.pth"
    torch.save({"state_dict": foveal.create_restorer("espcn_x2").state_dict()}, checkpoint)
    for words, sentence in (
        (["espcn_x2", str(checkpoint), str(folder / "broken.png")], "broken.png"),
        (["espcn_x2", "zoo", str(folder / "a.png")], "the zoo has no restoration weights for espcn_x2"),
        (["espcn_x2", str(checkpoint), str(folder / "a.png"), "--save", "pdf"], "a form of results is one of"),
    ):
        with pytest.raises(SystemExit) as exit_:
            main(["predict", *words, "--out", str(tmp_path / "o")])
        error = capsys.readouterr().err
        assert exit_.value.code == 2 and sentence in error and error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_a_read_only_folder_is_one_sentence(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imwrite", lambda *a: False)
    model = foveal.init_model("edsr_baseline_x2", device="cpu")
    with pytest.raises(DataError, match=r"a\.png cannot be written"):
        list(inference.predict_images(model, [folder / "a.png"], tmp_path / "o", ["overlay"]))
    shutil.rmtree(tmp_path / "o")
