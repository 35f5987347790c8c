"""A model and data small enough to train in a second, with every kind of randomness that a resume must restore."""

import os
import signal

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.structures import InstanceData, PixelData
from torch import nn

from foveal.data.base import Dataset
from foveal.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from foveal.structures import DataSample


@DATASETS.register_module()
class ToyDataset(Dataset):
    METAINFO = {"classes": ("a", "b")}

    def load_data_list(self):
        return [{"img_path": f"{i}.png", "value": float(i)} for i in range(14)]


@TRANSFORMS.register_module()
class ToyNoise:
    """Random numbers in the workers."""

    def __call__(self, results):
        value = torch.full((4,), results["value"] / 14) + torch.as_tensor(np.random.rand(4), dtype=torch.float32)
        return {"inputs": value, "data_samples": DataSample(metainfo={"img_path": results["img_path"]})}


@MODELS.register_module()
class ToyModel(BaseModel):
    def __init__(self, poison_at=None, poison_from=None):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.poison_at = poison_at
        self.poison_from = poison_from
        self.calls = 0

    def forward(self, inputs, data_samples=None, mode="tensor"):
        x = torch.stack(list(inputs))
        y = self.net(x)
        if mode == "predict":
            return [DataSample(metainfo={"score": float(v)}) for v in y[:, 0]]
        self.calls += 1
        loss = (y[:, 0] - x.sum(1)).square().mean()
        poisoned = self.calls == self.poison_at or (self.poison_from is not None and self.calls >= self.poison_from)
        return {"loss": loss * float("nan") if poisoned else loss}


@MODELS.register_module()
class ToyOracle(BaseModel):
    """Answers with the true boxes and masks, every other one moved."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, inputs, data_samples=None, mode="tensor"):
        for sample in data_samples:
            truth = sample.gt_instances
            boxes, masks = truth.bboxes.clone(), truth.masks.clone()
            boxes[::2] += 7
            masks[::2] = masks[::2].roll((7, 7), (1, 2))
            scores = torch.linspace(0.9, 0.3, len(boxes))
            sample.pred_instances = InstanceData(bboxes=boxes, masks=masks, labels=truth.labels, scores=scores)
        return data_samples


@MODELS.register_module()
class ToyPanopticOracle(ToyOracle):
    """And with the true panoptic map, but for its first rows, of which it says nothing."""

    def forward(self, inputs, data_samples=None, mode="tensor"):
        for sample in super().forward(inputs, data_samples, mode):
            truth = sample.gt_instances
            sample.pred_instances.masks, sample.pred_instances.bboxes = truth.masks, truth.bboxes
            classes = sample.gt_sem_seg.data.long().clone()
            for number, (label, mask) in enumerate(zip(truth.labels, truth.masks, strict=True), start=1):
                classes[:, mask] = label + 1000 * number
            classes[:, : classes.shape[1] // 4] = 255
            sample.pred_panoptic_seg = PixelData(sem_seg=classes)
        return data_samples


@METRICS.register_module()
class ToyMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(s["score"]) for s in data_samples]

    def compute_metrics(self, results):
        return {"score": sum(results), "count": len(results)}


@HOOKS.register_module()
class KillHook(Hook):
    """kill -9 this process after an iteration."""

    priority = "LOWEST"

    def __init__(self, at):
        self.at = at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
