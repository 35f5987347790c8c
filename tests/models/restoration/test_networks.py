"""What all whole networks promise: sizes, channels, training, names; and their released sizes."""

import pytest
import torch

from foveal.errors import CheckpointError, ConfigError, DataError
from foveal.models.restoration.nafnet import LocalMean
from foveal.models.restoration.tcsr import spatial_shift
from foveal.registry import MODELS
from foveal.zoo import create_restorer, list_restorers

# of every class the smallest network that has all its parts, in each of its forms
SMALL = {
    "edsr_x2": {"type": "EDSR", "scale": 2, "n_resblocks": 1, "n_feats": 8},
    "edsr_x3": {"type": "EDSR", "scale": 3, "n_resblocks": 1, "n_feats": 8, "res_scale": 0.1},
    "edsr_x4": {"type": "EDSR", "scale": 4, "n_resblocks": 1, "n_feats": 8},
    "nafnet": {"type": "NAFNet", "width": 4, "enc_blk_nums": (1, 1), "dec_blk_nums": (1, 1)},
    "nafnet_local": {"type": "NAFNet", "width": 4, "enc_blk_nums": (1,), "dec_blk_nums": (1,), "train_size": 8},
    "mambair_unet": {"type": "MambaIRUNet", "dim": 32, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1},
    "tcsr": {"type": "TCSR", "scale": 2, "embed_dim": 10, "depths": (1,), "num_heads": 2, "kernel_size": 3},
    "serpent": {"type": "Serpent", "dim": 8, "depths": (1, 1), "d_state": 2},
    "demosaic": {"type": "EventDemosaicNet", "dim": 8, "depths": (2, 1), "num_heads": (2, 2), "window_size": 4},
}
_SWIN = {"type": "SwinIR", "embed_dim": 12, "depths": (2,), "num_heads": (2,), "window_size": 4}
_MAMBA = {"type": "MambaIR", "embed_dim": 30, "depths": (1,), "d_state": 2}
for _name, _base in (("swinir", _SWIN), ("mambair", _MAMBA)):
    SMALL[f"{_name}_classical"] = {**_base, "scale": 3, "upsampler": "pixelshuffle"}
    SMALL[f"{_name}_light"] = {**_base, "scale": 2, "upsampler": "pixelshuffledirect", "in_channels": 4}
    SMALL[f"{_name}_real"] = {**_base, "scale": 4, "upsampler": "nearest+conv", "resi_connection": "3conv"}
    SMALL[f"{_name}_gray"] = {**_base, "scale": 1, "in_channels": 1, "img_range": 255.0}

# of the official code, where there is one; TCSR: ours
PARAMETERS = {
    "edsr_baseline_x2": 1_369_883,
    "edsr_x4": 43_089_947,
    "mambair_car": 15_771_025,
    "mambair_colordn": 15_777_507,
    "mambair_lightsr_x3": 913_131,
    "mambair_lightsr_x4": 924_492,
    "mambair_realdn": 26_779_480,
    "mambair_sr_x2": 20_421_863,
    "mambair_sr_x3": 20_606_503,
    "mambair_sr_x4": 20_569_575,
    "nafnet_sidd_width64": 115_982_915,
    "nafnet_gopro_width64": 67_888_835,
    "swinir_classical_sr_x3": 11_937_127,
    "swinir_jpeg_car": 11_485_585,
    "swinir_lightweight_sr_x2": 910_152,
    "tcsr_b_x4": 672_364,
    "tcsr_l_x4": 1_033_936,
}


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {name: MODELS.build(node) for name, node in SMALL.items()}


def channels_of(name):
    return 1 if name == "demosaic" else SMALL[name].get("in_channels", 3)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (13, 21)])
def test_any_size(name, size, networks):
    network = networks[name].eval()
    with torch.no_grad():
        y = network(torch.rand(2, channels_of(name), *size))
    channels = 3 if name == "demosaic" else channels_of(name)
    assert y.shape == (2, channels, size[0] * network.scale, size[1] * network.scale)
    assert y.isfinite().all()


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_learns(name, networks):
    network = networks[name].train()
    network(torch.rand(2, channels_of(name), 8, 8)).square().mean().backward()
    without = [key for key, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


@pytest.mark.parametrize("name", SMALL)
def test_another_number_of_channels_is_named(name, networks):
    wanted = channels_of(name)
    said = rf"^{SMALL[name]['type']} takes images \[N, {wanted}, H, W\], got shape \[1, 2, 8, 8\]$"
    with pytest.raises(DataError, match=said):
        networks[name](torch.rand(1, 2, 8, 8))


# of each shape of network one: building all takes long even without memory
@pytest.mark.parametrize(
    "name", sorted({*PARAMETERS, "swinir_real_sr_x2", "swinir_color_jpeg_car", "nafnet_reds_width64"})
)
def test_names_and_parameters(name):
    with torch.device("meta"):
        model = create_restorer(name)
    assert name in list_restorers()
    assert model.scale == int(name.rpartition("_x")[2] if "_x" in name else 1)
    count = sum(p.numel() for p in model.parameters())
    assert count == PARAMETERS.get(name, count)


@pytest.mark.parametrize("name", ["edsr", "swinir_classical_sr", "swinir_lightweight_sr", "mambair_lightsr"])
@pytest.mark.parametrize(("theirs", "ours"), [(2, 4), (3, 2), (4, 3)])
def test_a_checkpoint_of_another_scale_is_named(name, theirs, ours, tmp_path):
    small = {"n_feats": 8, "n_resblocks": 1} if name == "edsr" else {"embed_dim": 60, "depths": (1,)}
    small |= {"num_heads": (2,)} if "swinir" in name else {}
    torch.save(create_restorer(f"{name}_x{theirs}", **small).generator.state_dict(), tmp_path / "a.pth")
    said = f"a.pth does not fit Restorer: it is for scale {theirs}, the model for scale {ours}; "
    with pytest.raises(CheckpointError, match=said):
        create_restorer(f"{name}_x{ours}", tmp_path / "a.pth", **small)


def test_local_means():
    pool, x = LocalMean(3), torch.rand(1, 2, 5, 6, dtype=torch.float64)
    y = pool(x)
    for row, column in ((0, 0), (2, 3), (4, 5)):
        top, left = min(max(row - 1, 0), 2), min(max(column - 1, 0), 3)
        want = x[..., top : top + 3, left : left + 3].mean((-2, -1))
        torch.testing.assert_close(y[..., row, column], want)
    assert LocalMean(6)(x).shape == (1, 2, 1, 1)


def test_shifts():
    x = torch.arange(4 * 4 * 6.0).view(1, 4, 4, 6)
    y = spatial_shift(x)
    moved = {0: x[0, 1, 2, 0], 1: x[0, 3, 2, 1], 2: x[0, 2, 1, 2], 3: x[0, 2, 3, 3], 4: x[0, 2, 2, 4], 5: x[0, 2, 2, 5]}
    assert {channel: y[0, 2, 2, channel] for channel in moved} == moved
    assert y[0, 0, 2, 0] == x[0, 0, 2, 0] and y[0, 3, 2, 1] == x[0, 3, 2, 1]


def test_the_pattern_of_a_sensor_stays_in_step_beyond_the_image():
    network = MODELS.build(SMALL["demosaic"])
    x = torch.arange(4.0).repeat(3)[:10].view(1, 1, 1, 10).expand(1, 1, 9, 10)
    padded = network._pad(x)
    assert padded.shape == (1, 1, 32, 32)
    assert padded[0, 0, 0].tolist() == [i % 4 for i in range(32)]


def test_medfe_fills_holes_only():
    network = MODELS.build({"type": "MEDFE", "ngf": 16, "res_num": 1}).eval()
    x = torch.rand(2, 4, 192, 256)
    x[:, 3] = 0
    x[:, 3, 50:90, 100:170] = 1
    with torch.no_grad():
        y = network(x)
        other = network(torch.where(x[:, 3:] > 0, torch.cat([torch.rand(2, 3, 192, 256), x[:, 3:]], 1), x))
    assert y.shape == (2, 3, 192, 256)
    hole = (x[:, 3:] > 0).expand_as(y)
    assert torch.equal(y[~hole], x[:, :3][~hole]) and not torch.equal(y[hole], x[:, :3][hole])
    torch.testing.assert_close(other, y)  # what is under the mask is not looked at
    with pytest.raises(DataError, match="multiples of 64, at least 192, got 128 x 256"):
        network(torch.rand(1, 4, 128, 256))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({**_SWIN, "upsampler": "bicubic"}, "SwinIR: upsampler is one of '', 'pixelshuffle', .* got 'bicubic'"),
        ({**_SWIN, "scale": 2}, "SwinIR: upsampler '' needs scale=1, got 2"),
        ({**_MAMBA, "scale": 3, "upsampler": "nearest+conv"}, "needs scale=2 or 4, got 3"),
        ({**_SWIN, "num_heads": (2, 2)}, "depths has 1 groups, num_heads 2"),
        ({**_SWIN, "scale": 1, "resi_connection": "2conv"}, "resi_connection is '1conv' or '3conv', got '2conv'"),
        ({"type": "EDSR", "scale": 5}, "enlarge by 3 or a power of 2, got scale=5"),
        ({"type": "NAFNet", "enc_blk_nums": (1,)}, "enc_blk_nums has 1 resolutions, dec_blk_nums 4"),
    ],
)
def test_arguments_that_do_not_fit_are_named(node, message):
    with pytest.raises(ConfigError, match=message):
        MODELS.build(node)
