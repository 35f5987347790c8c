"""Restorer: shapes, loss, prediction, and that it learns."""

import pytest
import torch
import torch.nn.functional as F

from foveal.engine.checkpoint import load_state_dict
from foveal.errors import CheckpointError, ConfigError, DataError
from foveal.registry import MODELS
from foveal.structures import DataSample


def restorer(scale=2, **more):
    head = {"type": "PixelShuffleHead", "scale": scale}
    return MODELS.build({"type": "Restorer", "backbone": {"type": "ESPCN"}, "head": head, **more})


def batch(size, scale, count=2):
    images = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8)
    sharp = [torch.randint(0, 256, (3, size[0] * scale, size[1] * scale), dtype=torch.uint8) for _ in range(count)]
    samples = [DataSample(gt_img=image, metainfo={"img_path": f"{i}.png"}) for i, image in enumerate(sharp)]
    return {"inputs": list(images), "data_samples": samples}


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(48, 48), (35, 51)])
def test_shapes(scale, size):
    model = restorer(scale).eval()
    data = model.data_preprocessor(batch(size, scale))
    out = model(**data)
    assert out.shape == (2, 3, size[0] * scale, size[1] * scale)
    for image, sample in zip(out, model(**data, mode="predict"), strict=True):
        torch.testing.assert_close(sample.pred_img, image.clamp(0, 1))


def test_the_loss_compares_rgb_in_the_unit_range():
    model = restorer().eval()
    data = batch((16, 16), 2)
    inputs = torch.stack([image.flip(0) for image in data["inputs"]]) / 255
    target = torch.stack([sample.gt_img for sample in data["data_samples"]]) / 255
    losses = model(**model.data_preprocessor(data), mode="loss")
    assert set(losses) == {"loss_pixel"}
    torch.testing.assert_close(losses["loss_pixel"], (model(inputs) - target).abs().mean())


def test_padding_of_a_mixed_batch_is_cut():
    model = restorer().eval()
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((20, 30), (24, 16))]
    data = model.data_preprocessor({"inputs": images, "data_samples": [DataSample(), DataSample()]})
    assert [tuple(s.pred_img.shape) for s in model(**data, mode="predict")] == [(3, 40, 60), (3, 48, 32)]


def test_the_residual_is_added_to_the_enlarged_input():
    plain, model = restorer(3), restorer(3, upsample_residual=True)
    model.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 9, 7)
    torch.testing.assert_close(model(x) - plain(x), x.repeat_interleave(3, 2).repeat_interleave(3, 3))


@pytest.mark.parametrize("loss", ["L1Loss", "MSELoss", "CharbonnierLoss"])
def test_it_learns_one_image(loss):
    model = restorer(pixel_loss={"type": loss})
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    sharp = torch.stack([x * 4, y * 4, (x + y) * 2]).clamp(max=255).to(torch.uint8)
    blurred = F.avg_pool2d(sharp[None].float(), 2) / 255
    sample = DataSample(gt_img=sharp)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    values = []
    for _ in range(40):
        total, _ = model.parse_losses(model(blurred, [sample], mode="loss"))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < 0.35 * values[0]


def test_a_sharp_image_of_another_size_is_named():
    model = restorer(4)
    data = model.data_preprocessor(batch((10, 12), 3))
    with pytest.raises(DataError, match=r"0\.png: the input is 10 x 12 .* must be 40 x 48, got 30 x 36"):
        model(**data, mode="loss")


def test_a_checkpoint_of_another_scale_is_named():
    with pytest.raises(
        CheckpointError, match=r"^a\.pth does not fit Restorer: it is for scale 3, the model for scale 2;"
    ):
        load_state_dict(restorer(2), restorer(3).state_dict(), "a.pth")


def test_a_whole_network_stands_for_backbone_and_head():
    network = {"type": "CFSR", "scale": 3, "embed_dim": 8, "depths": (1,), "deploy": False}
    model = MODELS.build({"type": "Restorer", "generator": network}).eval()
    data = model.data_preprocessor(batch((8, 6), 3))
    assert model.scale == 3 and model(**data).shape == (2, 3, 24, 18)
    assert [tuple(s.pred_img.shape) for s in model(**data, mode="predict")] == [(3, 24, 18)] * 2
    assert model(**data, mode="loss")["loss_pixel"].isfinite()
    before = model(**data)
    model.switch_to_deploy()
    assert model.generator.deploy
    torch.testing.assert_close(model(**data), before)


@pytest.mark.parametrize("parts", [(), ("generator", "head"), ("backbone",), ("generator", "backbone", "head")])
def test_other_combinations_of_parts_are_refused(parts):
    nodes = {
        "generator": {"type": "CFSR", "scale": 2},
        "backbone": {"type": "ESPCN"},
        "head": {"type": "PixelShuffleHead"},
    }
    with pytest.raises(ConfigError, match="Restorer takes either a generator, or a backbone and a head"):
        MODELS.build({"type": "Restorer", **{part: nodes[part] for part in parts}})


def test_a_gray_image_is_named():
    with pytest.raises(DataError, match=r"\[N, 3, H, W\], got shape \[1, 1, 16, 16\]"):
        restorer()(torch.rand(1, 1, 16, 16))
