import copy
import json
import multiprocessing

import numpy as np
import pytest
from pycocotools import mask as rle

from foveal.data.base import Dataset
from foveal.data.coco import COCO_CLASSES, COCO_PALETTE, CocoDataset
from foveal.errors import ConfigError, DataError
from foveal.registry import DATASETS


def build(root, **arguments):
    arguments = {"data_prefix": {"img": "images/"}, "ann_file": "ann.json", **arguments}
    return DATASETS.build({"type": "CocoDataset", "data_root": str(root), **arguments})


def decode(mask, size):
    """Decode any of COCO's mask kinds to uint8 [H, W]."""
    if isinstance(mask, list):
        mask = rle.merge(rle.frPyObjects(mask, *size))
    elif isinstance(mask["counts"], list):
        mask = rle.frPyObjects(mask, *size)
    return rle.decode(mask)


def test_records(coco):
    root, content, _ = coco
    dataset = build(root)
    assert isinstance(dataset, Dataset)
    assert dataset.metainfo["classes"] == ("cat", "dog", "owl")
    assert len(dataset.metainfo["palette"]) == 3
    assert dataset.cat_ids == dataset.metainfo["cat_ids"] == [3, 7, 90]
    assert [record["img_id"] for record in dataset] == [1, 2, 3, 4]
    first = dataset[0]
    assert first["img_path"] == str(root / "images" / "0001.png")
    assert (first["height"], first["width"]) == (40, 60)
    assert first["instances"] == [
        {
            "bbox": [2, 3, 22, 13],
            "bbox_label": 0,
            "ignore_flag": 0,
            "id": content["annotations"][0]["id"],
            "mask": content["annotations"][0]["segmentation"],
        },
        {"bbox": [30, 5, 42, 35], "bbox_label": 2, "ignore_flag": 0, "id": content["annotations"][1]["id"]},
    ]
    assert dataset.get_cat_ids(0) == [0, 2]
    assert [i["ignore_flag"] for i in dataset[1]["instances"]] == [0, 1]


def test_both_rle_kinds_survive(coco):
    root, content, _ = coco
    compressed, uncompressed = (instance["mask"] for instance in build(root)[1]["instances"])
    assert isinstance(compressed["counts"], str) and isinstance(uncompressed["counts"], list)
    np.testing.assert_array_equal(decode(compressed, (50, 48)), decode(uncompressed, (50, 48)))
    assert decode(compressed, (50, 48)).sum() == content["annotations"][2]["area"]


@pytest.mark.parametrize("classes", [("owl", "cat"), ["cat", "owl"]])
def test_subset_and_order_of_classes(coco, classes):
    dataset = build(coco[0], metainfo={"classes": classes})
    assert dataset.metainfo["classes"] == tuple(classes)
    ids = {"owl": 90, "cat": 3}
    assert dataset.cat_ids == [ids[name] for name in classes]
    assert dataset.get_cat_ids(0) == [classes.index("cat"), classes.index("owl")]
    assert dataset.get_cat_ids(1) == []


def test_other_class_names_are_an_error_with_both_lists(coco):
    with pytest.raises(ConfigError) as error:
        build(coco[0], metainfo={"classes": ["cat", "Dog"]})
    message = str(error.value)
    assert "'Dog' (nearest: 'dog')" in message and "ann.json" in message
    assert "of the config: cat, Dog;" in message and "of the data: cat, dog, owl" in message


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": [5, 5, 0.5, 10]},
        {"bbox": [5, 5, 10, 0.5]},
        {"bbox": [5, 5, -3, 10]},
        {"area": 0},
        {"bbox": [60, 5, 10, 10]},
        {"bbox": [5, -30, 10, 30]},
        {"bbox": [float("nan"), 5, 10, float("nan")]},
        {"ignore": 1},
        {"category_id": 4},
    ],
)
def test_unusable_annotations_are_left_out(coco, change):
    root, content, write = coco
    content["annotations"][0].update(change)
    write(content)
    assert [i["bbox_label"] for i in build(root)[0]["instances"]] == [2]


def test_a_box_reaching_out_stays_as_annotated(coco):
    root, content, write = coco
    content["annotations"][0]["bbox"] = [-4, 3, 20, 60]
    write(content)
    assert build(root)[0]["instances"][0]["bbox"] == [-4, 3, 16, 63]


def test_what_is_left_out_is_counted(coco, capsys, monkeypatch):
    root, content, write = coco
    content["annotations"][0]["bbox"] = [5, 5, 0, 0]
    write(content)
    lines = []
    monkeypatch.setattr("foveal.data.base.print_log", lambda text, **_: lines.append(text))
    build(root, metainfo={"classes": ["cat", "owl"]})
    assert len(lines) == 1 and "1 boxes below one pixel" in lines[0] and "2 annotations of other classes" in lines[0]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("filter_cfg", "test_mode", "kept"),
    [
        (None, False, [1, 2, 3, 4]),
        ({"filter_empty_gt": True}, False, [1, 2, 3]),
        ({"filter_empty_gt": True, "min_size": 48}, False, [2, 3]),
        ({"min_size": 34}, False, [1, 2, 3]),
        ({"filter_empty_gt": True, "min_size": 48}, True, [1, 2, 3, 4]),
    ],
)
def test_filter(coco, filter_cfg, test_mode, kept):
    assert [r["img_id"] for r in build(coco[0], filter_cfg=filter_cfg, test_mode=test_mode)] == kept


def test_wrong_configs(coco):
    with pytest.raises(ConfigError, match="no key 'min_sise'; did you mean 'min_size'"):
        build(coco[0], filter_cfg={"min_sise": 3})
    with pytest.raises(ConfigError, match=r"data_prefix has no key 'img_path'; it accepts 'img'"):
        build(coco[0], data_prefix={"img_path": "images"})
    with pytest.raises(ConfigError, match="CocoDataset needs ann_file"):
        build(coco[0], ann_file="")
    with pytest.raises(DataError, match=r"filter_cfg=\{'min_size': 99\} leaves out all 4"):
        build(coco[0], filter_cfg={"min_size": 99})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [],\n "annotations": [}', r"ann\.json is not JSON: .* at line 2, column 18"),
        ("", "is not JSON: .* line 1, column 1"),
        ("\ufeff{}", "is not JSON"),
        ("[1]", "a list, not a dict"),
        ('{"images": []}', "no list 'categories' among images"),
        ('{"images": [{"id": 1, "file_name": "a"}], "categories": []}', r"images\[0\] lacks height, width; it has id"),
        ('{"images": [], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}', "name 'a' comes twice"),
        ('{"images": [], "categories": [], "annotations": [{"segments_info": []}]}', "lacks bbox, category_id, id"),
        (
            '{"images": [], "categories": [], "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": 1}]}',
            r"annotations\[0\]: bbox must be four numbers",
        ),
    ],
)
def test_broken_annotation_files(coco, text, message):
    root = coco[0]
    (root / "ann.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        build(root)


def test_binary_annotation_file(coco):
    (coco[0] / "ann.json").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match="byte 0 is not UTF-8"):
        build(coco[0])


def test_a_test_set_without_annotations(coco):
    root, content, write = coco
    content = copy.deepcopy(content)
    del content["annotations"]
    write(content)
    assert [r["instances"] for r in build(root, test_mode=True)] == [[]] * 4


def test_dataset_survives_spawn(coco):
    """A spawned worker gets the dataset by pickle and has imported nothing of ours."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        record = pool.apply(build(coco[0]).get_data_info, (1,))
    assert record["img_id"] == 2 and len(record["instances"]) == 2


def test_coco_80():
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == len(COCO_PALETTE) == 80
    assert (COCO_CLASSES[0], COCO_CLASSES[79]) == ("person", "toothbrush")


@pytest.mark.parametrize(
    ("split", "kind", "images", "objects"), [("train2017", "instances", 100, 746), ("train2017", "boxes", 128, 929)]
)
def test_real_counts(shared, split, kind, images, objects):
    dataset = CocoDataset(
        data_root=str(shared / "data/coco128"), ann_file=f"annotations/{kind}_{split}.json", data_prefix={"img": split}
    )
    assert len(dataset) == images
    assert dataset.metainfo["classes"] == COCO_CLASSES
    assert dataset.cat_ids[79] == 90
    assert sum(len(record["instances"]) for record in dataset) == objects


def test_real_masks_have_the_annotated_area(shared):
    """Over both splits: 1421 polygons, 26 compressed RLE that are no crowds, 11 uncompressed crowds."""
    kinds = {"polygons": 0, "compressed": 0, "crowd": 0}
    for split in ("train2017", "val2017"):
        path = shared / f"data/coco128/annotations/instances_{split}.json"
        areas = {}
        for annotation in json.loads(path.read_text())["annotations"]:
            areas.setdefault(annotation["image_id"], []).append(annotation["area"])
        load = [{"type": "LoadAnnotations", "with_mask": True}]
        for sample in build(shared / "data/coco128", ann_file=str(path), data_prefix={"img": split}, pipeline=load):
            masks = sample["gt_masks"]
            assert masks.shape == (len(sample["instances"]), sample["height"], sample["width"])
            annotated = areas.get(sample["img_id"], [])
            for instance, mask, area in zip(sample["instances"], masks, annotated, strict=True):
                raw = instance["mask"]
                if isinstance(raw, list):
                    kinds["polygons"] += 1
                    continue
                kinds["crowd" if instance["ignore_flag"] else "compressed"] += 1
                assert isinstance(raw["counts"], list if instance["ignore_flag"] else str)
                assert mask.sum() == area
    assert kinds == {"polygons": 1421, "compressed": 26, "crowd": 11}
