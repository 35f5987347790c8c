from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_utils

from foveal.data.transforms import LoadAnnotations, LoadImageFromFile, LoadPanopticAnnotations
from foveal.errors import ConfigError, DataError


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_image_is_bgr_with_its_shapes(tmp_path, picture):
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, picture)
    for backend in ("cv2", "pillow"):
        results = LoadImageFromFile(imdecode_backend=backend)({"img_path": path})
        assert np.array_equal(results["img"], picture)
        assert results["img_shape"] == results["ori_shape"] == (20, 30)
    assert LoadImageFromFile(to_float32=True)({"img_path": path})["img"].dtype == np.float32
    assert LoadImageFromFile(color_type="grayscale")({"img_path": path})["img"].shape == (20, 30)
    pair = LoadImageFromFile(key="gt_img")({"gt_img_path": path})
    assert np.array_equal(pair["gt_img"], picture) and "ori_shape" not in pair


def test_exif_turns_the_image_upright_unless_told_otherwise(tmp_path, picture):
    path = str(tmp_path / "turned.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(picture).save(path, exif=exif)
    assert LoadImageFromFile()({"img_path": path})["img_shape"] == (30, 20)
    ignoring = LoadImageFromFile(color_type="color_ignore_orientation")
    assert ignoring({"img_path": path})["img_shape"] == (20, 30)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n then nothing"])
@pytest.mark.parametrize("backend", ["cv2", "pillow"])
def test_what_does_not_decode_is_named(tmp_path, content, backend):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png does not decode"):
        LoadImageFromFile(imdecode_backend=backend)({"img_path": str(path)})


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        LoadImageFromFile()({"img_path": str(tmp_path / "gone.png")})
    with pytest.raises(DataError, match="cannot be read"):
        LoadImageFromFile()({"img_path": str(tmp_path)})


def test_unknown_values_are_explained():
    with pytest.raises(ConfigError, match="turbojpeg"):
        LoadImageFromFile(imdecode_backend="turbojpeg")


def ring() -> np.ndarray:
    mask = np.zeros((20, 30), np.uint8)
    mask[4:14, 5:25] = 1
    mask[7:10, 9:12] = 0
    return mask


def runs(mask: np.ndarray) -> list[int]:
    """Uncompressed COCO RLE: lengths of alternating runs in column order, the first of zeros."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return lengths if flat[0] == 0 else [0, *lengths]


def record(*masks) -> dict:
    boxes = dict(bbox=[5.0, 4.0, 25.0, 14.0], ignore_flag=0)
    instances = [dict(boxes, bbox_label=i, mask=mask) for i, mask in enumerate(masks)]
    return {"img_path": "p.jpg", "ori_shape": (20, 30), "instances": instances}


def test_polygons_and_both_kinds_of_rle():
    compressed = mask_utils.encode(np.asfortranarray(ring()))
    text = {"size": compressed["size"], "counts": compressed["counts"].decode()}
    listed = {"size": [20, 30], "counts": runs(ring())}
    polygons = [[5, 4, 25, 4, 25, 14, 5, 14], [0, 18, 3, 18, 3, 20, 0, 20]]
    results = LoadAnnotations(with_mask=True, poly2mask=False)(record(text, compressed, listed, polygons))
    masks = results["gt_masks"]
    assert masks.shape == (4, 20, 30) and masks.dtype == np.uint8 and masks.flags.c_contiguous
    for mask in masks[:3]:
        assert np.array_equal(mask, ring())
    expected = np.zeros((20, 30), np.uint8)
    expected[4:14, 5:25] = 1
    expected[18:20, 0:3] = 1
    assert np.array_equal(masks[3], expected)
    assert results["gt_bboxes"].dtype == np.float32 and results["gt_bboxes_labels"].tolist() == [0, 1, 2, 3]
    assert not results["gt_ignore_flags"].any()


def test_an_instance_without_a_polygon_is_ignored_and_crowds_stay_so():
    results = record([[1, 2, 3, 4]], [], [[0, 0, 9, 0, 9, 9]])
    results["instances"][2]["ignore_flag"] = 1
    results = LoadAnnotations(with_mask=True)(results)
    assert results["gt_ignore_flags"].tolist() == [True, True, True]
    assert results["gt_masks"].any(axis=(1, 2)).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"size": [30, 20], "counts": [600]}, r"p\.jpg: instance 0: its mask is 20x30, the image 30x20"),
        ({"counts": [600]}, "size and counts"),
        (None, "no mask"),
        ({"size": [20, 30], "counts": [10**9]}, r"p\.jpg: instance 0: its RLE does not decode"),
        ({"size": [20, 30], "counts": [-5, 605]}, r"p\.jpg: instance 0: its RLE does not decode"),
        ({"size": [20, 30], "counts": b"o" * 99}, r"p\.jpg: instance 0: its RLE does not decode"),
        ({"size": [20, 30], "counts": 5}, r"p\.jpg: instance 0: its RLE does not decode"),
        ([[0, 0, 9, 0, 9, float("nan")]], r"p\.jpg: instance 0: a polygon reaches far out of its image of 30x20"),
        ([[0, 0, 9, 0, 1e9, 1e9]], r"p\.jpg: instance 0: a polygon reaches far out of its image of 30x20"),
        ([["a"] * 6], r"p\.jpg: instance 0: a polygon must be a list of numbers, got \['a'"),
        ([5], r"p\.jpg: instance 0: a polygon must be a list of numbers, got 5"),
    ],
)
def test_wrong_masks_are_named(mask, message):
    with pytest.raises(DataError, match=message):
        LoadAnnotations(with_mask=True)(record(mask))


def test_no_annotations_make_empty_arrays():
    results = LoadAnnotations(with_mask=True)(record())
    assert results["gt_bboxes"].shape == (0, 4) and results["gt_bboxes_labels"].shape == (0,)
    assert results["gt_masks"].shape == (0, 20, 30) and results["gt_ignore_flags"].shape == (0,)


def write_palette(path, labels):
    image = Image.fromarray(labels, mode="P") if labels.dtype == np.uint8 else Image.fromarray(labels)
    if labels.dtype == np.uint8:
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768).tolist())
    image.save(path)


def test_label_map_keeps_the_indices_of_a_palette_image(tmp_path):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    write_palette(tmp_path / "m.png", labels)
    results = LoadAnnotations()({"seg_map_path": str(tmp_path / "m.png"), "ori_shape": (3, 4)})
    assert np.array_equal(results["gt_seg_map"], labels) and results["gt_seg_map"].dtype == np.uint8
    assert "gt_bboxes" not in results


@pytest.mark.parametrize("said_by", ["record", "transform"])
def test_zero_label_is_reduced_before_the_label_map(tmp_path, said_by):
    labels = np.array([[0, 1, 2, 3, 254, 255]], np.uint8)
    write_palette(tmp_path / "m.png", labels)
    results = {"seg_map_path": str(tmp_path / "m.png"), "label_map": {0: 7, 7: 1, 2: 255}}
    own = None
    if said_by == "record":
        results["reduce_zero_label"] = True
    else:
        own = True
    assert LoadAnnotations(reduce_zero_label=own)(results)["gt_seg_map"].tolist() == [[255, 7, 1, 255, 253, 255]]
    results["reduce_zero_label"], results["label_map"] = False, None
    assert LoadAnnotations()(results)["gt_seg_map"].tolist() == labels.tolist()


def test_boxes_and_label_map_together(tmp_path):
    write_palette(tmp_path / "m.png", np.full((20, 30), 3, np.uint8))
    both = record() | {"seg_map_path": str(tmp_path / "m.png")}
    assert "gt_seg_map" not in LoadAnnotations()(dict(both))
    results = LoadAnnotations(with_seg=True)(dict(both))
    assert results["gt_bboxes"].shape == (0, 4) and (results["gt_seg_map"] == 3).all()


def test_wrong_label_maps_are_named(tmp_path, picture):
    path = str(tmp_path / "m.png")
    load = LoadAnnotations()
    cv2.imwrite(path, picture)
    with pytest.raises(DataError, match=r"m\.png has 3 channels"):
        load({"seg_map_path": path})
    write_palette(path, np.zeros((5, 6), np.uint8))
    with pytest.raises(DataError, match=r"m\.png is 6x5, its image 30x20"):
        load({"seg_map_path": path, "ori_shape": (20, 30)})
    write_palette(path, np.full((5, 6), 300, np.uint16))
    with pytest.raises(DataError, match="label 300"):
        load({"seg_map_path": path})


def panoptic(tmp_path, ids: np.ndarray) -> dict:
    bgr = np.stack([ids // 65536, ids // 256 % 256, ids % 256], axis=2).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "pan.png"), bgr)
    return {
        "pan_seg_map_path": str(tmp_path / "pan.png"),
        "ori_shape": ids.shape,
        "instances": [dict(bbox=[0, 0, 2, 2], bbox_label=1, ignore_flag=0)],
        "segments_info": [
            dict(id=70000, category=1, is_thing=True),
            dict(id=300, category=5, is_thing=False),
        ],
    }


def test_panoptic_segments_become_instances_and_labels(tmp_path):
    ids = np.array([[70000, 70000, 300], [70000, 0, 300]])
    results = LoadPanopticAnnotations()(panoptic(tmp_path, ids))
    assert results["gt_seg_map"].tolist() == [[1, 1, 5], [1, 255, 5]]
    assert results["gt_masks"].tolist() == [[[1, 1, 0], [1, 0, 0]]]
    assert results["gt_bboxes_labels"].tolist() == [1] and results["gt_bboxes"].shape == (1, 4)


def test_panoptic_mistakes_are_named(tmp_path):
    with pytest.raises(DataError, match="no pixel of the segment 300"):
        LoadPanopticAnnotations()(panoptic(tmp_path, np.array([[70000, 0]])))
    results = panoptic(tmp_path, np.array([[70000, 300]])) | {"ori_shape": (9, 9)}
    with pytest.raises(DataError, match=r"pan\.png is \(2, 1\)"):
        LoadPanopticAnnotations()(results)


def test_coco128_masks_fill_their_boxes(shared, boxes_of):
    """Real polygons and RLE: the box of each mask is the annotated box to about a pixel."""
    from foveal.data import CocoDataset

    root = shared / "data" / "coco128"
    dataset = CocoDataset(
        ann_file=str(next((root / "annotations").glob("instances*.json"))),
        data_prefix=dict(img=str(root / "train2017")),
        pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_mask=True)],
        indices=40,
    )
    differences = []
    for index in range(len(dataset)):
        results = dataset[index]
        keep = ~results["gt_ignore_flags"] & results["gt_masks"].any(axis=(1, 2))
        differences.append(np.abs(boxes_of(results["gt_masks"]) - results["gt_bboxes"])[keep])
    assert np.median(np.concatenate(differences)) < 0.6


def claiming(width, height):
    """A PNG whose header says so, without the pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
def test_large_images_are_refused_before_they_are_decoded(backend, tmp_path):
    load = LoadImageFromFile(imdecode_backend=backend, max_pixels=10**8)
    exactly = "15000 x 10000 pixels, more than max_pixels"
    for width, height, text in ((15_000, 10_000, exactly), (10**6, 10**6, "by far")):
        path = tmp_path / f"{width}.png"
        path.write_bytes(claiming(width, height))
        with pytest.raises(DataError, match=rf"{width}\.png has .*{text}"):
            load({"img_path": str(path)})
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.zeros((10, 10, 3), np.uint8))
    assert load({"img_path": str(small)})["img"].shape == (10, 10, 3)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="does not decode"):
        load({"img_path": str(tmp_path / "broken.png")})
