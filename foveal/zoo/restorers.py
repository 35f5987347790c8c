"""Restoration networks by name."""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from foveal.engine.checkpoint import extract_state_dict, load_checkpoint, load_state_dict
from foveal.errors import ConfigError
from foveal.models.restorer import Restorer
from foveal.registry import MODELS, accepted_arguments, lookup, nearest
from foveal.zoo.fetch import fetch_weight
from foveal.zoo.index import default_weight

# Arguments of `Restorer`; luminance is one channel, which has no order to turn round.
_LUMINANCE = {"data_preprocessor": {"type": "DataPreprocessor", "mean": [0.0], "std": [255.0]}}
RESTORERS: dict[str, dict[str, Any]] = {
    **{f"cfsr_x{s}": {"generator": {"type": "CFSR", "scale": s}} for s in (2, 3, 4)},
    **{f"espcn_x{s}": {"generator": {"type": "ESPCNNet", "scale": s}, **_LUMINANCE} for s in (2, 3, 4, 8)},
}


def _add(name: str, **generator: Any) -> None:
    """List a network under a name; luminance comes in where it has one channel."""
    RESTORERS[name] = {"generator": generator, **(_LUMINANCE if generator.get("in_channels") == 1 else {})}


def _add_edsr() -> None:
    for scale in (2, 3, 4):
        _add(f"edsr_baseline_x{scale}", type="EDSR", scale=scale)
        _add(f"edsr_x{scale}", type="EDSR", scale=scale, n_resblocks=32, n_feats=256, res_scale=0.1)


def _add_swinir() -> None:
    """Names and numbers of main_test_swinir.py; networks for several noise levels or qualities are one."""
    common: dict[str, Any] = {"type": "SwinIR", "mlp_ratio": 2}
    medium = {**common, "window_size": 8, "embed_dim": 180, "depths": (6,) * 6, "num_heads": (6,) * 6}
    light = {**common, "window_size": 8, "embed_dim": 60, "depths": (6,) * 4, "num_heads": (6,) * 4}
    large = {**common, "window_size": 8, "embed_dim": 240, "depths": (6,) * 9, "num_heads": (8,) * 9}
    for scale in (2, 3, 4, 8):
        _add(f"swinir_classical_sr_x{scale}", **medium, scale=scale, upsampler="pixelshuffle")
    for scale in (2, 3, 4):
        _add(f"swinir_lightweight_sr_x{scale}", **light, scale=scale, upsampler="pixelshuffledirect")
    for scale in (2, 4):
        _add(f"swinir_real_sr_x{scale}", **medium, scale=scale, upsampler="nearest+conv")
    _add("swinir_real_sr_x4_large", **large, scale=4, upsampler="nearest+conv", resi_connection="3conv")
    for kind, channels in (("gray", 1), ("color", 3)):
        _add(f"swinir_{kind}_dn", **medium, scale=1, in_channels=channels)
    for kind, channels in (("jpeg", 1), ("color_jpeg", 3)):
        # windows of 7 lie across the blocks of 8
        options = {**medium, "window_size": 7, "img_range": 255.0}
        _add(f"swinir_{kind}_car", **options, scale=1, in_channels=channels)


def _add_mambair() -> None:
    """Numbers of the official options/test and realDenoising/options."""
    for scale in (2, 3, 4):
        light = {"embed_dim": 60, "d_state": 10, "depths": (6,) * 4, "mlp_ratio": 1.2}
        _add(f"mambair_lightsr_x{scale}", type="MambaIR", scale=scale, upsampler="pixelshuffledirect", **light)
        classic = {"embed_dim": 180, "depths": (6,) * 6}
        _add(f"mambair_sr_x{scale}", type="MambaIR", scale=scale, upsampler="pixelshuffle", **classic)
    denoise = {"scale": 1, "embed_dim": 180, "depths": (6,) * 6, "mlp_ratio": 1.2}
    _add("mambair_colordn", type="MambaIR", **denoise)
    _add("mambair_car", type="MambaIR", **denoise, in_channels=1)
    _add("mambair_realdn", type="MambaIRUNet", mlp_ratio=1.5)


def _add_nafnet() -> None:
    """Numbers of the official options/test."""
    for width in (32, 64):
        sidd: dict[str, Any] = {"middle_blk_num": 12, "enc_blk_nums": (2, 2, 4, 8), "dec_blk_nums": (2, 2, 2, 2)}
        _add(f"nafnet_sidd_width{width}", type="NAFNet", width=width, **sidd)
        _add(f"nafnet_gopro_width{width}", type="NAFNet", width=width, train_size=256)
    _add("nafnet_reds_width64", type="NAFNet", width=64, train_size=256)


def _add_without_release() -> None:
    """Networks of which no code was released; numbers are ours."""
    for scale in (2, 3, 4):
        _add(f"tcsr_b_x{scale}", type="TCSR", scale=scale)
        _add(f"tcsr_l_x{scale}", type="TCSR", scale=scale, embed_dim=64, depths=(6,) * 4)
    _add("serpent_b", type="Serpent")
    _add("serpent_l", type="Serpent", dim=48)
    RESTORERS["event_demosaic"] = {"generator": {"type": "EventDemosaicNet"}, **_LUMINANCE}


# its input has a mask as fourth channel
RESTORERS["medfe"] = {
    "generator": {"type": "MEDFE"},
    "data_preprocessor": {"type": "DataPreprocessor", "mean": [0.0] * 4, "std": [255.0] * 4},
}
_add_edsr()
_add_swinir()
_add_mambair()
_add_nafnet()
_add_without_release()


def list_restorers(pattern: str = "*") -> list[str]:
    """Return the names that `create_restorer` takes.

    Args:
        pattern: With the wildcards ``*`` and ``?``.
    """
    return [name for name in RESTORERS if fnmatchcase(name, pattern)]


def create_restorer(name: str, checkpoint: str | Path | Literal[True] | None = None, **kwargs: Any) -> Restorer:
    """Build a restoration network: images [N, C, H, W] in [0, 1] to [N, C, H * s, W * s].

    C is 3, RGB, but 1, luminance or gray, for ESPCN and the networks for gray images.

    Args:
        name: One of `list_restorers`.
        checkpoint: File or URL, in the official release's own format or in ours. True: the first of the zoo's
            files for this name that can be downloaded. None: initialised at random.
        **kwargs: Arguments of the network's class, such as ``embed_dim``, and of `Restorer`, such as ``pixel_loss``.

    Returns:
        The network, in training mode.

    Raises:
        ConfigError: If the name or an argument is unknown.
        CheckpointError: If the file is unreadable or does not fit.
    """
    if name not in RESTORERS:
        near = nearest(name, RESTORERS, 5) or list(RESTORERS)
        raise ConfigError(f"no restorer is called {name!r}; nearest names: {', '.join(near)}")
    node = copy.deepcopy(RESTORERS[name])
    network = accepted_arguments(lookup(node["generator"]["type"], MODELS)) or set()
    own = (accepted_arguments(Restorer) or set()) | (set(kwargs) - network)
    node["generator"].update({key: value for key, value in kwargs.items() if key not in own})
    model = MODELS.build({"type": Restorer, **node, **{key: value for key, value in kwargs.items() if key in own}})
    if checkpoint is True:
        checkpoint = fetch_weight(default_weight(name, ("restoration",)))
    if checkpoint is not None:
        load_state_dict(model, extract_state_dict(load_checkpoint(checkpoint)), checkpoint)
    return model
