from collections import Counter

import cv2
import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from PIL import Image

from foveal.data.ade20k import ADE20KDataset
from foveal.data.check import check_dataset
from foveal.data.coco import CocoDataset
from foveal.data.coco_panoptic import CocoPanopticDataset
from foveal.data.image_folder import ImageFolder
from foveal.data.seg_folder import SegFolderDataset


def coco_dataset(root, **arguments):
    return CocoDataset(data_root=str(root), ann_file="ann.json", data_prefix={"img": "images"}, **arguments)


def panoptic_dataset(root):
    return CocoPanopticDataset(data_root=str(root), ann_file="ann.json", data_prefix={"img": "images", "seg": "seg"})


def folder_dataset(root, **arguments):
    prefix = {"img_path": "img", "seg_map_path": "ann"}
    arguments = {"metainfo": {"classes": ["a", "b", "c"]}, **arguments}
    return SegFolderDataset(data_root=str(root), data_prefix=prefix, **arguments)


def kinds(report):
    return [finding.kind for finding in report.findings]


def test_good_data_have_no_findings(coco, panoptic, mask_folder, class_folders):
    seen = []

    def progress(jobs):
        seen.append(len(jobs))
        return jobs

    datasets = [coco_dataset(coco[0]), panoptic_dataset(panoptic[0]), folder_dataset(mask_folder)]
    datasets.append(ImageFolder(data_root=str(class_folders)))
    report = check_dataset(ConcatDataset(datasets[:1]), progress=progress)
    assert report.findings == [] and report.counts == Counter(images=4, annotations=5)
    assert seen == [4] and report.summary() == "4 images, 5 annotations checked; all is well"
    assert [check_dataset(d).findings for d in datasets] == [[]] * 4
    assert check_dataset(datasets[1]).counts == Counter(images=1, masks=1, annotations=3)
    assert check_dataset(datasets[2]).counts == Counter(images=3, masks=3)


@pytest.mark.parametrize(
    ("number", "change", "kind", "detail"),
    [
        (0, {"bbox": [2, 3, 0, 10]}, "empty box", "annotation 100 of image 1"),
        (0, {"area": 0}, "empty box", "area 0"),
        (0, {"bbox": [50, 3, 20, 10]}, "box outside image", "in an image of 60x40"),
        (0, {"bbox": [-3, 3, 20, 10]}, "box outside image", "[-3, 3, 20, 10]"),
        (0, {"bbox": [float("nan"), 3, 20, 10]}, "bad box", "not finite"),
        (0, {"category_id": 5}, "unknown category", "category_id 5"),
        (0, {"image_id": 77}, "unknown image", "of image 77"),
        (1, {"id": 100}, "duplicate id", "annotation 100"),
        (0, {"segmentation": [[1, 2, 3, 4]]}, "bad mask", "4 numbers"),
        (0, {"segmentation": [[1, 2, 3, 4, 70, 6]]}, "bad mask", "out of its image"),
        (2, {"segmentation": {"size": [48, 50], "counts": "abc"}}, "mask size", "the RLE is 50x48, its image 48x50"),
        (2, {"segmentation": {"size": [50, 48], "counts": "abc"}}, "bad mask", "does not decode"),
        (2, {"segmentation": {"size": [50, 48], "counts": [3, 4]}}, "bad mask", "7 of 2400 pixels"),
        (2, {"segmentation": {"size": 50, "counts": [3, 4]}}, "bad mask", "not [height, width]"),
        (2, {"segmentation": {"counts": []}}, "bad mask", "neither polygons nor"),
    ],
)
def test_coco_annotations(coco, number, change, kind, detail):
    root, content, write = coco
    content["annotations"][number].update(change)
    write(content)
    report = check_dataset(coco_dataset(root))
    assert kinds(report) == [kind]
    assert report.findings[0].file == str(root / "ann.json") and detail in report.findings[0].detail


def test_a_pixel_of_slack(coco):
    root, content, write = coco
    content["annotations"][0]["bbox"] = [-0.5, 3, 61, 10]
    write(content)
    assert check_dataset(coco_dataset(root)).findings == []


def test_images(coco):
    root, content, write = coco
    (root / "images/0001.png").unlink()
    (root / "images/0002.png").write_bytes(b"not an image")
    content["images"][2]["width"] = 63
    content["images"][3]["file_name"] = "0004.jpg"
    write(content)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (33, 70, 3), np.uint8)).save(root / "images/0004.jpg")
    whole = (root / "images/0004.jpg").read_bytes()
    (root / "images/0004.jpg").write_bytes(whole[: len(whole) // 2])
    report = check_dataset(coco_dataset(root))
    assert kinds(report) == ["missing file", "unreadable image", "image size", "unreadable image"]
    assert [f.file[-8:] for f in report.findings] == ["0001.png", "0002.png", "0003.png", "0004.jpg"]
    assert "annotated as 63x64, is 64x64" in report.findings[2].detail
    assert "cut short" in report.findings[3].detail
    assert report.by_kind["unreadable image"] == 2
    assert report.summary().endswith("4 found: 2 x unreadable image, 1 x missing file, 1 x image size")
    assert str(report.findings[0]) == f"{root}/images/0001.png: missing file: the image does not exist"


def test_filtered_images_are_checked_too(coco):
    root, _, _ = coco
    (root / "images/0004.png").unlink()
    dataset = coco_dataset(root, filter_cfg={"filter_empty_gt": True})
    assert len(dataset) == 3 and kinds(check_dataset(dataset)) == ["missing file"]


def test_what_cannot_be_built_is_a_finding(coco):
    root, _, _ = coco
    report = check_dataset(coco_dataset(root, metainfo={"classes": ["cow"]}, lazy_init=True))
    assert kinds(report) == ["dataset"] and "'cow'" in report.findings[0].detail and report.counts["images"] == 4
    (root / "ann.json").write_text("{")
    assert "line 1" in check_dataset(coco_dataset(root, lazy_init=True)).findings[0].detail
    (root / "ann.json").unlink()
    assert "does not exist" in check_dataset(coco_dataset(root, lazy_init=True)).findings[0].detail


@pytest.mark.parametrize(
    ("spoil", "kind", "detail"),
    [
        (lambda s: s[0].update(id=70001), "segments", "segment 70001 of the JSON has no pixel"),
        (lambda s: s[0].update(area=319), "segments", "segment 70000 has 320 pixels, the JSON says 319"),
        (lambda s: s.pop(), "segments", "the value 5 (480 pixels) is not in the JSON"),
        (lambda s: s[0].update(category_id=8), "unknown category", "category_id 8"),
        (lambda s: s[0].update(bbox=[0, 0, 10, 40]), "box outside image", "segment 70000"),
    ],
)
def test_panoptic_segments(panoptic, spoil, kind, detail):
    root, content, write = panoptic
    spoil(content["annotations"][0]["segments_info"])
    write(content)
    report = check_dataset(panoptic_dataset(root))
    assert set(kinds(report)) == {kind} and detail in report.findings[0].detail


def test_panoptic_pngs(panoptic):
    root, content, write = panoptic
    png = cv2.imread(str(root / "seg/a.png"))
    cv2.imwrite(str(root / "seg/a.png"), png[:, :-1])
    assert kinds(check_dataset(panoptic_dataset(root))) == ["mask size"]
    cv2.imwrite(str(root / "seg/a.png"), png[..., 0])
    assert kinds(check_dataset(panoptic_dataset(root))) == ["bad mask"]
    content["annotations"][0]["image_id"] = 10
    write(content)
    assert kinds(check_dataset(panoptic_dataset(root))) == ["unknown image", "segments"]


def test_masks(mask_folder):
    cv2.imwrite(str(mask_folder / "ann/a.png"), np.full((24, 30), 7, np.uint8))
    cv2.imwrite(str(mask_folder / "ann/b.png"), np.zeros((24, 31), np.uint8))
    cv2.imwrite(str(mask_folder / "ann/sub/c.png"), np.zeros((24, 30, 3), np.uint8))
    report = check_dataset(folder_dataset(mask_folder))
    assert kinds(report) == ["mask value", "mask size", "bad mask"]
    assert report.findings[0].file.endswith("a.png")
    assert report.findings[0].detail == "has the value 7; classes end at 2"
    assert report.findings[1].detail.startswith("is 31x24, its image 30x24")


def test_missing_masks_are_all_named(mask_folder):
    (mask_folder / "ann/a.png").unlink()
    (mask_folder / "ann/b.png").write_bytes(b"none")
    report = check_dataset(folder_dataset(mask_folder, lazy_init=True))
    assert kinds(report) == ["missing file", "bad mask"]
    assert [f.file[-5:] for f in report.findings] == ["a.png", "b.png"]


def test_palette_masks_are_read_as_indices(mask_folder):
    indices = Image.fromarray(np.full((24, 30), 2, np.uint8), mode="P")
    indices.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    indices.save(mask_folder / "ann/a.png")
    assert check_dataset(folder_dataset(mask_folder)).findings == []


@pytest.mark.parametrize(("reduce_zero", "wrong"), [(False, [3]), (True, [])])
def test_reduced_zero_shifts_the_last_value(mask_folder, reduce_zero, wrong):
    cv2.imwrite(str(mask_folder / "ann/a.png"), np.full((24, 30), 3, np.uint8))
    report = check_dataset(folder_dataset(mask_folder, reduce_zero_label=reduce_zero))
    assert len(report.findings) == len(wrong)


def test_real_data_are_clean(shared):
    root = str(shared / "data/coco128")
    for dataset in (
        CocoDataset(data_root=root, ann_file="annotations/instances_val2017.json", data_prefix={"img": "val2017"}),
        CocoPanopticDataset(
            data_root=root,
            ann_file="annotations/panoptic_val2017.json",
            data_prefix={"img": "val2017", "seg": "annotations/panoptic_val2017"},
        ),
        ADE20KDataset(
            data_root=str(shared / "data/ade_sample"),
            data_prefix={"img_path": "images/training", "seg_map_path": "annotations/training"},
        ),
    ):
        assert check_dataset(dataset).findings == []
