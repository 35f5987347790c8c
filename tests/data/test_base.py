import logging
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from foveal.data.base import Dataset, select_classes
from foveal.data.palette import make_palette
from foveal.data.samplers import SampleIndex
from foveal.data.seeding import seeded
from foveal.errors import ConfigError, DataError
from foveal.registry import DATASETS


class Numbers(Dataset):
    def load_data_list(self):
        return [{"img_path": f"{i}.jpg"} for i in range(8)]


class Draw:
    """Draws from every generator that transforms may use."""

    def __call__(self, results):
        return results["sample_idx"], random.random(), float(np.random.rand()), float(torch.rand(()))


class Fail:
    """Cannot read some samples; counts nothing itself."""

    def __init__(self, *broken):
        self.broken = broken

    def __call__(self, results):
        if results["sample_idx"] in self.broken:
            raise DataError(f"{results['img_path']} does not decode")
        return results["sample_idx"]


class Collect(logging.Handler):
    def __init__(self, lines):
        super().__init__()
        self.lines = lines

    def emit(self, record):
        self.lines.append(record.getMessage())


def keep_first(batch):
    return batch[0]


class Indices:
    def __iter__(self):
        return iter([SampleIndex(i % 8, 1000 + i) for i in range(12)])

    def __len__(self):
        return 12


def test_seeded_draws_the_same_and_restores():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    drawn = []
    for _ in range(2):
        with seeded(4_000_000_000):
            drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert drawn[0] == drawn[1]
    with pytest.raises(KeyError), seeded(3):
        random.random()
        raise KeyError
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected


def test_a_sample_depends_on_its_seed_alone():
    dataset = Numbers(pipeline=[Draw()])
    first = dataset[SampleIndex(2, 5)]
    np.random.rand(3)
    assert dataset[SampleIndex(2, 5)] == first
    assert dataset[SampleIndex(2, 6)][1:] != first[1:]
    assert dataset[SampleIndex(3, 5)][1:] == first[1:]
    assert dataset[2] != dataset[2]


def test_workers_do_not_change_samples():
    dataset = Numbers(pipeline=[Draw()])
    results = [
        list(DataLoader(dataset, sampler=Indices(), num_workers=n, collate_fn=keep_first, batch_size=1)) for n in (0, 2)
    ]
    assert results[0] == results[1]


def test_dataset_pickles_with_its_records():
    dataset = Numbers(pipeline=[Draw()], on_error="skip")
    again = pickle.loads(pickle.dumps(dataset))
    assert len(again) == 8
    assert again[SampleIndex(1, 9)] == dataset[SampleIndex(1, 9)]


@pytest.mark.parametrize("serialize", [True, False])
def test_indices_and_length(serialize):
    assert [r["img_path"] for r in Numbers(indices=[5, 1], serialize_data=serialize)] == ["5.jpg", "1.jpg"]
    assert len(Numbers(indices=3, serialize_data=serialize)) == 3
    with pytest.raises(ConfigError, match="indices reach beyond the 8 samples"):
        Numbers(indices=[8], serialize_data=serialize)


def test_unreadable_sample_raises_by_default_and_in_test_mode():
    with pytest.raises(DataError, match=r"3\.jpg does not decode"):
        Numbers(pipeline=[Fail(3)])[3]
    with pytest.raises(DataError, match=r"3\.jpg does not decode"):
        Numbers(pipeline=[Fail(3)], on_error="skip", test_mode=True)[3]


def test_skip_takes_the_next_and_warns_once():
    dataset = Numbers(pipeline=[Fail(3, 4, 7)], on_error="skip")
    logged = []
    handler = Collect(logged)
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        assert [dataset[i] for i in (3, 3, 4, 7, 2)] == [5, 5, 5, 0, 2]
    finally:
        logger.removeHandler(handler)
    assert dataset.unreadable_count == 3
    warnings = [line for line in logged if "does not decode" in line]
    assert len(warnings) == 3 and "3.jpg" in warnings[0] and "(1 of 8 unreadable)" in warnings[0]


def test_an_image_that_does_not_decode(coco):
    root, _, _ = coco
    (root / "images/0002.png").write_bytes(b"not an image")
    (root / "images/0003.png").unlink()
    config = {
        "type": "CocoDataset",
        "data_root": str(root),
        "ann_file": "ann.json",
        "data_prefix": {"img": "images"},
        "pipeline": [{"type": "LoadImageFromFile"}],
    }
    with pytest.raises(DataError, match=r"0002\.png does not decode"):
        DATASETS.build(config)[1]
    with pytest.raises(DataError, match=r"0003\.png does not exist"):
        DATASETS.build(config)[2]
    dataset = DATASETS.build({**config, "on_error": "skip"})
    assert dataset[1]["img_id"] == 4 and dataset[1]["img"].shape == (33, 70, 3)
    assert dataset.unreadable_count == 2


def test_skip_counts_over_worker_processes():
    dataset = Numbers(pipeline=[Fail(0, 5)], on_error="skip")
    list(DataLoader(dataset, num_workers=2, collate_fn=keep_first, batch_size=1))
    assert dataset.unreadable_count == 2


def test_all_unreadable_ends():
    with pytest.raises(DataError, match="no usable sample in 11 tries"):
        Numbers(pipeline=[Fail(*range(8))], on_error="skip", max_refetch=10)[0]


def test_none_from_the_pipeline_is_redrawn_but_not_in_test_mode():
    def fussy(results):
        return results["sample_idx"] if results["sample_idx"] % 2 else None

    picked = Numbers(pipeline=[fussy])[SampleIndex(2, 7)]
    assert picked % 2 == 1 and picked == Numbers(pipeline=[fussy])[SampleIndex(2, 7)]
    with pytest.raises(DataError, match="returned nothing for sample 2"):
        Numbers(pipeline=[fussy], test_mode=True)[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_error": "ignore"}, "on_error must be one of 'raise', 'skip', got 'ignore'"),
        ({"metainfo": {"classes": ("cat")}}, "neither a file nor a list of names"),
        ({"pipeline": [{"type": "NoSuchTransform"}]}, "no 'NoSuchTransform' in the transform registry"),
        ({"pipeline": [{"type": "RandomChoice", "transform": []}]}, "did you mean 'transforms'"),
    ],
)
def test_wrong_arguments_are_explained(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Numbers(**arguments)


def test_missing_paths_name_the_key(tmp_path):
    gone = str(tmp_path / "gone")
    Numbers(data_root=gone, lazy_init=True)
    with pytest.raises(DataError, match=f"data_root '{gone}' is not a folder"):
        Numbers(data_root=gone)
    with pytest.raises(DataError, match=r"ann_file '.*gone.json' does not exist"):
        Numbers(data_root=str(tmp_path), ann_file="gone.json")
    with pytest.raises(DataError, match=r"data_prefix\['img'\] '.*gone' is not a folder"):
        Numbers(data_root=str(tmp_path), data_prefix={"img": "gone"})


def test_select_classes():
    found = ["cat", "dog", "owl"]
    assert select_classes(None, found, "x") == ("cat", "dog", "owl")
    assert select_classes(["owl", "cat"], found, "x") == ("owl", "cat")
    with pytest.raises(ConfigError) as error:
        select_classes(["owl", "dgo"], found, "ann.json")
    assert "'dgo' (nearest: 'dog'), absent from ann.json" in str(error.value)
    assert "classes of the config: owl, dgo; classes of the data: cat, dog, owl" in str(error.value)
    with pytest.raises(ConfigError, match="names 'cat' twice"):
        select_classes(["cat", "cat"], found, "x")
    with pytest.raises(ConfigError, match="ann names 'cat' twice"):
        select_classes(["cat"], ["cat", "cat"], "ann")


def test_classes_from_a_file_and_palette_length(tmp_path):
    (tmp_path / "names.txt").write_text("owl\ncat\n")
    dataset = Numbers(metainfo={"classes": str(tmp_path / "names.txt")})
    assert dataset.set_classes(["cat", "owl"]) == ("owl", "cat") == dataset.metainfo["classes"]
    dataset = Numbers(metainfo={"palette": [[1, 2, 3]]})
    with pytest.raises(ConfigError, match="1 colours for 2 classes"):
        dataset.set_classes(["cat", "owl"])


def test_palette_has_distinct_colours():
    colours = make_palette(150)
    assert len({tuple(c) for c in colours}) == 150
    assert all(0 <= channel <= 255 for colour in colours for channel in colour)
    assert make_palette(3) == colours[:3]


def test_the_first_folder_that_exists_is_the_root(tmp_path):
    (tmp_path / "b").mkdir()
    places = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert Dataset._first_folder(places) == places[1]
    with pytest.raises(DataError, match=r"none of data_root '.*a', '.*c' is a folder"):
        Dataset(data_root=[places[0], str(tmp_path / "c")], lazy_init=True)
