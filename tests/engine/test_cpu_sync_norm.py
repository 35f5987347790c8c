"""Batches of different sizes on two processes are normalised as the one that they are together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from foveal.engine.cpu_sync_norm import CpuSyncBatchNorm, synchronise_on_cpus

SIZES = (3, 1)
CASES = {
    "images": ((5, 4, 6), {}),
    "a running mean over all batches": ((5, 4, 6), {"momentum": None}),
    "no weights": ((5, 7), {"affine": False}),
    "no statistics": ((5,), {"track_running_stats": False}),
}


def data(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(sum(SIZES), *shape, generator=torch.Generator().manual_seed(0)) * 3 + 7


def pass_through(norm: nn.Module, x: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two training steps' results: output, gradients, statistics."""
    for _ in range(2):
        norm.zero_grad()
        x = x.detach().requires_grad_()
        y = norm(x)
        (y * weight).sum().backward()
    found = {"output": y.detach(), "input": x.grad, **norm.state_dict()}
    return found | {f"gradient of {name}": p.grad for name, p in norm.named_parameters()}


def work(rank: int, meeting: str, out: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    found = {}
    for name, (shape, options) in CASES.items():
        net = nn.Sequential(nn.SyncBatchNorm(shape[0], **options))
        synchronise_on_cpus(net)
        x, weight = (t.split(SIZES)[rank] for t in (data(shape), data(shape).sin()))
        found[name] = pass_through(net[0], x, weight)
    torch.save(found, f"{out}/{rank}.pth")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, torch.Tensor]]]:
    folder = tmp_path_factory.mktemp("norms")
    multiprocessing.spawn(work, (str(folder / "meeting"), str(folder)), 2)
    return [torch.load(Path(folder) / f"{rank}.pth") for rank in (0, 1)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_normalise_as_one(case: str, both: list[dict[str, dict[str, torch.Tensor]]]) -> None:
    shape, options = CASES[case]
    kinds = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}
    wanted = pass_through(kinds[len(shape)](shape[0], **options), data(shape), data(shape).sin())
    one, two = (found[case] for found in both)
    assert wanted.keys() == one.keys() == two.keys()
    for key, value in wanted.items():
        if key in ("output", "input"):
            got = torch.cat((one[key], two[key]))
        elif key.startswith("gradient"):
            got = one[key] + two[key]
        else:  # statistics, the same on both
            assert torch.equal(one[key], two[key])
            got = one[key]
        torch.testing.assert_close(got, value, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


def test_a_frozen_and_shared_norm_stays_so() -> None:
    norm = nn.SyncBatchNorm(3).eval()
    norm.weight.requires_grad_(False)
    net = nn.Sequential(norm, norm)
    synchronise_on_cpus(net)
    assert net[0] is net[1] is norm and type(norm) is CpuSyncBatchNorm and not norm.weight.requires_grad
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(norm(x), x / (1 + norm.eps) ** 0.5)
