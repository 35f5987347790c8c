from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from foveal.data import RestorationDataset
from foveal.data.imresize import imresize
from foveal.errors import ConfigError, DataError
from foveal.registry import DATASETS

LOAD = [dict(type="LoadImageFromFile", key="gt_img"), dict(type="LoadImageFromFile"), dict(type="PackInputs")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three sharp images, one of them in a sub-folder, and their halves with ``x2`` behind the name."""
    rng = np.random.default_rng(0)
    for name in ("b", "a", "more/c"):
        image = cv2.GaussianBlur(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), (3, 3), 0)
        for folder, content, tail in (("hr", image, ""), ("lr", imresize(image, 0.5), "x2")):
            path = tmp_path / folder / f"{name}{tail}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), content)
    return tmp_path


def pairs(root: Path, **changes) -> RestorationDataset:
    config = dict(
        type="BasicImageDataset",
        data_root=str(root),
        data_prefix=dict(gt="hr", img="lr"),
        filename_tmpl=dict(img="{}x2"),
        scale=2,
        pipeline=LOAD,
        test_mode=True,
    )
    return DATASETS.build(config | changes)


def names(dataset: RestorationDataset, key: str = "gt_img_path") -> list[str]:
    return [Path(dataset.get_data_info(i)[key]).stem for i in range(len(dataset))]


def test_pairs_by_name(root):
    dataset = pairs(root)
    assert names(dataset) == ["a", "b", "c"] and names(dataset, "img_path") == ["ax2", "bx2", "cx2"]
    packed = dataset[2]
    sharp = packed["data_samples"].gt_img.numpy()[::-1].transpose(1, 2, 0)
    assert np.array_equal(packed["inputs"].numpy().transpose(1, 2, 0), imresize(np.ascontiguousarray(sharp), 0.5))


def test_pairs_made_by_the_pipeline(root):
    pipeline = [
        dict(type="LoadImageFromFile", key="gt_img"),
        dict(type="ModCrop", scale=3),
        dict(type="MATLABLikeResize", scale=1 / 3),
        dict(type="PackInputs"),
    ]
    dataset = pairs(root, data_prefix=dict(gt="hr"), scale=3, pipeline=pipeline)
    assert "img_path" not in dataset.get_data_info(0)
    packed = dataset[0]
    assert packed["inputs"].shape == (3, 8, 10) and packed["data_samples"].gt_img.shape == (3, 24, 30)


def test_low_quality_images_alone(root):
    dataset = pairs(root, data_prefix=dict(img="lr"), pipeline=LOAD[1:])
    assert names(dataset, "img_path") == ["ax2", "bx2", "cx2"]
    assert "gt_img" not in dataset[0]["data_samples"]


def test_listed_images(root):
    (root / "list.txt").write_text("more/c.png (24,32,3)\na\n")
    assert names(pairs(root, ann_file="list.txt")) == ["c", "a"]
    (root / "list.txt").write_text("a.png\nd.png\n")
    with pytest.raises(DataError, match=r"1 of 2 images are missing in data_prefix\['gt'\].*: d"):
        pairs(root, ann_file="list.txt")


def test_partners_may_have_other_extensions_and_templates(root):
    for path in (root / "hr").rglob("*.png"):
        path.rename(path.with_name(f"HR_{path.stem}.tif"))
    dataset = pairs(root, filename_tmpl=dict(gt="HR_{}", img="{}x2"))
    assert names(dataset) == ["HR_a", "HR_b", "HR_c"] and names(dataset, "img_path") == ["ax2", "bx2", "cx2"]


def test_a_missing_partner_is_named(root):
    (root / "lr/bx2.png").unlink()
    with pytest.raises(DataError, match=r"1 of 3 images are missing in data_prefix\['img'\].*: bx2"):
        pairs(root)


def test_a_wrong_scale_names_both_images(root):
    dataset = pairs(root, scale=4)
    with pytest.raises(DataError, match=r"scale 4.*ax2\.png is 16x12, .*a\.png is 32x24"):
        dataset[0]


@pytest.mark.parametrize(
    "changes",
    [
        dict(data_prefix={}),
        dict(data_prefix=dict(lq="lr")),
        dict(filename_tmpl=dict(img="x2")),
        dict(filename_tmpl=dict(lq="{}x2")),
    ],
)
def test_wrong_configs_are_explained(root, changes):
    with pytest.raises(ConfigError, match=r"data_prefix|filename_tmpl"):
        pairs(root, **changes)


def test_missing_folders_are_named(root):
    with pytest.raises(DataError, match="data_prefix"):
        pairs(root, data_prefix=dict(gt="sharp"))
