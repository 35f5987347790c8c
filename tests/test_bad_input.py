"""Wrong input to ``foveal train`` ends in one sentence that names file and key, with exit code 2."""

import json

import cv2
import numpy as np
import pytest

from foveal.cli import main

CONFIG = """
model = dict(
    type='FCOS',
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, base_channels=8, out_indices=(1, 2, 3)),
    neck=dict(type='FPN', out_channels=16, num_outs=3),
    bbox_head=dict(type='FCOSHead', num_classes=2, feat_channels=16, stacked_convs=1, strides=(8, 16, 32),
                   regress_ranges=((-1, 64), (64, 128), (128, 1e8)), norm_cfg=None),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=DATA,
        ann_file='ann.json',
        data_prefix=dict(img='images/'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=(64, 64)),
            dict(type='PackInputs'),
        ],
    ),
)
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
"""


@pytest.fixture
def project(tmp_path):
    """A config and four images with a box each."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, 5):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "height": 48, "width": 64})
        box = [8, 8, 30, 20]
        annotations.append(
            {"id": number, "image_id": number, "category_id": 1 + number % 2, "bbox": box, "area": 600, "iscrowd": 0}
        )
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "ann.json").write_text(json.dumps(content))
    (tmp_path / "config.py").write_text(CONFIG.replace("DATA", repr(str(tmp_path))))
    return tmp_path


def train(project, capsys, *options):
    """Run; return the exit code and what stood on the error output."""
    words = ["train", str(project / "config.py"), "--work-dir", str(project / "work")]
    code = 0
    try:
        main([*words, *(["--cfg-options", *options] if options else [])])
    except SystemExit as end:
        code = end.code
    return code, capsys.readouterr().err.strip()


def spoil_image(project):
    (project / "images" / "3.png").write_bytes(b"no image")


def spoil_annotations(project):
    (project / "ann.json").write_text('{"images": [}')


FAULTS = {
    "missing data root": (None, "train_dataloader.dataset.data_root=/nowhere", ["data_root", "/nowhere"]),
    "missing annotation file": (None, "train_dataloader.dataset.ann_file=gone.json", ["ann_file", "gone.json"]),
    "missing image folder": (None, "train_dataloader.dataset.data_prefix.img=gone", ["data_prefix", "gone"]),
    "annotations that are not JSON": (spoil_annotations, None, ["ann.json", "line 1"]),
    "an image that does not decode": (spoil_image, None, ["3.png"]),
    "the same in a worker": (spoil_image, "train_dataloader.num_workers=1", ["3.png"]),
    "unknown class": (
        None,
        "train_dataloader.dataset.metainfo={'classes':('cat','dogg')}",
        ["'dogg'", "cat, dog"],
    ),
    "a head with too few classes": (
        None,
        "model.bbox_head.num_classes=1",
        ["model.bbox_head.num_classes is 1", "2 classes: cat, dog; annotation ", ".png has label 1"],
    ),
    "a head with too many classes": (
        None,
        "model.bbox_head.num_classes=80",
        ["num_classes is 80", "2 classes: cat, dog"],
    ),
    "unknown argument": (None, "model.neck.out_chanels=3", ["model.neck.out_chanels", "out_channels"]),
    "huge learning rate": (None, "optim_wrapper.optimizer.lr=1e30", ["iteration 2", "loss", "images", ".png"]),
    "a checkpoint that does not fit": (
        None,
        "load_from=CHECKPOINT",
        ["missing", "unexpected", "backbone.conv1.weight"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_sentence(fault, project, capsys):
    import torch

    spoil, option, words = FAULTS[fault]
    if spoil is not None:
        spoil(project)
    torch.save({"state_dict": {"other.weight": torch.ones(1)}}, project / "other.pth")
    option = option.replace("CHECKPOINT", str(project / "other.pth")) if option else None
    code, errors = train(project, capsys, *([option] if option else []))
    assert code == 2, errors
    for word in words:
        assert word in errors
    assert "Traceback" not in errors
    if "load_from" not in (option or ""):
        assert len(errors.splitlines()) == 1, errors


def test_a_head_of_other_classes_is_left_out_on_request(project, capsys):
    import torch

    from foveal.config import load_config
    from foveal.registry import MODELS

    wide = load_config(str(project / "config.py")).model
    wide.bbox_head.num_classes = 5
    model = MODELS.build(wide)
    model.init_weights()
    torch.save({"state_dict": model.state_dict()}, project / "wide.pth")
    load = f"load_from={project / 'wide.pth'}"
    told = "wrong shape: bbox_head.conv_cls.weight is [5, 16, 3, 3] in the file, [2, 16, 3, 3] in the model"
    code, errors = train(project, capsys, load)
    assert code == 2 and told in errors and "load_partial=True" in errors
    code, errors = train(project, capsys, load, "load_partial=True")
    assert code == 0, errors
    log = "".join(path.read_text() for path in (project / "work").rglob("*.log"))
    assert told in log and "bbox_head.conv_cls.bias" in log and "wrong shape: backbone" not in log


def test_right_input_trains(project, capsys):
    assert train(project, capsys)[0] == 0
    assert (project / "work" / "epoch_1.pth").is_file()


def test_unreadable_images_are_skipped_on_request(project, capsys):
    spoil_image(project)
    code, errors = train(project, capsys, "train_dataloader.dataset.on_error=skip")
    assert code == 0, errors


def test_data_check_lists_everything(project, capsys):
    spoil_image(project)
    content = json.loads((project / "ann.json").read_text())
    content["annotations"][0]["bbox"] = [50, 8, 30, 20]
    content["annotations"][1]["category_id"] = 7
    content["images"].append({"id": 9, "file_name": "9.png", "height": 48, "width": 64})
    (project / "ann.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit) as end:
        main(["data", "check", str(project / "config.py")])
    printed = capsys.readouterr()
    assert end.value.code == 2 and "4 problems" in printed.err
    for word in ("3.png", "9.png", "box outside image", "unknown category"):
        assert word in printed.out


def test_data_browse_draws(project, capsys):
    out = project / "browse"
    main(["data", "browse", str(project / "config.py"), "--out", str(out), "--count", "3"])
    pictures = sorted(out.iterdir())
    assert len(pictures) == 3
    assert cv2.imread(str(pictures[0])).shape[:2] == (64, 64)  # after the resize
