"""Pictures as people have them, and videos, through a restorer."""

import cv2
import numpy as np
import pytest
import torch

import foveal
from foveal.cli import main
from foveal.data.packed import read_packed
from foveal.errors import DataError

KINDS = [(), (1,), (3,), (4,)]


@pytest.fixture(scope="module")
def models():
    """A network for RGB and one for luminance that enlarge by repeating pixels, nearly."""
    torch.manual_seed(0)
    rgb = foveal.create_restorer("edsr_baseline_x2", n_resblocks=1, n_feats=8, upsample_residual=True).eval()
    torch.nn.init.zeros_(rgb.generator.tail[1].weight)
    torch.nn.init.zeros_(rgb.generator.tail[1].bias)
    rgb.generator.add_mean.bias.data.zero_()
    denoiser = foveal.create_restorer("nafnet_sidd_width32", width=4, enc_blk_nums=(1,), dec_blk_nums=(1,)).eval()
    torch.nn.init.zeros_(denoiser.generator.ending.weight)
    torch.nn.init.zeros_(denoiser.generator.ending.bias)
    return {"rgb": rgb, "luminance": foveal.create_restorer("espcn_x2").eval(), "same size": denoiser}


@pytest.mark.parametrize("name", ["rgb", "luminance", "same size"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_kind_of_picture_stays(models, name, kind, dtype):
    scale = models[name].scale
    highest = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    picture = (np.random.default_rng(0).random((7, 5, *kind)) * highest).astype(dtype)
    result = foveal.restore(models[name], picture)
    assert result.shape == (7 * scale, 5 * scale, *kind) and result.dtype == dtype
    if name == "luminance":
        return
    enlarged = picture.repeat(scale, 0).repeat(scale, 1)
    colours = slice(None) if kind == () else (Ellipsis, slice(0, 3))
    off = np.abs(result[colours].astype(float) - enlarged[colours]).max()
    assert off <= 1e-4 * highest + 1  # the order of channels, too


def test_alpha_is_kept_and_enlarged_smoothly(models):
    picture = np.zeros((6, 8, 4), np.uint16)
    picture[..., 3] = 40_000
    assert (foveal.restore(models["same size"], picture)[..., 3] == 40_000).all()
    assert (foveal.restore(models["rgb"], picture)[..., 3] == 40_000).all()


def test_16_bits_are_not_cut_to_8(models):
    picture = np.arange(7 * 9 * 3, dtype=np.uint16).reshape(7, 9, 3) + 30_000
    assert len(np.unique(foveal.restore(models["same size"], picture))) > 150


def test_colours_of_a_luminance_network_are_the_pictures(models):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[..., 2] = 200
    result = foveal.restore(models["luminance"], picture).astype(int)
    y = [cv2.cvtColor(p.astype(np.uint8), cv2.COLOR_BGR2YCrCb).astype(int) for p in (picture, result)]
    assert np.abs(y[0][4, 4, 1:] - y[1][8, 8, 1:]).max() <= 60 and result[8, 8].argmax() == 2


def test_files(models, tmp_path):
    picture = np.random.default_rng(0).integers(0, 65536, (6, 5, 4), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    np.testing.assert_array_equal(
        foveal.restore(models["rgb"], tmp_path / "a.png"), foveal.restore(models["rgb"], picture)
    )
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"b\.png does not decode"):
        foveal.restore(models["rgb"], tmp_path / "b.png")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"\[H, W\] or \[H, W, 1, 3 or 4\], got \[4, 4, 2\]"),
        (np.zeros((4, 4), np.int32), "uint8, uint16 or floating point, got int32"),
        (np.zeros((0, 4), np.uint8), r"got \[0, 4\]"),
    ],
)
def test_what_is_no_picture_is_named(models, picture, message):
    with pytest.raises(DataError, match=message):
        foveal.restore(models["rgb"], picture)


def test_videos(models, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (32, 24))
    for i in range(4):
        writer.write(np.full((24, 32, 3), 60 * i, np.uint8))
    writer.release()
    assert foveal.restore_video(models["rgb"], tmp_path / "a.avi", tmp_path / "b.avi") == 4
    reader = cv2.VideoCapture(str(tmp_path / "b.avi"))
    assert reader.get(cv2.CAP_PROP_FPS) == 10.0
    frames = [frame for _, frame in iter(reader.read, (False, None))]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 4
    assert np.abs([frame.mean() - 60 * i for i, frame in enumerate(frames)]).max() < 8
    (tmp_path / "c.mp4").write_bytes(b"no video")
    for source, target, said in (
        ("c.mp4", "d.mp4", "cannot be read"), ("x.mp4", "d.mp4", "does not exist"), ("a.avi", "d.gif", r"\.mp4 or"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=said):
            foveal.restore_video(models["rgb"], tmp_path / source, tmp_path / target)


def test_command(models, tmp_path, capsys):
    model = models["rgb"]
    torch.save(model.generator.state_dict(), tmp_path / "a.pth")
    (tmp_path / "model.py").write_text(
        "model = dict(type='Restorer', generator=dict(type='EDSR', scale=2, n_resblocks=1, n_feats=8))\n"
    )
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    words = ["restore", str(tmp_path / "model.py"), str(tmp_path / "a.pth"), str(tmp_path / "p.png")]
    main([*words, "--out", str(tmp_path / "out"), "--tile", "16", "--tile-overlap", "8", "--self-ensemble"])
    assert capsys.readouterr().out == f"1 images and 0 videos restored in {tmp_path / 'out'}\n"
    assert cv2.imread(str(tmp_path / "out" / "p.png"), cv2.IMREAD_UNCHANGED).shape == (40, 60, 4)
    with pytest.raises(SystemExit):
        main([*words, "--tile", "8"])
    assert "tiles of 8 cannot overlap by 32" in capsys.readouterr().err
    main(["data", "pack", str(tmp_path / "out"), str(tmp_path / "p.safetensors")])
    assert read_packed(f"{tmp_path / 'p.safetensors'}::p.png").shape == (40, 60, 3)
