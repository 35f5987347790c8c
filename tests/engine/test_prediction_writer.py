"""Predictions to files: COCO results for detections, PNG for pictures."""

import json

import cv2
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from foveal.engine.prediction_writer import PredictionWriter
from foveal.errors import ConfigError
from foveal.structures import DataSample


def detections(count):
    boxes = torch.tensor([[1.0, 2.0, 11.0, 22.0]]).repeat(count, 1)
    labels = torch.arange(count)
    sample = DataSample(metainfo={"img_id": 7, "img_path": "a.jpg"})
    sample.pred_instances = InstanceData(bboxes=boxes, labels=labels, scores=torch.full((count,), 0.5))
    return sample


def test_detections_have_the_files_category_ids(tmp_path):
    writer = PredictionWriter(tmp_path / "out.json")
    writer.add([detections(2)], [18, 90])
    writer.close()
    first, second = json.loads((tmp_path / "out.json").read_text())
    assert first == {"image_id": 7, "category_id": 18, "bbox": [1, 2, 10, 20], "score": 0.5}
    assert second["category_id"] == 90


def test_no_detection_is_an_empty_list_not_a_missing_file(tmp_path):
    for out in ("out.json", "folder"):
        writer = PredictionWriter(tmp_path / out)
        writer.add([detections(0)])
        assert writer.close().startswith("0 predictions in")
    assert json.loads((tmp_path / "out.json").read_text()) == []
    assert json.loads((tmp_path / "folder" / "predictions.json").read_text()) == []


def test_class_maps_are_pictures(tmp_path):
    sample = DataSample(metainfo={"img_path": "b.jpg"}, pred_sem_seg=PixelData(data=torch.full((1, 4, 5), 3)))
    writer = PredictionWriter(tmp_path)
    writer.add([sample])
    assert writer.close() == f"1 pictures in {tmp_path}"
    assert (cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_GRAYSCALE) == 3).all()
    with pytest.raises(ConfigError, match="give a folder"):
        PredictionWriter(tmp_path / "x.json").add([sample])
