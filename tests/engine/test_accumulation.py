"""Iterations whose gradients make one step learn what one iteration of all their samples does."""

import torch

from tests.config.short_runs import prepared, run


def test_two_small_batches_are_a_large_one(tmp_path):
    file = prepared("configs/espcn/espcn_x2_coco128.py", tmp_path)
    # Adam would make steps of rounding errors, where a gradient is next to nothing
    options = {"optim_wrapper.optimizer": {"_delete_": True, "type": "SGD", "lr": 1.0}, "param_scheduler": []}
    sides = {
        "large": {"train_dataloader.batch_size": 4, "train_cfg.max_iters": 2},
        "small": {"optim_wrapper.accumulative_counts": 2},
        "other": {"train_cfg.max_iters": 2},
    }
    weights = {name: run(file, name, **options, **more).model.state_dict() for name, more in sides.items()}
    moved = {name: weights["large"][name] - weights["other"][name] for name in weights["large"]}
    assert all(difference.abs().max() > 1e-5 for difference in moved.values())
    for name, value in weights["large"].items():
        torch.testing.assert_close(weights["small"][name], value, rtol=1e-5, atol=1e-7, msg=name)
