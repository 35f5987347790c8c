"""Every config: its words are known, its model computes and learns, and its optimiser has all of its parameters."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData

from foveal.config import load_config
from foveal.registry import MODELS
from foveal.structures import DataSample

ROOT = Path(__file__).resolve().parent.parent.parent
# tests/test_demo.py runs those of the demo
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "configs").rglob("*.py")
    if not {"_base_", "demo"} & set(path.relative_to(ROOT).parts)
)
SIDE = 64


def trains(path):
    """Some configs only score released weights. Read as text: every worker collects, and loading takes seconds."""
    text = path.read_text()
    bases = [path.parent / name for name in re.findall(r'"(\.[./\w-]+\.py)"', text)]
    return "optim_wrapper" in text or any(trains(base) for base in bases)


TRAINING = [path for path in CONFIGS if trains(ROOT / path)]
# larger forms of networks that are here in small, and the same heads on more backbones
LARGE = re.compile(
    r"/(rtmdet|yolox|mamba_yolo)_[bmlx]_|/medfe_256|/swinir_(real|classical|color|gray|jpeg)|/mambair_colordn"
    r"|/hornet-small|/mask-rcnn_(?!r50|shvit)|/cascade-mask-rcnn_|/faster-rcnn_|/mask2former_(?!r50)|/deformable-detr(-refine)?_|/dino-.*transnext"
)
# what these propose is data, of which the meta device has none; test_model_learns runs them
TWO_STAGE = re.compile("/(faster|mask|cascade-mask|sparse)-rcnn_|/recursivedet_")


def quick(paths):
    return [pytest.param(path, marks=[pytest.mark.slow] if LARGE.search(path) else []) for path in paths]


def first_of_folder(paths):
    """To train them all takes many minutes: fast only the first of each folder, the others share its parts."""
    folders = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        slow = folder in folders or LARGE.search(path)
        folders.add(folder)
        yield pytest.param(path, marks=[pytest.mark.slow] if slow else [])


def read(path):
    """The config without its weights, which are files or downloads."""
    config = load_config(str(ROOT / path))
    config.model.pop("pretrained", None)
    if config.model.get("as_two_stage"):
        config.model.num_queries = 60  # the first stage of these small images has 85 places
    for key in ("init_cfg", "pretrained"):
        config.model.get("backbone", {}).pop(key, None)
    return without_downloads(config)


def without_downloads(config):
    loss = config.model.get("pixel_loss") or {}
    for part in loss.get("losses", [loss]):
        if part.get("type") == "PerceptualLoss":
            part["weights"] = None
    return config


def images(config):
    """Two images as the model takes them: colour, gray, or with a mask; a network for holes wants large ones."""
    channels = len((config.model.get("data_preprocessor") or {}).get("mean") or "rgb")
    return torch.rand(2, channels, *((192, 192) if channels == 4 else (SIDE, SIDE)))


def tensors(value):
    return [value] if isinstance(value, torch.Tensor) else [x for inner in value for x in tensors(inner)]


def samples(config):
    """Truth for two images of any task."""
    boxes = InstanceData(bboxes=torch.tensor([[4.0, 6.0, 50.0, 60.0], [20, 10, 44, 30]]), labels=torch.tensor([3, 0]))
    boxes.masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(boxes.masks, boxes.bboxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    classes = (config.model.get("decode_head") or {}).get("num_classes", 133)  # of COCO panoptic
    truth = {"gt_instances": boxes, "gt_sem_seg": PixelData(data=torch.randint(0, classes, (1, SIDE, SIDE)))}
    truth["gt_depth_map"] = PixelData(data=1 + torch.rand(1, SIDE, SIDE))
    shapes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), (SIDE, SIDE))
    return [
        DataSample(**truth, metainfo={**shapes, "scale_factor": (1.0, 1.0), "img_id": i, "focal": 700.0})
        for i in range(2)
    ]


@pytest.mark.parametrize("path", quick(path for path in CONFIGS if not TWO_STAGE.search(path)))
def test_model_computes(path):
    config = read(path)
    with torch.device("meta"):
        model = MODELS.build(config.model).eval()
        outputs = model(images(config)[:1], mode="tensor")
    assert {x.device.type for x in tensors(outputs)} == {"meta"}


@pytest.mark.parametrize("path", quick(TRAINING))
def test_optimiser_has_every_parameter_once(path):
    config = read(path)
    with torch.device("meta"):
        model = MODELS.build(config.model)
    config.optim_wrapper.type = "OptimWrapper"  # mixed precision wants to see the device
    with DefaultScope.overwrite_default_scope("foveal"):
        groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    trained = [id(p) for group in groups for p in group["params"] if p.requires_grad]
    assert sorted(trained) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert max(group["lr"] for group in groups) <= 10 * config.optim_wrapper.optimizer.lr


@pytest.mark.parametrize("path", list(first_of_folder(TRAINING)))
def test_model_learns(path):
    config = read(path)
    model = revert_sync_batchnorm(MODELS.build(config.model)).train()  # as the runner does on one device
    batch, truth = images(config), samples(config)
    if config.model.type == "Restorer":
        batch = batch[..., :32, :32]
        height, width = (side * model.scale for side in batch.shape[-2:])
        truth = [DataSample(gt_img=torch.randint(0, 256, (3, height, width), dtype=torch.uint8)) for _ in batch]
    loss, parts = model.parse_losses(model(batch, truth, mode="loss"))
    assert loss.isfinite(), parts
    loss.backward()
    # DistributedDataParallel, which these configs are for, stops where a parameter takes no part
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused
