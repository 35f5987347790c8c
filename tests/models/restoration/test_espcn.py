"""ESPCN as a whole network: the layers and key names of leftthomas/ESPCN."""

import pytest
import torch
import torch.nn.functional as F

from foveal.errors import DataError
from foveal.zoo import create_restorer


@pytest.mark.parametrize(("scale", "count"), [(2, 21_284), (3, 22_729), (4, 24_752), (8, 38_624)])
def test_layers(scale, count, tmp_path):
    shapes = {"conv1": (64, 1, 5, 5), "conv2": (32, 64, 3, 3), "conv3": (scale**2, 32, 3, 3)}
    official = {f"{name}.weight": torch.randn(shape) * 0.05 for name, shape in shapes.items()}
    official |= {f"{name}.bias": torch.randn(shape[0]) * 0.05 for name, shape in shapes.items()}
    torch.save(official, tmp_path / "epoch_100.pt")
    model = create_restorer(f"espcn_x{scale}", tmp_path / "epoch_100.pt").eval()
    assert sum(p.numel() for p in model.parameters()) == count
    x = torch.rand(2, 1, 7, 10)
    y = torch.tanh(F.conv2d(x, official["conv1.weight"], official["conv1.bias"], padding=2))
    y = torch.tanh(F.conv2d(y, official["conv2.weight"], official["conv2.bias"], padding=1))
    y = F.conv2d(y, official["conv3.weight"], official["conv3.bias"], padding=1)
    torch.testing.assert_close(model(x), torch.sigmoid(F.pixel_shuffle(y, scale)))


def test_pixels_of_a_gray_image_come_in_as_they_are():
    model = create_restorer("espcn_x2").eval()
    image = torch.randint(0, 256, (1, 9, 6), dtype=torch.uint8)
    (sample,) = model.test_step({"inputs": [image], "data_samples": None})
    torch.testing.assert_close(sample.pred_img, model(image[None] / 255)[0])


def test_a_colour_image_is_named():
    with pytest.raises(DataError, match=r"^ESPCN takes images \[N, 1, H, W\], got shape \[1, 3, 8, 8\]$"):
        create_restorer("espcn_x3")(torch.rand(1, 3, 8, 8))
