"""What a user calls from Python: models by name or config, predictions, checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn

from foveal.config import load_config
from foveal.engine.checkpoint import load_checkpoint
from foveal.errors import ConfigError, DataError
from foveal.registry import MODELS, TRANSFORMS
from foveal.structures import DataSample
from foveal.zoo.create import create_classifier, list_backbones
from foveal.zoo.fetch import fetch_weight
from foveal.zoo.index import whole_model
from foveal.zoo.restorers import create_restorer, list_restorers
from foveal.zoo.whole import dataset_node, model_of_config

__all__ = ["init_model", "load_checkpoint", "predict"]

# of classifiers by name: RGB pixels from 0 to 255
IMAGENET = {
    "type": "DataPreprocessor",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "bgr_to_rgb": True,
}

# Steps of a test pipeline that read annotations, which an image to predict on has not.
_ANNOTATION_STEPS = ("LoadAnnotations", "LoadPanopticAnnotations", "FilterAnnotations")


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | Literal[True] | None = None,
    device: str | torch.device | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> nn.Module:
    """Build the model of a config, or a network by its name, in eval mode.

    Args:
        config: A config file, one loaded by `foveal.config.load_config`; the name of a whole model in the zoo, such
            as ``retinanet_r50_fpn_1x_coco``, or of ``foveal.list_restorers()``; or one of ``foveal.list_backbones()``,
            which gives the classification network and what it needs to predict: the short edge is resized to 256
            pixels, and 224 x 224 are cut out and normalised as for ImageNet.
        checkpoint: Path or URL; True: the zoo's, for a name; None: random weights.
        device: Default: CUDA where there is one, else the CPU.
        cfg_options: Changes of a config file or of the whole model's, by dotted path.

    Returns:
        The model; ``model.cfg`` is the config, ``model.dataset_meta`` what is known of its classes.

    Raises:
        ConfigError: The config is wrong, or there is none to change.
        CheckpointError: The checkpoint cannot be read or does not fit.
    """
    weight = whole_model(config) if isinstance(config, str) else None
    named = isinstance(config, str) and weight is None and is_name(config)
    if cfg_options and (named or isinstance(config, Config)):
        raise ConfigError("cfg_options change a config file: a network's name has none, change a loaded one yourself")
    if named:
        return _named(str(config), checkpoint).to(device or _device()).eval()
    if weight is not None:
        cfg = load_config(str(weight.config), {**weight.options, **(cfg_options or {})})
        checkpoint = fetch_weight(weight) if checkpoint is True else checkpoint
    else:
        cfg = config if isinstance(config, Config) else load_config(config, cfg_options)
    if checkpoint is True:
        raise ConfigError(f"the zoo has weights by the names of networks, not of the config {config}: give a file")
    return model_of_config(cfg, checkpoint).to(device or _device()).eval()


def is_name(config: str) -> bool:
    """Whether a word names a network or a whole model of the zoo, not a config file."""
    return config in list_restorers() or config in list_backbones() or whole_model(config) is not None


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _named(name: str, checkpoint: str | Path | Literal[True] | None) -> nn.Module:
    """A network by its name, with a pipeline to predict."""
    steps: list[dict[str, Any]] = [{"type": "LoadImageFromFile"}, {"type": "PackInputs"}]
    if name in list_restorers():
        model: Any = create_restorer(name, checkpoint)
        model.dataset_meta = {}
    else:
        model = create_classifier(name, checkpoint)
        steps[1:1] = [{"type": "ResizeEdge", "scale": 256, "edge": "short"}, {"type": "CenterCrop", "crop_size": 224}]
        model.data_preprocessor = MODELS.build(IMAGENET)
        model.dataset_meta = {"classes": imagenet_classes()}
    model.cfg = Config({"test_dataloader": {"dataset": {"pipeline": steps}}})
    return model


def imagenet_classes() -> list[str]:
    """Return the names of ImageNet-1K's classes in the usual order, as torchvision has them."""
    from torchvision.models import ResNet18_Weights

    return list(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def predict(
    model: nn.Module, images: str | Path | np.ndarray | Sequence[str | Path | np.ndarray], batch_size: int = 1
) -> list[DataSample]:
    """Run a model on images, through the test pipeline of its config.

    Args:
        model: From `init_model`.
        images: A path or an array [H, W, 3] uint8 in BGR order, as cv2 reads; or several.
        batch_size: Images a forward pass.

    Returns:
        A sample an image, with the predictions of the model's task (`foveal.structures.DataSample`).

    Raises:
        DataError: A file is missing or does not decode.
    """
    items: list[Any] = [images] if isinstance(images, (str, Path, np.ndarray)) else list(images)
    network: Any = model
    pipeline = _pipeline(network)
    results: list[DataSample] = []
    with torch.no_grad():
        for start in range(0, len(items), batch_size):
            batch = [_prepare(pipeline, item) for item in items[start : start + batch_size]]
            results += network.test_step(pseudo_collate(batch))
    return results


def _prepare(pipeline: list[Any], image: str | Path | np.ndarray) -> dict[str, Any]:
    results: dict[str, Any]
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise DataError(f"an image array is uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
        results = {"img": image, "img_path": None, "img_id": 0}
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
    else:
        if not Path(image).is_file():
            raise DataError(f"image {image} does not exist")
        results = {"img_path": str(image), "img_id": Path(image).stem}
    for step in pipeline:
        if not (isinstance(image, np.ndarray) and _loads_image(step)):
            results = step(results)
    return results


def _pipeline(model: Any) -> list[Any]:
    """The steps of the test pipeline that need no annotation, built once for a model."""
    if not hasattr(model, "_predict_pipeline"):
        nodes = dataset_node(model.cfg).get("pipeline")
        if not nodes:
            raise ConfigError("the config has no test_dataloader.dataset.pipeline, which prediction runs")
        steps = [TRANSFORMS.build(copy.deepcopy(n)) for n in nodes if n["type"] not in _ANNOTATION_STEPS]
        steps = [step for step in steps if not _reads_sharp_image(step)]
        if not any(map(_loads_image, steps)):
            # restoration on the fly: in tests the pipeline makes the image, out of the sharp one
            steps.insert(0, TRANSFORMS.build({"type": "LoadImageFromFile"}))
        model._predict_pipeline = steps
    return model._predict_pipeline


def _loads_image(step: Any) -> bool:
    return type(step).__name__.startswith("LoadImage")


def _reads_sharp_image(step: Any) -> bool:
    """Whether a step of a restoration pipeline reads ``gt_img``, which is what prediction is to find."""
    return "gt_img" in (getattr(step, "key", None), *getattr(step, "keys", ()))
