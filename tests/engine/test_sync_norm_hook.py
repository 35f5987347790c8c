"""Two processes agree on their batch normalisations; one has nothing to agree on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from foveal.engine.sync_norm_hook import SyncNormHook


def norm(mean: float) -> nn.Sequential:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    net[0].weight.data.fill_(mean)
    net[1].running_mean.fill_(mean)
    net[1].weight.data.fill_(10 * mean)
    return net


def work(rank: int, meeting: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    net = norm(float(rank + 1))
    SyncNormHook().before_val_epoch(SimpleNamespace(model=net))
    torch.save(net.state_dict(), f"{out}/{rank}.pth")
    dist.destroy_process_group()


def test_one_process_keeps_its_numbers() -> None:
    net = norm(3.0)
    SyncNormHook().before_val_epoch(SimpleNamespace(model=net))
    assert net[1].running_mean.tolist() == [3.0, 3.0]


@pytest.mark.slow
def test_two_processes_average(tmp_path: Path) -> None:
    multiprocessing.spawn(work, (str(tmp_path / "meeting"), str(tmp_path)), nprocs=2)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pth")
        assert found["1.running_mean"].tolist() == [1.5, 1.5]
        assert found["1.weight"].tolist() == [15.0, 15.0]
        assert found["0.weight"].flatten().tolist() == [rank + 1.0] * 2
