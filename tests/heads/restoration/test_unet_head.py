"""Any backbone as the encoder of a U-Net: sizes, gradients, learning, mistakes."""

import pytest
import torch

from foveal.errors import ConfigError
from foveal.registry import MODELS
from foveal.structures import DataSample
from foveal.zoo import create_backbone

FAMILIES = {
    "convolution": {"type": "ConvNeXt", "arch": {"depths": (1, 1, 1, 1), "dims": (8, 12, 16, 20)}},
    "windows": {
        "type": "SwinTransformer", "embed_dims": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 4,
    },
    "full resolution": {"type": "ESPCN"},
    "residual": {"type": "ResNet", "depth": 18, "base_channels": 8},
}  # fmt: skip


def restorer(family, neck=None, residual=True, **head):
    head = {"type": "UNetHead", "channels": 8, **head}
    node = {"backbone": dict(FAMILIES[family]), "neck": neck, "head": head, "upsample_residual": residual}
    return MODELS.build({"type": "Restorer", **node})


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("scale", "size"), [(1, (50, 37)), (2, (32, 64))])
def test_sizes_and_gradients(family, scale, size):
    model = restorer(family, scale=scale).eval()
    image = model(torch.rand(2, 3, *size))
    assert image.shape == (2, 3, size[0] * scale, size[1] * scale)
    image.square().mean().backward()
    assert all(p.grad is not None for p in model.head.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.backbone.parameters())


def test_behind_a_neck_and_of_some_maps():
    model = restorer("convolution", neck={"type": "FPN", "out_channels": 8, "num_outs": 4})
    assert model(torch.rand(1, 3, 40, 40)).shape == (1, 3, 40, 40)
    model = restorer("convolution", in_index=(0, 2))
    assert [layer.in_channels for layer in model.head.laterals] == [8, 16] and model.head.multiple == 16
    assert model(torch.rand(1, 3, 40, 40)).shape == (1, 3, 40, 40)


def test_a_named_backbone_can_be_handed_in():
    backbone = create_backbone("mobilenet_v2")
    head = {"type": "UNetHead", "channels": 8}
    model = MODELS.build({"type": "Restorer", "backbone": backbone, "head": head}).eval()
    assert model(torch.rand(1, 3, 33, 40)).shape == (1, 3, 33, 40)


def test_learns():
    torch.manual_seed(0)
    model = restorer("convolution").train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    x = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), size=32, mode="bilinear")
    samples = [DataSample(gt_img=((1 - image) * 255).round().to(torch.uint8)) for image in x]
    losses = []
    for _ in range(40):
        loss = model(x, samples, mode="loss")["loss_pixel"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_maps_out_of_order_are_named():
    said = r"the finest first, got in_channels=\[8, 4\], in_strides=\[8, 4\]"
    with pytest.raises(ConfigError, match=said):
        MODELS.build({"type": "UNetHead", "in_channels": [8, 4], "in_strides": [8, 4]})
