import copy
import pickle

import numpy as np
import pytest
import torch

from foveal.errors import ConfigError
from foveal.heads.anchors import AnchorGenerator, MlvlPointGenerator, SSDAnchorGenerator
from foveal.heads.anchors.cache import CAPACITY


def test_one_square_anchor_a_point():
    generator = AnchorGenerator([16], [1.0], [1.0], [9])
    (anchors,) = generator.grid_priors([(2, 2)])
    expected = [[-4.5, -4.5, 4.5, 4.5], [11.5, -4.5, 20.5, 4.5], [-4.5, 11.5, 4.5, 20.5], [11.5, 11.5, 20.5, 20.5]]
    assert anchors.dtype == torch.float32 and anchors.tolist() == expected


def test_ratio_is_height_over_width_and_scales_come_first():
    generator = AnchorGenerator([8], [0.25, 4.0], [1, 2])
    sizes = generator.base_anchors[0][:, 2:] - generator.base_anchors[0][:, :2]
    assert sizes.tolist() == [[16, 4], [32, 8], [4, 16], [8, 32]]
    minor = AnchorGenerator([8], [0.25, 4.0], [1, 2], scale_major=False)
    sizes = minor.base_anchors[0][:, 2:] - minor.base_anchors[0][:, :2]
    assert sizes.tolist() == [[16, 4], [4, 16], [32, 8], [8, 32]]


def test_octave_scales_and_strides_per_axis():
    generator = AnchorGenerator([(4, 8), 16], [1.0], octave_base_scale=4, scales_per_octave=2)
    assert generator.num_base_priors == [2, 2]
    side = generator.base_anchors[0][:, 2] * 2
    torch.testing.assert_close(side, torch.tensor([16.0, 16 * 2**0.5], dtype=torch.float64))
    anchors = generator.grid_priors([(2, 2), (1, 1)], torch.float64)[0].view(2, 2, 2, 4)
    assert (anchors[0, 1] - anchors[0, 0]).numpy() == pytest.approx(np.array([[4, 0, 4, 0]] * 2))
    assert (anchors[1, 0] - anchors[0, 0]).numpy() == pytest.approx(np.array([[0, 8, 0, 8]] * 2))


@pytest.mark.parametrize("place", [{"centers": [(4.0, 4.0)]}, {"center_offset": 0.5}])
def test_centres_can_be_shifted(place):
    assert AnchorGenerator([8], [1.0], [1.0], **place).base_anchors[0].tolist() == [[0, 0, 8, 8]]


def test_valid_flags():
    generator = AnchorGenerator([8, 16], [1.0], [1.0, 2.0])
    assert generator.valid_flags([(4, 4), (2, 2)], (32, 32)) is None
    fine, coarse = generator.valid_flags([(4, 4), (2, 2)], (17, 8))
    assert fine.view(4, 4, 2).all(-1).tolist() == [[True, False, False, False]] * 3 + [[False] * 4]
    assert coarse.view(2, 2, 2).all(-1).tolist() == [[True, False]] * 2


def test_points_lie_in_the_middle_of_their_cells():
    generator = MlvlPointGenerator([8, (4, 2)])
    first, second = generator.grid_priors([(1, 2), (2, 1)], with_stride=True)
    assert first.tolist() == [[4, 4, 8, 8], [12, 4, 8, 8]]
    assert second.tolist() == [[2, 1, 4, 2], [2, 3, 4, 2]]
    assert generator.grid_priors([(1, 2), (2, 1)])[0].tolist() == [[4, 4], [12, 4]]


@pytest.mark.parametrize("generator", [AnchorGenerator([8], [1.0], [1.0]), MlvlPointGenerator([8])])
class TestCache:
    def test_is_used_and_bounded(self, generator):
        assert generator.grid_priors([(3, 3)])[0] is generator.grid_priors([(3, 3)])[0]
        assert generator.grid_priors([(3, 3)], torch.float64)[0].dtype == torch.float64
        for width in range(1, 2 * CAPACITY):
            generator.grid_priors([(1, width)])
        assert len(generator._cache._values) == CAPACITY

    def test_made_in_inference_mode_serves_training(self, generator):
        with torch.inference_mode():
            (priors,) = generator.grid_priors([(5, 7)])
        weight = torch.ones(priors.shape, requires_grad=True)
        (priors * weight).sum().backward()
        torch.testing.assert_close(weight.grad, priors)

    def test_travels_with_its_owner(self, generator):
        (priors,) = generator.grid_priors([(2, 5)])
        for other in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
            assert torch.equal(other.grid_priors([(2, 5)])[0], priors)

    def test_other_number_of_levels_is_refused(self, generator):
        with pytest.raises(ConfigError, match="1 strides, but got 2 feature maps"):
            generator.grid_priors([(2, 2), (1, 1)])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scales": [1.0], "octave_base_scale": 4, "scales_per_octave": 3},
        {"scales": [1.0], "centers": [(0, 0)], "center_offset": 0.5},
        {"scales": [1.0], "base_sizes": [1, 2]},
    ],
)
def test_contradictions_are_refused(options):
    with pytest.raises(ConfigError, match="AnchorGenerator"):
        AnchorGenerator([8], [1.0], **options)


def test_ssd_anchors_of_a_level():
    generator = SSDAnchorGenerator([8, 16], [[2], [2, 3]], [20, 40], [45, 90], scale_major=False)
    assert generator.num_base_priors == [4, 6]
    first = generator.base_anchors[0]
    sizes = first[:, 2:] - first[:, :2]
    root = 2**0.5
    expected = torch.tensor([[20, 20], [30, 30], [20 * root, 20 / root], [20 / root, 20 * root]], dtype=torch.float64)
    torch.testing.assert_close(sizes, expected)
    torch.testing.assert_close((first[:, 2:] + first[:, :2]) / 2, torch.full((4, 2), 4.0, dtype=torch.float64))


@pytest.mark.parametrize(
    ("size", "low", "smallest"),
    [(300, 0.15, (21, 45)), (300, 0.2, (30, 60)), (512, 0.1, (20, 51)), (512, 0.15, (35, 76))],
)
def test_ssd_sizes_of_the_paper(size, low, smallest):
    strides = [8, 16, 32, 64, 100, 300] if size == 300 else [8, 16, 32, 64, 128, 256, 512]
    generator = SSDAnchorGenerator(strides, [[2]] * len(strides), None, None, (low, 0.9), size, False)
    square, larger = (generator.base_anchors[0][i] for i in (0, 1))
    side = (square[2] - square[0]).item()
    assert side == smallest[0]
    assert (larger[2] - larger[0]).item() == pytest.approx((smallest[0] * smallest[1]) ** 0.5)


def test_ssd_generator_names_mistakes():
    with pytest.raises(ConfigError, match="or neither"):
        SSDAnchorGenerator([8], [[2]], [20])
    with pytest.raises(ConfigError, match="2 ratios"):
        SSDAnchorGenerator([8], [[2], [2]], [20], [40])
    with pytest.raises(ConfigError, match="input_size 400"):
        SSDAnchorGenerator([8] * 6, [[2]] * 6, input_size=400)
