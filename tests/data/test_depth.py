"""Depth data: lists and folders, reading, cutting and turning along with the image, mistakes."""

import cv2
import numpy as np
import pytest
import torch

from foveal.data import DepthDataset
from foveal.data.check import check_dataset
from foveal.data.transforms import DepthCrop, LoadDepthAnnotation, PackInputs, Pad, RandomAffine, RandomFlip, Resize
from foveal.errors import DataError
from foveal.evaluation import DepthMetric

LOAD = [{"type": "LoadImageFromFile"}, {"type": "LoadDepthAnnotation"}]


def write(folder, name, shape=(12, 16), depth=None):
    folder.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / f"{name}.jpg"), image)
    depth = np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape) if depth is None else depth
    cv2.imwrite(str(folder / f"{name}.png"), depth)
    return depth


def dataset(root, **options):
    folders = {"img_path": "a", "depth_map_path": "a"}
    return DepthDataset(data_root=str(root), data_prefix=folders, **{"pipeline": [], **options})


def test_folders(tmp_path):
    depth = write(tmp_path / "a", "x")
    write(tmp_path / "a", "y")
    data = dataset(tmp_path, pipeline=[*LOAD, {"type": "PackInputs"}])
    assert len(data) == 2
    sample = data[0]["data_samples"]
    np.testing.assert_allclose(sample.gt_depth_map.data[0].numpy(), depth / 1000, rtol=1e-6)
    assert sample.gt_depth_map.data.dtype == torch.float32


def test_a_list_of_bts(tmp_path):
    write(tmp_path / "a", "x")
    (tmp_path / "list.txt").write_text("/x.jpg /x.png 518.8579\nnothing.jpg None 721.5377\n")
    data = dataset(tmp_path, ann_file="list.txt", pipeline=[*LOAD, {"type": "PackInputs"}])
    assert len(data) == 1
    assert data[0]["data_samples"].focal == 518.8579


@pytest.mark.parametrize(("line", "message"), [("x.jpg", "line 1: expected an image"), ("x.jpg x.png f", "line 1")])
def test_a_bad_line_is_named(tmp_path, line, message):
    write(tmp_path / "a", "x")
    (tmp_path / "list.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        dataset(tmp_path, ann_file="list.txt").full_init()


def test_missing_files_are_named(tmp_path):
    write(tmp_path / "a", "x")
    (tmp_path / "a" / "x.png").unlink()
    with pytest.raises(DataError, match=r"1 of 1 files of data_prefix\['depth_map_path'\] are missing: .*x.png"):
        dataset(tmp_path).full_init()


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (np.ones((12, 16), np.uint8), "must be gray with 16 bits, got uint8"),
        (np.ones((12, 16, 3), np.uint16), r"must be gray with 16 bits, got uint16 \[12, 16, 3\]"),
        (np.ones((6, 8), np.uint16), r"x.jpg has \[12, 16\] pixels \(h, w\), its depth map .* \[6, 8\]"),
    ],
)
def test_a_depth_map_that_is_none(tmp_path, depth, message):
    write(tmp_path / "a", "x", depth=depth)
    with pytest.raises(DataError, match=message):
        dataset(tmp_path, pipeline=LOAD)[0]
    findings = check_dataset(dataset(tmp_path)).findings
    assert len(findings) == 1 and findings[0].kind in ("bad depth map", "mask size")


def test_check_reads_all(tmp_path):
    write(tmp_path / "a", "x")
    write(tmp_path / "a", "y", depth=np.zeros((12, 16), np.uint16))
    (tmp_path / "list.txt").write_text("x.jpg x.png 1\ny.jpg y.png 1\nz.jpg z.png 1\n")
    report = check_dataset(dataset(tmp_path, ann_file="list.txt", lazy_init=True))
    assert report.counts["depth maps"] == 3
    assert sorted(f.detail for f in report.findings if f.file.endswith(".png")) == [
        "has no known depth",
        "the depth map does not exist",
    ]


def sample(height=480, width=640):
    """The depth is ten times the image's red, so that they can be compared."""
    red = np.random.default_rng(1).integers(1, 255, (height, width), dtype=np.uint8)
    results = {"img": np.repeat(red[..., None], 3, 2), "gt_depth_map": red.astype(np.float32) * 10}
    return results | {"img_shape": (height, width), "ori_shape": (height, width)}


@pytest.mark.parametrize(
    "transform",
    [
        DepthCrop("nyu"),
        RandomFlip(prob=1.0),
        Pad(size=(700, 500)),
        Resize(scale=(320, 240), interpolation="nearest"),
        RandomAffine(
            max_rotate_degree=0,
            max_shear_degree=0,
            max_translate_ratio=0,
            scaling_ratio_range=(1, 1),
            border_val=(0, 0, 0),
        ),
    ],
    ids=lambda t: type(t).__name__,
)
def test_depth_stays_with_its_pixels(transform):
    results = transform(sample())
    np.testing.assert_array_equal(results["gt_depth_map"], results["img"][..., 0].astype(np.float32) * 10)


def test_kitti_crop():
    whole = sample(375, 1242)
    results = DepthCrop("kb")(dict(whole))
    np.testing.assert_array_equal(results["img"], whole["img"][23:, 13:1229])
    assert results["crop_offset"] == (23, 13) and results["full_shape"] == (375, 1242)
    with pytest.raises(DataError, match="has 300 x 1242 pixels, too few for DepthCrop 'kb', which wants 352 x 1216"):
        DepthCrop("kb")(sample(300, 1242))


def test_gargs_crop_is_that_of_the_whole_image():
    gt = torch.ones(375, 1242)
    pred = torch.ones(375, 1242)
    pred[:153] = pred[371:] = 7.0
    pred[:, :44] = pred[:, 1197:] = 7.0
    whole = {"pred_depth_map": {"data": pred[None]}, "gt_depth_map": {"data": gt[None]}}
    cut = {"pred_depth_map": {"data": pred[None, 23:, 13:1229]}, "gt_depth_map": {"data": gt[None, 23:, 13:1229]}}
    cut |= {"crop_offset": (23, 13), "full_shape": (375, 1242)}
    metric = DepthMetric(["rmse"], crop_type="garg_crop")
    metric.process(None, [whole, cut])
    assert metric.compute_metrics(metric.results) == {"rmse": 0.0}
    pred[153, 44] = 7.0
    metric.results.clear()
    metric.process(None, [whole, cut])
    assert metric.results[0]["rmse"] > 0 and metric.results[0] == pytest.approx(metric.results[1])


def test_packed_with_focal_length():
    packed = PackInputs()(sample(8, 8) | {"focal": 700.0})
    assert packed["data_samples"].gt_depth_map.data.shape == (1, 8, 8) and packed["data_samples"].focal == 700.0


def test_rescaling(tmp_path):
    depth = write(tmp_path, "x")
    results = {"depth_map_path": str(tmp_path / "x.png"), "img_path": "x", "img_shape": (12, 16), "ori_shape": (12, 16)}
    loaded = LoadDepthAnnotation(1 / 256)(results)["gt_depth_map"]
    np.testing.assert_allclose(loaded, depth / 256)
