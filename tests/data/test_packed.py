"""Images in one file: the same as from folders, without decoding."""

import cv2
import numpy as np
import pytest

from foveal.data.packed import pack_images, packed_names, read_packed
from foveal.errors import DataError
from foveal.registry import DATASETS


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for role, scale, suffix in (("hr", 2, ""), ("lr", 1, "x2")):
        images = []
        for name in ("b/two", "one"):
            image = rng.integers(0, 256, (8 * scale, 6 * scale, 3), dtype=np.uint8)
            path = tmp_path / role / f"{name}{suffix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
            images.append((f"{name}{suffix}.png", image))
        assert pack_images(images, tmp_path / f"{role}.safetensors") == 2
    return tmp_path


def dataset(root, gt, img):
    pipeline = [{"type": "LoadImageFromFile"}, {"type": "LoadImageFromFile", "key": "gt_img"}, {"type": "PackInputs"}]
    prefix = {"gt": gt, "img": img}
    node = {"data_root": str(root), "data_prefix": prefix, "filename_tmpl": {"img": "{}x2"}, "scale": 2}
    return DATASETS.build({"type": "RestorationDataset", **node, "pipeline": pipeline})


@pytest.mark.parametrize("img", ["lr", "lr.safetensors"])
def test_packed_pairs_are_those_of_the_folders(folders, img):
    plain, packed = dataset(folders, "hr", "lr"), dataset(folders, "hr.safetensors", img)
    assert len(plain) == len(packed) == 2
    for a, b in zip(plain, packed, strict=True):
        assert (a["inputs"] == b["inputs"]).all() and (a["data_samples"].gt_img == b["data_samples"].gt_img).all()


def test_names_and_mistakes(folders):
    file = str(folders / "hr.safetensors")
    assert packed_names(file) == [f"{file}::b/two.png", f"{file}::one.png"]
    assert read_packed(f"{file}::one.png").shape == (16, 12, 3)
    with pytest.raises(DataError, match=r"the image three\.png cannot be read from .*hr\.safetensors"):
        read_packed(f"{file}::three.png")
    (folders / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"bad\.safetensors is no readable file of packed images"):
        dataset(folders, "bad.safetensors", "lr")
    with pytest.raises(DataError, match=r"missing\.safetensors is no readable file"):
        dataset(folders, "missing.safetensors", "lr")
    with pytest.raises(DataError, match=r"a file \*\.safetensors, got .*hr\.bin"):
        pack_images([], folders / "hr.bin")


def test_a_missing_partner_is_named(folders):
    pack_images([("onex2.png", np.zeros((8, 6, 3), np.uint8))], folders / "few.safetensors")
    with pytest.raises(DataError, match=r"1 of 2 images are missing in data_prefix\['img'\] .*b/twox2"):
        dataset(folders, "hr.safetensors", "few.safetensors")
