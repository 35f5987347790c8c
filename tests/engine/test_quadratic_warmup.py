import pytest
import torch

from foveal.engine import QuadraticWarmupLR
from foveal.errors import ConfigError


def rates(scheduler, optimizer, steps):
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_rate_is_the_square_of_time():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler = QuadraticWarmupLR.build_iter_from_epoch(optimizer, begin=0, end=2, epoch_length=5)
    got = rates(scheduler, optimizer, 12)
    assert got[:10] == pytest.approx([0.4 * ((i + 1) / 10) ** 2 for i in range(10)])
    assert got[10:] == pytest.approx([0.4, 0.4])


def test_needs_an_end():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ConfigError, match="needs end"):
        QuadraticWarmupLR(optimizer)
