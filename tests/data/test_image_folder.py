import json

import pytest

from foveal.data.image_folder import ImageFolder, read_class_index
from foveal.errors import ConfigError, DataError


def labels(dataset):
    return {record["img_path"].split("/")[-2]: record["gt_label"] for record in dataset}


def test_folders_are_classes(class_folders):
    (class_folders / "cat/notes.txt").write_text("no image")
    dataset = ImageFolder(data_root=str(class_folders))
    assert len(dataset) == 6
    assert dataset.metainfo["classes"] == ("cat", "dog", "owl")
    assert labels(dataset) == {"cat": 0, "dog": 1, "owl": 2}
    assert type(dataset[0]["gt_label"]) is int


def test_subset_and_order(class_folders):
    dataset = ImageFolder(data_root=str(class_folders), metainfo={"classes": ["owl", "cat"]})
    assert labels(dataset) == {"owl": 0, "cat": 1}
    with pytest.raises(ConfigError, match=r"'owls' \(nearest: 'owl'\)"):
        ImageFolder(data_root=str(class_folders), metainfo={"classes": ["owls"]})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "ant\nowl strix  aluco\ncat\ndog\n"),
        ("classes.json", '["ant", "owl", "cat", "dog"]'),
        ("index.json", '{"1": ["owl", "strix  aluco"], "0": ["ant", "ant"], "2": ["cat", "cat"], "3": ["dog", "dog"]}'),
        (
            "listed.json",
            json.dumps({"classes": [{"wnid": w, "name": w} for w in ("ant", "owl", "cat", "dog")]}),
        ),
    ],
)
def test_classes_file_gives_the_labels(class_folders, name, text):
    (class_folders / name).write_text(text)
    dataset = ImageFolder(data_root=str(class_folders), classes_file=name)
    assert labels(dataset) == {"owl": 1, "cat": 2, "dog": 3}
    assert len(dataset.metainfo["classes"]) == 4


def test_equal_names_stay_two_classes(class_folders):
    """ImageNet has two cranes and two maillots."""
    (class_folders / "c.txt").write_text("owl crane\ncat x\ndog crane\n")
    dataset = ImageFolder(data_root=str(class_folders), classes_file="c.txt")
    assert labels(dataset) == {"owl": 0, "cat": 1, "dog": 2}
    assert dataset.metainfo["classes"] == ("crane", "x", "crane")


def test_wrong_classes_files(class_folders):
    (class_folders / "c.txt").write_text("owl\ncat\n")
    with pytest.raises(DataError, match=r"dog not in .*c\.txt"):
        ImageFolder(data_root=str(class_folders), classes_file="c.txt")
    with pytest.raises(DataError, match=r"classes_file '.*gone' does not exist"):
        ImageFolder(data_root=str(class_folders), classes_file="gone")
    (class_folders / "c.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"c\.json is no list of classes"):
        read_class_index(str(class_folders / "c.json"))
    (class_folders / "c.txt").write_text("owl\nowl\n")
    with pytest.raises(DataError, match="owl comes twice"):
        read_class_index(str(class_folders / "c.txt"))


def test_no_folders(tmp_path):
    with pytest.raises(DataError, match="has no folders"):
        ImageFolder(data_root=str(tmp_path))


def test_list_of_files(class_folders):
    (class_folders / "val.txt").write_text("owl/0.png 2\ncat/1.png 0\n")
    arguments = {"data_root": str(class_folders), "ann_file": "val.txt"}
    dataset = ImageFolder(**arguments, metainfo={"classes": ["a", "b", "c"]})
    assert [r["gt_label"] for r in dataset] == [2, 0]
    assert dataset[0]["img_path"] == str(class_folders / "owl/0.png")
    with pytest.raises(ConfigError, match="give classes_file or metainfo"):
        ImageFolder(**arguments)
    with pytest.raises(DataError, match=r"entry 1 is no path and label below 2: 'owl/0.png 2'"):
        ImageFolder(**arguments, metainfo={"classes": ["a", "b"]})


@pytest.mark.parametrize("name", ["classes.json", "imagenet_class_index.json"])
def test_real_imagenet(shared, name):
    root = shared / "data/imagenet_sample"
    dataset = ImageFolder(data_root=str(root), classes_file=name, data_prefix={"img_path": "val"})
    assert len(dataset) == 200 and len(dataset.metainfo["classes"]) == 1000
    assert sorted(record["gt_label"] for record in dataset) == list(range(0, 1000, 5))
    assert labels(dataset)["n01440764"] == 0 and labels(dataset)["n01558993"] == 15
