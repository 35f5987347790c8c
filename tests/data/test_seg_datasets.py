"""Cityscapes, VOC and COCO-Stuff: the layouts and the classes."""

import cv2
import numpy as np
import pytest

from foveal.data import CityscapesDataset, COCOStuffDataset, PascalVOCDataset
from foveal.data.check import check_dataset

LAYOUTS = {
    CityscapesDataset: ("ulm/ulm_1_leftImg8bit.png", "ulm/ulm_1_gtFine_labelTrainIds.png", 19),
    COCOStuffDataset: ("000000000009.jpg", "000000000009_labelTrainIds.png", 171),
    PascalVOCDataset: ("2007_000032.jpg", "2007_000032.png", 21),
}


def build(root, kind, highest):
    image, mask, _ = LAYOUTS[kind]
    for folder, name, pixels in (
        ("images", image, np.zeros((8, 9, 3), np.uint8)),
        ("masks", mask, np.array([[0, highest, 255]] * 8, np.uint8).repeat(3, 1)),
    ):
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)
    arguments = {}
    if kind is PascalVOCDataset:
        (root / "train.txt").write_text("2007_000032\n")
        arguments["ann_file"] = "train.txt"
    prefix = {"img_path": "images", "seg_map_path": "masks"}
    return kind(data_root=str(root), data_prefix=prefix, **arguments)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_layout(tmp_path, kind):
    _, mask, count = LAYOUTS[kind]
    dataset = build(tmp_path, kind, count - 1)
    assert len(set(dataset.metainfo["classes"])) == count
    assert dataset[0]["seg_map_path"] == str(tmp_path / "masks" / mask)
    assert not check_dataset(dataset).findings


@pytest.mark.parametrize("kind", LAYOUTS)
def test_check_names_the_file_and_the_value(tmp_path, kind):
    _, mask, count = LAYOUTS[kind]
    (finding,) = check_dataset(build(tmp_path, kind, count)).findings
    assert finding.kind == "mask value"
    assert finding.file == str(tmp_path / "masks" / mask)
    assert f"has the value {count}; classes end at {count - 1}" in finding.detail


def test_colours_of_the_devkits():
    assert PascalVOCDataset.METAINFO["palette"][15] == [192, 128, 128]
    assert PascalVOCDataset.METAINFO["palette"][20] == [0, 64, 128]
    assert CityscapesDataset.METAINFO["palette"][18] == [119, 11, 32]
