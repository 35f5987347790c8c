"""Reading and writing checkpoints: tensors and plain values only, never a pickle that could run code.

Foreign files are read with ``torch.load(weights_only=True)`` and nothing else; there is no fallback. A few harmless
types that official releases contain beside their tensors (argparse.Namespace, NumPy arrays) are admitted by name.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foveal.engine.download import cached, fetch
from foveal.errors import CheckpointError
from foveal.registry import nearest

# Wrappers of official releases, the averaged weights first where a release has both.
WRAPPERS = ("state_dict", "model", "params_ema", "params", "model_state_dict", "state_dict_ema", "model_ema", "module")

POINTER = "last_checkpoint"
"""The text file in a run's folder that names its newest checkpoint."""


def load_checkpoint(source: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Args:
        source: Path of a .pth/.pt/.bin file of torch.save or of a .safetensors file, an http(s) URL (downloaded once
            into the cache), ``torchvision://resnet50`` as in mmdet's configs, or the ``last_checkpoint`` of a run.
        map_location: Device of the tensors.

    Returns:
        The dict in the file. For safetensors, ``{"state_dict": …, "meta": …}``.

    Raises:
        CheckpointError: If the file is missing, is no checkpoint, or holds Python objects other than tensors and plain
            values.
    """
    path = _local_file(str(source))
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist{_neighbours(path)}")
    if path.name == POINTER:
        path = pointed_to(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path, map_location)
    _refuse_bomb(path)
    try:
        with torch.serialization.safe_globals(_admitted_types()):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        raise CheckpointError(_why_unreadable(path, error)) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(checkpoint).__name__}, expected a dict of tensors")
    return checkpoint


def pointed_to(pointer: Path) -> Path:
    """Return the checkpoint that the text file ``pointer`` names.

    Raises:
        CheckpointError: If there is no such file, neither at the path nor, in a moved folder, beside ``pointer``.
    """
    path = Path(pointer.read_text().strip())
    candidates = [path if path.is_absolute() else pointer.parent / path, pointer.parent / path.name]
    found = next((c for c in candidates if c.is_file()), None)
    if found is None:
        raise CheckpointError(f"{pointer} names {path}, which does not exist")
    return found


def extract_state_dict(checkpoint: Mapping[str, Any], prefer_ema: bool = False) -> dict[str, Tensor]:
    """Return the state dict inside a checkpoint, unwrapped and without the ``module.`` of DataParallel.

    Args:
        checkpoint: What `load_checkpoint` returns: a bare state dict or one under a wrapper key (`WRAPPERS`).
        prefer_ema: Take the averaged weights where the file has both.

    Returns:
        Names to tensors.

    Raises:
        CheckpointError: If there are no tensors in it.
    """
    wrappers = sorted(WRAPPERS, key=lambda key: "ema" not in key) if prefer_ema else WRAPPERS
    inner: Mapping[str, Any] = checkpoint
    for key in wrappers:
        if isinstance(checkpoint.get(key), Mapping):
            inner = checkpoint[key]
            break
    tensors = {name: value for name, value in inner.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"the checkpoint holds no tensors; its keys are {', '.join(map(str, checkpoint))[:300]}")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def load_state_dict(
    model: nn.Module, state_dict: Mapping[str, Tensor], source: str | Path = "checkpoint", strict: bool = True
) -> list[str]:
    """Copy a state dict into a model.

    A model may have ``convert_state_dict(state_dict)``, which returns official names as ours, and
    ``explain_misfit(state_dict)``, which returns half a sentence on why a file in our names does not fit, or None. A
    part of it may have ``adapt_state_dict(state_dict, prefix)``, which renames or leaves out what is
    its own in the file.

    Args:
        model: The model.
        state_dict: Names to tensors.
        source: Where it came from, for messages.
        strict: Refuse any difference. False: load what fits, by name and shape.

    Returns:
        One line for every difference: missing, unexpected and wrong-shape keys.

    Raises:
        CheckpointError: If ``strict`` and there are differences; if not one key fits.
    """
    convert: Any = getattr(model, "convert_state_dict", None)
    explain: Any = getattr(model, "explain_misfit", None)
    if convert is not None:
        state_dict = convert(state_dict)
    state_dict = dict(state_dict)
    for name, module in model.named_modules():
        adapt: Any = getattr(module, "adapt_state_dict", None)
        if adapt is not None:
            adapt(state_dict, f"{name}." if name else "")
    own = model.state_dict()
    wrong = [k for k, v in state_dict.items() if k in own and own[k].shape != v.shape]
    missing = [k for k in own if k not in state_dict]
    unexpected = [k for k in state_dict if k not in own]
    lines = [f"wrong shape: {k} is {_shape(state_dict[k])} in the file, {_shape(own[k])} in the model" for k in wrong]
    lines += [f"missing in the file: {k} {_shape(own[k])}" for k in missing]
    lines += [f"unexpected in the file: {k} {_shape(state_dict[k])}" for k in unexpected]
    fitting = {k: v for k, v in state_dict.items() if k in own and k not in wrong}
    if lines and (strict or not fitting):
        reason = explain(state_dict) if explain is not None else None
        because = f"{reason}; " if reason else ""
        raise CheckpointError(
            f"{source} does not fit {type(model).__name__}: {because}"
            f"{len(fitting)} of the model's {len(own)} tensors match, "
            f"{len(missing)} missing, {len(unexpected)} unexpected, {len(wrong)} of wrong shape\n" + _excerpt(lines)
        )
    model.load_state_dict(fitting, strict=False)
    return lines


def save_checkpoint(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint under a temporary name and rename it, so that ``path`` is either whole or not there.

    Args:
        checkpoint: Nested dicts, lists and tuples of tensors, NumPy arrays, numbers, strings, booleans and None.
        path: Destination.

    Raises:
        TypeError: If it holds anything else; the message has the place.
        OSError: If the disk is full or not writable. An older file under ``path`` stays as it was.
    """
    content = to_plain(checkpoint)
    try:
        with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        # torch's writer complains of its own state when it is closed on a file that could not be written
        link: BaseException | None = error
        while link is not None and not isinstance(link, OSError):
            link = link.__context__
        if link is None:
            raise
        raise OSError(link.errno, link.strerror or str(link), str(path)) from error


class replacing:
    """Give a temporary name in the same folder, and rename it to ``path`` when the block ends without an error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> str:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, self.temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".tmp", dir=self.path.parent)
        os.close(handle)
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None:
            Path(self.temporary).unlink(missing_ok=True)
            return
        try:
            # without fsync a power cut can leave the new name on an empty file
            with open(self.temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(self.temporary, 0o644)
            os.replace(self.temporary, self.path)
        except OSError:
            Path(self.temporary).unlink(missing_ok=True)
            raise


def to_plain(value: Any, where: str = "") -> Any:
    """Return ``value`` with tensors detached on the CPU and NumPy values turned into tensors and numbers.

    Raises:
        TypeError: If a value is not a tensor, a plain value, or a dict, list or tuple of those.
    """
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, np.generic):
        return value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (bool, int, float, str)):
        return next(base for base in (bool, int, float, str) if isinstance(value, base))(value)
    if isinstance(value, Mapping):
        return {to_plain(k): to_plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        plain = [to_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
        return tuple(plain) if isinstance(value, tuple) else plain
    raise TypeError(f"a checkpoint holds tensors and plain values only, got {type(value).__name__} at {where or 'top'}")


def _load_safetensors(path: Path, device: str | torch.device) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device=str(device)) as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            meta: dict[str, Any] = dict(file.metadata() or {})
            if "dataset_meta" in meta:
                meta["dataset_meta"] = json.loads(meta["dataset_meta"])
            return {"state_dict": state, "meta": meta}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} is no readable safetensors file: {error}") from error


def _admitted_types() -> list[Any]:
    """Types without behaviour of their own that releases keep beside their tensors."""
    multiarray = getattr(np, "_core", None) or np.core
    dtypes = [type(np.dtype(t)) for t in (np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)]
    reconstruct = multiarray.multiarray._reconstruct
    scalar = multiarray.multiarray.scalar
    names = [(f, f"{m}.multiarray.{f.__name__}") for f in (reconstruct, scalar) for m in ("numpy.core", "numpy._core")]
    # mmdet's and mmseg's files keep their training log in mmengine's HistoryBuffer, whose pickle asks for getattr. Both
    # names are bound to stand-ins that do nothing: the log is dropped, the weights load, and no getattr ever runs.
    # Swin's training code, and what descends from it, keeps its settings in a dict of yacs's, read as a plain one.
    stand_ins = [
        (_Dropped, "mmengine.logging.history_buffer.HistoryBuffer"),
        (_nothing, "builtins.getattr"),
        (OrderedDict, "yacs.config.CfgNode"),
    ]
    return [argparse.Namespace, np.ndarray, np.dtype, *dtypes, *names, *stand_ins]


class _Dropped:
    """What stands for an object of which nothing is kept."""

    def __setstate__(self, state: object) -> None:
        pass


def _nothing(*args: object) -> None:
    return None


def _why_unreadable(path: Path, error: Exception) -> str:
    with open(path, "rb") as file:
        head = file.read(64)
    if not head:
        return f"checkpoint {path} is empty (0 bytes)"
    if head.startswith(b"version https://git-lfs"):
        return f"checkpoint {path} is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"
    if head.lstrip().startswith(b"<"):
        return f"checkpoint {path} is a web page, not a checkpoint: the download went wrong"
    unsafe = re.search(r"GLOBAL ([\w.]+)", str(error))
    if unsafe:
        return (
            f"checkpoint {path} was refused: it holds the Python object {unsafe.group(1)}, and unpickling such objects "
            "can run code. Foveal reads tensors and plain values only; ask its author for a file of weights"
        )
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return f"checkpoint {path} cannot be read (truncated, or no checkpoint): {reason}"


def _refuse_bomb(path: Path) -> None:
    """Refuse a small file that unpacks to a huge one: torch.save compresses nothing, so honest files do not grow."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # of another format, or damaged, which torch says better
    size = path.stat().st_size
    if unpacked > 10 * size + 2**20:
        raise CheckpointError(f"checkpoint {path} was refused: {size} bytes would unpack to {unpacked}")


def _local_file(source: str) -> Path:
    if source.startswith(("torchvision://", "modelzoo://")):
        source = _torchvision_url(source.partition("://")[2])
    if not source.startswith(("http://", "https://")):
        return Path(source.removeprefix("file://")).expanduser()
    return fetch([source], cached(source))


def _torchvision_url(name: str) -> str:
    from torchvision import models

    try:
        return models.get_model_weights(name)["IMAGENET1K_V1"].url
    except (ValueError, KeyError) as error:
        near = ", ".join(nearest(name, models.list_models()))
        raise CheckpointError(f"torchvision has no weights for {name!r}; nearest names: {near}") from error


def _neighbours(path: Path) -> str:
    files = sorted(p.name for p in path.parent.glob("*") if p.suffix in (".pth", ".pt", ".safetensors", ".bin"))
    return f"; {path.parent} has {', '.join(files[:10])}" if files else ""


def _shape(tensor: Tensor) -> str:
    return str(list(tensor.shape))


def _excerpt(lines: list[str], most: int = 30) -> str:
    shown = [f"  {line}" for line in lines[:most]]
    return "\n".join(shown + ([f"  … and {len(lines) - most} more"] if len(lines) > most else []))
