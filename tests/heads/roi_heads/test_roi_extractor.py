"""Features of regions: each region's own level, in the order given."""

import pytest
import torch
from torchvision.ops import roi_align

from foveal.heads.roi_heads.roi_extractor import SingleRoIExtractor, bbox2roi

STRIDES = (4, 8, 16, 32)


@pytest.fixture
def feats():
    return [torch.randn(2, 3, 256 // s, 256 // s, dtype=torch.float64, requires_grad=True) for s in STRIDES]


@pytest.fixture
def extractor():
    layer = {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 0}
    return SingleRoIExtractor(layer, out_channels=3, featmap_strides=STRIDES)


def regions(*sides):
    """One region of each side in pixels, by turns in both images."""
    return torch.tensor([[i % 2, 5.0 + i, 7.0, 5.0 + i + s, 7.0 + s] for i, s in enumerate(sides)]).double()


def test_each_region_is_read_from_its_level(extractor, feats):
    # sides of 56 * 2^l begin level l (FPN, equation 1 with mmdet's 56)
    rois = regions(240, 30, 120, 111, 230, 10, 60)
    levels = [2, 0, 1, 0, 2, 0, 0]
    assert extractor.map_roi_levels(rois).tolist() == levels
    out = extractor(feats, rois)
    for i, level in enumerate(levels):
        alone = roi_align(feats[level], rois[i : i + 1], 7, 1 / STRIDES[level], 0, aligned=True)
        torch.testing.assert_close(out[i : i + 1], alone)


@pytest.mark.parametrize("sides", [(), (30,), (240, 30)])
def test_every_level_gets_a_gradient(extractor, feats, sides):
    rois = regions(*sides) if sides else torch.zeros(0, 5, dtype=torch.float64)
    out = extractor(feats, rois)
    assert out.shape == (len(sides), 3, 7, 7)
    out.sum().backward()
    touched = [x.grad.abs().sum() > 0 for x in feats]
    assert touched == [any(s < 112 for s in sides), False, any(s >= 224 for s in sides), False]


def test_regions_that_are_none_have_features(extractor, feats):
    rois = regions(30, 240)
    rois[0, 3] = 0  # its right side is left of its left one
    rois = torch.cat([rois, torch.full((1, 5), float("nan"), dtype=torch.float64).index_fill(1, torch.tensor([0]), 1)])
    out = extractor(feats, rois)
    assert out.shape[0] == 3
    torch.testing.assert_close(out[1:2], extractor(feats, rois[1:2]))


def test_regions_of_several_images():
    rois = bbox2roi([torch.tensor([[1.0, 2, 3, 4]]), torch.zeros(0, 4), torch.tensor([[5.0, 6, 7, 8]])])
    assert rois.tolist() == [[0, 1, 2, 3, 4], [2, 5, 6, 7, 8]]
