"""RoIAlign: the sparse matrix of the CPU computes what torchvision's loops do, with the same gradients."""

import warnings

import pytest
import torch
from torchvision.ops import roi_align

from foveal.errors import ConfigError
from foveal.heads.roi_heads import RoIAlign
from foveal.heads.roi_heads import roi_align as module

WITHIN = [[0, 3.2, 5.1, 30.7, 22.9], [1, 0, 0, 96, 64], [0, 50, 40, 50.5, 40.2], [1, 10, 8, 80, 20]]
OUTSIDE = [[1, -30, -20, 20, 160], [0, 90, 60, 140, 100], [0, 200, 200, 260, 260], [1, -9.1, 5, -3, 30]]
ODD = [[0, 20, 20, 20, 20], [1, 30, 30, 10, 12]]  # no area; sides in the wrong order


@pytest.fixture
def maps():
    return torch.randn(2, 5, 16, 24, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def no_loops(monkeypatch):
    """Fail where torchvision would be asked."""
    monkeypatch.setattr(module, "roi_align", None)


def both(x, rois, size=7, scale=0.25, ratio=0, aligned=True):
    """Our features and torchvision's, and the gradients of both with the same weights."""
    ours = RoIAlign(size, scale, ratio, aligned=aligned)(x, rois)
    theirs = roi_align(x, rois, size, scale, ratio, aligned)
    weights = torch.randn_like(theirs)
    return (ours, *torch.autograd.grad((ours * weights).sum(), x)), (
        theirs,
        *torch.autograd.grad((theirs * weights).sum(), x),
    )


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 3])
@pytest.mark.parametrize("size", [7, 1, (3, 5)])
@pytest.mark.parametrize("rois", [WITHIN, OUTSIDE, WITHIN + OUTSIDE], ids=["within", "outside", "both"])
def test_equals_torchvision(maps, rois, size, ratio, aligned, no_loops):
    ours, theirs = both(maps, torch.tensor(rois).double(), size, ratio=ratio, aligned=aligned)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


def test_a_bin_without_area(maps, no_loops):
    # with a ratio given, torchvision reads them too; with none it divides by no points
    ours, theirs = both(maps, torch.tensor(ODD).double(), ratio=2)
    torch.testing.assert_close(ours, theirs)


def test_no_regions(maps, no_loops):
    out = RoIAlign(7, 0.25)(maps, torch.zeros(0, 5, dtype=torch.float64))
    assert out.shape == (0, 5, 7, 7)
    (grad,) = torch.autograd.grad(out.sum(), maps)
    assert not grad.any()


def test_regions_that_are_none_are_finite_elsewhere(maps):
    rois = torch.tensor(WITHIN).double()
    alone = RoIAlign(7, 0.25)(maps, rois[1:])
    rois[0, 1:] = float("nan")
    torch.testing.assert_close(RoIAlign(7, 0.25)(maps, rois)[1:], alone)


def test_a_map_of_one_pixel(no_loops):
    x = torch.randn(1, 2, 1, 1, dtype=torch.float64, requires_grad=True)
    ours, theirs = both(x, torch.tensor([[0, 0.0, 0, 3, 3], [0, 1, 1, 9, 9]]).double())
    torch.testing.assert_close(ours, theirs)


def test_what_takes_too_much_memory_is_left_to_loops(maps, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "roi_align", lambda *args: asked.append(args))
    RoIAlign(7, 0.25)(maps, torch.tensor([[0, -1e5, -1e5, 1e5, 1e5]]).double())
    assert len(asked) == 1
    # two regions of 49 bins, of which some read 3 x 3 pixels
    monkeypatch.setattr(module, "MOST_FACTORS", 2 * 49 * 9)
    rois = torch.tensor([[0, 0, 0, 56, 56], [1, 4, 4, 8, 8]]).double()
    RoIAlign(7, 0.25)(maps, rois)
    assert len(asked) == 1
    monkeypatch.setattr(module, "MOST_FACTORS", 2 * 49 * 9 - 1)
    RoIAlign(7, 0.25)(maps, rois)
    assert len(asked) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types(maps, dtype):
    x, rois = maps.detach().to(dtype).requires_grad_(), torch.tensor(WITHIN)
    with torch.autocast("cpu", torch.bfloat16):
        out = RoIAlign(7, 0.25)(x, rois.to(dtype))
    out.sum().backward()
    assert out.dtype == dtype
    assert x.grad.isfinite().all()
    torch.testing.assert_close(out.double(), RoIAlign(7, 0.25)(maps, rois.to(dtype).double()), rtol=0.05, atol=0.05)


def test_graphs_hold_the_standard_operator(maps):
    layer, rois = RoIAlign(7, 0.25), torch.tensor(WITHIN).double()
    traced = torch.jit.trace(layer, (maps.detach(), rois))
    assert "torchvision::roi_align" in str(traced.graph)
    exported = torch.export.export(layer, (maps.detach(), rois))
    assert "roi_align" in str(exported.graph)


def test_nobody_is_warned(maps):
    module._hear_warning.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RoIAlign(7, 0.25)(maps, torch.tensor(WITHIN).double()).sum().backward()


def test_only_the_mean():
    with pytest.raises(ConfigError, match="pool_mode must be 'avg', got 'max'"):
        RoIAlign(7, pool_mode="max")
