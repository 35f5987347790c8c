import cv2
import pytest

from foveal.data.ade20k import ADE20K_CLASSES, ADE20K_PALETTE, ADE20KDataset
from foveal.data.seg_folder import SegFolderDataset
from foveal.errors import ConfigError, DataError
from foveal.registry import DATASETS

CLASSES = {"classes": ["wall", "sky", "tree"]}


def build(root, kind="SegFolderDataset", **arguments):
    arguments = {"metainfo": CLASSES, "data_prefix": {"img_path": "img", "seg_map_path": "ann"}, **arguments}
    return DATASETS.build({"type": kind, "data_root": str(root), **arguments})


class Rooms(SegFolderDataset):
    METAINFO = {"classes": ("wall", "sky", "tree"), "palette": [[1, 1, 1], [2, 2, 2], [3, 3, 3]]}


@pytest.mark.parametrize("kind", ["SegFolderDataset", "BaseSegDataset", "mmseg.BaseSegDataset"])
def test_records(mask_folder, kind):
    dataset = build(mask_folder, kind)
    assert isinstance(dataset, SegFolderDataset)
    assert [r["img_path"] for r in dataset] == [str(mask_folder / f"img/{n}.jpg") for n in ("a", "b", "sub/c")]
    assert [r["seg_map_path"] for r in dataset] == [str(mask_folder / f"ann/{n}.png") for n in ("a", "b", "sub/c")]
    assert dataset[0]["reduce_zero_label"] is False and dataset[0]["label_map"] is None
    assert dataset.metainfo["classes"] == ("wall", "sky", "tree")
    assert len(dataset.metainfo["palette"]) == 3


def test_split_list_and_suffixes(mask_folder):
    (mask_folder / "split.txt").write_text("sub/c\n\na\n")
    dataset = build(mask_folder, ann_file="split.txt")
    assert [r["seg_map_path"][-9:] for r in dataset] == ["sub/c.png", "ann/a.png"]
    (mask_folder / "ann/b.png").rename(mask_folder / "ann/b_labels.png")
    (mask_folder / "split.txt").write_text("b\n")
    dataset = build(mask_folder, ann_file="split.txt", seg_map_suffix="_labels.png")
    assert dataset[0]["seg_map_path"].endswith("b_labels.png")


def test_a_suffix_in_capitals_is_found_as_written(mask_folder):
    (mask_folder / "img/b.jpg").rename(mask_folder / "img/b.JPG")
    dataset = build(mask_folder)
    assert dataset[1]["img_path"].endswith("img/b.JPG")
    assert dataset[1]["seg_map_path"].endswith("ann/b.png")


def test_missing_files_are_named(mask_folder):
    (mask_folder / "ann/b.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 masks of data_prefix\['seg_map_path'\] are missing: .*ann/b\.png"):
        build(mask_folder)
    (mask_folder / "split.txt").write_text("a\nnone\n")
    with pytest.raises(DataError, match=r"1 of 2 images of ann_file are missing: .*none\.jpg"):
        build(mask_folder, ann_file="split.txt")
    with pytest.raises(DataError, match="has no sample in"):
        build(mask_folder, img_suffix=".tif")


def test_without_masks(mask_folder):
    dataset = build(mask_folder, data_prefix={"img_path": "img"}, test_mode=True)
    assert len(dataset) == 3 and "seg_map_path" not in dataset[0]


def test_classes_are_needed(mask_folder):
    with pytest.raises(ConfigError, match="needs metainfo=dict"):
        build(mask_folder, metainfo=None)


def test_ignore_index_becomes_255(mask_folder):
    assert build(mask_folder, ignore_index=2)[0]["label_map"] == {2: 255}


def test_subset_of_known_classes(mask_folder):
    prefix = {"img_path": "img", "seg_map_path": "ann"}
    root = str(mask_folder)
    dataset = Rooms(data_root=root, data_prefix=prefix, metainfo={"classes": ["tree", "wall"]})
    assert dataset[0]["label_map"] == {0: 1, 1: 255, 2: 0}
    assert dataset.metainfo["palette"] == [[3, 3, 3], [1, 1, 1]]
    assert Rooms(data_root=root, data_prefix=prefix)[0]["label_map"] is None
    with pytest.raises(ConfigError, match=r"'trees' \(nearest: 'tree'\)"):
        Rooms(data_root=root, data_prefix=prefix, metainfo={"classes": ["trees"]})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {0: 0, 1: 1, 2: 2, 255: 255}),
        ({"reduce_zero_label": True}, {0: 255, 1: 0, 2: 1, 255: 255}),
        ({"ignore_index": 1}, {0: 0, 1: 255, 2: 2, 255: 255}),
        ({"ignore_index": 1, "reduce_zero_label": True}, {0: 255, 1: 0, 2: 255, 255: 255}),
        ({"metainfo": {"classes": ["tree", "wall"]}}, {0: 1, 1: 255, 2: 0, 255: 255}),
    ],
)
def test_labels_through_the_loading_transform(mask_folder, arguments, expected):
    prefix = {"img_path": "img", "seg_map_path": "ann"}
    load = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]
    dataset = Rooms(data_root=str(mask_folder), data_prefix=prefix, pipeline=load, **arguments)
    stored = cv2.imread(str(mask_folder / "ann/a.png"), cv2.IMREAD_UNCHANGED)
    loaded = dataset[0]["gt_seg_map"]
    assert {old: set(loaded[stored == old].tolist()) for old in expected} == {k: {v} for k, v in expected.items()}


def test_ade20k_facts():
    assert len(ADE20K_CLASSES) == len(set(ADE20K_CLASSES)) == len(ADE20K_PALETTE) == 150
    assert (ADE20K_CLASSES[7], ADE20K_CLASSES[149]) == ("bed", "flag")
    assert (ADE20K_PALETTE[0], ADE20K_PALETTE[149]) == ([120, 120, 120], [92, 0, 255])


def test_ade20k_reduces_zero(mask_folder):
    dataset = ADE20KDataset(data_root=str(mask_folder), data_prefix={"img_path": "img", "seg_map_path": "ann"})
    assert dataset[0]["reduce_zero_label"] is True and dataset[0]["label_map"] is None
    assert dataset.metainfo["classes"] == ADE20K_CLASSES


@pytest.mark.parametrize(("split", "count"), [("training", 5), ("validation", 17)])
def test_real_ade20k(shared, split, count):
    dataset = ADE20KDataset(
        data_root=str(shared / "data/ade_sample"),
        data_prefix={"img_path": f"images/{split}", "seg_map_path": f"annotations/{split}"},
    )
    assert len(dataset) == count
    for record in dataset:
        image = cv2.imread(record["img_path"])
        mask = cv2.imread(record["seg_map_path"], cv2.IMREAD_UNCHANGED)
        assert mask.ndim == 2 and mask.shape == image.shape[:2] and mask.max() <= 150


def test_ade20k_names_are_the_official_ones(shared):
    lines = (shared / "data/ade_sample/objectInfo150.txt").read_text().splitlines()[1:]
    synonyms = [[name.strip() for name in line.split("\t")[4].split(",")] for line in lines]
    assert all(name in known for name, known in zip(ADE20K_CLASSES, synonyms, strict=True))
