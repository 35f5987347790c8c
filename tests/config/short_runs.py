"""Any config that trains, made a run of four iterations on noise of its task's kind."""

import torch
from torch.utils.data import Dataset

from foveal.engine.launch import train
from foveal.registry import DATASETS, MODELS
from foveal.structures import DataSample
from tests.config.test_configs import SIDE, images, read, samples

ITERATIONS, STOP = 4, 3


@DATASETS.register_module()
class NoiseOfConfig(Dataset):
    """Four samples of a config's task, other ones at every call: only the same random numbers give the same run.

    Args:
        path: The config.
    """

    metainfo: dict = {}

    def __init__(self, path):
        self.config = read(path)
        with torch.device("meta"):
            self.scale = getattr(MODELS.build(self.config.model), "scale", None)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        image = (255 * images(self.config)[0]).byte()
        if self.config.model.type != "Restorer":
            return {"inputs": image, "data_samples": samples(self.config)[index % 2]}
        if len(image) != 4:  # what fills holes wants large images
            image = image[..., :32, :32]
        height, width = (side * self.scale for side in image.shape[-2:])
        truth = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        return {"inputs": image, "data_samples": DataSample(gt_img=truth)}


def prepared(path, folder):
    config = read(path)
    by_epoch = config.train_cfg.get("by_epoch", "Epoch" in config.train_cfg.get("type", ""))
    config.train_cfg = {"by_epoch": True, "max_epochs": 2} if by_epoch else {"by_epoch": False, "max_iters": ITERATIONS}
    sampler = {"type": "DefaultSampler" if by_epoch else "InfiniteSampler", "shuffle": True}
    dataset = {"type": "NoiseOfConfig", "path": path}
    config.train_dataloader = {"batch_size": 2, "num_workers": 0, "sampler": sampler, "dataset": dataset}
    for phase in ("val", "test"):
        for part in ("dataloader", "evaluator", "cfg"):
            config.pop(f"{phase}_{part}", None)
    pixels = config.model.get("data_preprocessor") or {}
    pixels.pop("batch_augments", None)  # they make large images of these
    if pixels.get("size"):
        pixels["size"] = (SIDE, SIDE)
    if pixels.get("pad_size_divisor"):
        pixels["pad_size_divisor"] = min(pixels["pad_size_divisor"], SIDE)
    # in bfloat16, convolutions of a map of one pixel give a CPU other gradients in every run
    config.optim_wrapper = {k: v for k, v in config.optim_wrapper.items() if k not in ("dtype", "loss_scale")}
    config.optim_wrapper["type"] = "OptimWrapper"
    hooks = config.get("custom_hooks") or []  # patches are of a pipeline, which noise does without
    config.custom_hooks = [hook for hook in hooks if hook["type"] != "ProgressivePatchHook"]
    config.randomness = {"seed": 0, "deterministic": True}
    config.default_hooks = {
        **config.get("default_hooks", {}),
        "checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": STOP},  # and the last one
    }
    file = folder / "config.py"
    config.dump(file)
    return file


def run(file, name, **options):
    """Train in a folder beside the config; runs of one second need their own names."""
    resume = options.pop("resume", None)
    options["experiment_name"] = f"{file.parent.name}_{name}"
    return train(file, str(file.parent / name), resume, options=options)
