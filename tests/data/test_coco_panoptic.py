import json

import cv2
import numpy as np
import pytest

from foveal.data.check_coco import segment_ids
from foveal.data.coco_panoptic import CocoPanopticDataset
from foveal.errors import ConfigError, DataError


def build(root, **arguments):
    return CocoPanopticDataset(
        data_root=str(root), ann_file="ann.json", data_prefix={"img": "images", "seg": "seg"}, **arguments
    )


def read_ids(path):
    return segment_ids(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])


def test_things_come_before_stuff(panoptic):
    dataset = build(panoptic[0])
    assert dataset.metainfo["classes"] == ("dog", "cat", "sky")
    assert dataset.metainfo["thing_classes"] == ("dog", "cat")
    assert dataset.metainfo["stuff_classes"] == ("sky",)
    assert dataset.cat_ids == [7, 3, 200]


def test_record(panoptic):
    root, _, _ = panoptic
    record = build(root)[0]
    assert record["pan_seg_map_path"] == str(root / "seg/a.png")
    assert record["instances"] == [{"bbox": [0, 0, 10, 32], "bbox_label": 0, "ignore_flag": 0}]
    assert record["segments_info"] == [
        {"id": 70000, "category": 0, "is_thing": True},
        {"id": 300, "category": 1, "is_thing": False},  # a crowd
        {"id": 5, "category": 2, "is_thing": False},
    ]


def test_png_ids(panoptic):
    ids = read_ids(panoptic[0] / "seg/a.png")
    assert ids[0, [0, 10, 20, 35]].tolist() == [70000, 300, 5, 0]


def test_through_the_loading_transform(panoptic):
    sample = build(panoptic[0], pipeline=[{"type": "LoadImageFromFile"}, {"type": "LoadPanopticAnnotations"}])[0]
    assert sample["gt_bboxes"].tolist() == [[0, 0, 10, 32]] and sample["gt_bboxes_labels"].tolist() == [0]
    assert sample["gt_masks"].sum() == 320
    assert sample["gt_seg_map"][5, [0, 10, 20, 35]].tolist() == [0, 1, 2, 255]


def test_subset_of_classes(panoptic):
    dataset = build(panoptic[0], metainfo={"classes": ["cat", "sky"]})
    assert [s["category"] for s in dataset[0]["segments_info"]] == [0, 1]
    with pytest.raises(ConfigError, match="things before stuff; the things are cat"):
        build(panoptic[0], metainfo={"classes": ["sky", "cat"]})


def test_an_image_without_things_is_empty(panoptic):
    root, content, write = panoptic
    del content["annotations"][0]["segments_info"][0]
    write(content)
    assert len(build(root)) == 1
    with pytest.raises(DataError, match="leaves out all 1"):
        build(root, filter_cfg={"filter_empty_gt": True})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c["annotations"][0]["segments_info"][1].pop("area"), r"image 9: segments_info\[1\] lacks area"),
        (lambda c: c["categories"][0].pop("isthing"), "categories sky lack 'isthing'"),
        (lambda c: c["annotations"][0].pop("segments_info"), r"annotations\[0\] lacks segments_info"),
    ],
)
def test_broken_files(panoptic, spoil, message):
    root, content, write = panoptic
    spoil(content)
    write(content)
    with pytest.raises(DataError, match=message):
        build(root)


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_real_segments(shared, split):
    root = shared / "data/coco128"
    dataset = CocoPanopticDataset(
        data_root=str(root),
        ann_file=f"annotations/panoptic_{split}.json",
        data_prefix={"img": split, "seg": f"annotations/panoptic_{split}"},
    )
    assert len(dataset) == 100
    classes = dataset.metainfo["classes"]
    assert (len(classes), len(dataset.metainfo["thing_classes"])) == (133, 80)
    described = json.loads((root / f"annotations/panoptic_{split}.json").read_text())["annotations"]
    areas = {a["image_id"]: {s["id"]: s["area"] for s in a["segments_info"]} for a in described}
    for index in range(0, 100, 10):
        record = dataset[index]
        ids, counts = np.unique(read_ids(record["pan_seg_map_path"]), return_counts=True)
        found = dict(zip(ids.tolist(), counts.tolist(), strict=True))
        found.pop(0, None)
        assert found == areas[record["img_id"]]
        assert {s["id"] for s in record["segments_info"]} == set(found)
        # the semantic maps of the sample were made from the same PNGs, independently of this code
        semantic = root / f"annotations/semantic_{split}" / (record["img_path"].rpartition("/")[2][:-4] + ".png")
        expected = cv2.imread(str(semantic), cv2.IMREAD_UNCHANGED)
        made = np.full(expected.shape, 255, np.uint8)
        pixels = read_ids(record["pan_seg_map_path"])
        for segment in record["segments_info"]:
            made[pixels == segment["id"]] = segment["category"]
        np.testing.assert_array_equal(made, expected)
