"""Patches that grow while training."""

from types import SimpleNamespace

import pytest
import torch

from foveal.errors import ConfigError
from foveal.registry import HOOKS
from foveal.structures import DataSample


def batch(count=4, size=8, scale=2):
    inputs, samples = [], []
    for _ in range(count):
        image = torch.randint(0, 256, (3, size, size), dtype=torch.uint8)
        inputs.append(image)
        samples.append(DataSample(gt_img=image.repeat_interleave(scale, 1).repeat_interleave(scale, 2)))
    return {"inputs": inputs, "data_samples": samples}


def test_stages():
    stages = {"patch_sizes": [3, 5, 8], "batch_sizes": [4, 2, 1], "iters": [10, 5, 100]}
    hook = HOOKS.build({"type": "ProgressivePatchHook", **stages})
    for iteration, size, count in ((0, 3, 4), (9, 3, 4), (10, 5, 2), (14, 5, 2), (15, 8, 1), (900, 8, 1)):
        data = batch()
        hook.before_train_iter(SimpleNamespace(iter=iteration), 0, data)
        assert len(data["inputs"]) == len(data["data_samples"]) == count
        for image, sample in zip(data["inputs"], data["data_samples"], strict=True):
            assert image.shape == (3, size, size) and sample.img_shape == (size, size)
            assert torch.equal(sample.gt_img, image.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_mistakes():
    with pytest.raises(ConfigError, match="of one length, got 2, 1 and 1"):
        HOOKS.build({"type": "ProgressivePatchHook", "patch_sizes": [1, 2], "batch_sizes": [1], "iters": [1]})
    hook = HOOKS.build({"type": "ProgressivePatchHook", "patch_sizes": [9], "batch_sizes": [4], "iters": [1]})
    with pytest.raises(ConfigError, match="the pipeline's patches are 8 x 8, due is 9"):
        hook.before_train_iter(SimpleNamespace(iter=0), 0, batch())
