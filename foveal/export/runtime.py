"""Run what was exported: one call for every format."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foveal.errors import ExportError
from foveal.export.formats import KEY, need, quiet

Arrays = dict[str, np.ndarray]
Run = Callable[[np.ndarray], Sequence[np.ndarray]]


class ExportedModel:
    """A file that `export_model` wrote, ready to run.

    Args:
        run: From images to the outputs in order.
        meta: What the file says about itself: ``model``, ``outputs``, ``classes``, ``mean``, ``std``, ``bgr_to_rgb``,
            ``input_shape``, ``dynamic``, ``postprocess``, ``format``.
    """

    def __init__(self, run: Run, meta: dict[str, Any]) -> None:
        self.meta = meta
        self._run = run

    def __call__(self, images: np.ndarray) -> Arrays:
        """Return the outputs by name.

        Args:
            images: float32 [N, C, H, W], normalised with ``mean`` and ``std`` of ``meta``.
        """
        found = self._run(np.ascontiguousarray(images, np.float32))
        return dict(zip(self.meta["outputs"], found, strict=True))

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Return an image as the network takes it, see `prepare`."""
        return prepare(image, self.meta)


def prepare(image: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    """Return an image as a network takes it.

    Args:
        image: uint8 [H, W, C], in OpenCV's order, BGR, already of a size that the network takes.
        meta: Of the exported file.

    Returns:
        float32 [1, C, H, W].
    """
    if meta["bgr_to_rgb"]:
        image = image[..., ::-1]
    mean, std = (np.asarray(meta[key], np.float32) for key in ("mean", "std"))
    return ((image.astype(np.float32) - mean) / std).transpose(2, 0, 1)[None]


def load_exported(path: str | Path, threads: int | None = None) -> ExportedModel:
    """Open a file that `export_model` wrote.

    Args:
        path: ``*.onnx`` (needs onnxruntime), ``*.pt2``, ``*.torchscript``, ``*.xml`` (needs openvino) or ``*.engine``
            (needs TensorRT and a GPU).
        threads: Of the CPU; None: the runtime's choice. PyTorch's own formats use torch's setting.

    Raises:
        ExportError: If the file is missing, of no such kind, unreadable, or not written by Foveal, or a package is
            missing.
    """
    path = Path(path)
    if path.suffix not in _OPENERS:
        raise ExportError(f"{path}: expected one of {', '.join(_OPENERS)}, got the suffix {path.suffix!r}")
    if not path.is_file():
        raise ExportError(f"{path} does not exist")
    try:
        run, text = _OPENERS[path.suffix](path, threads)
    except ExportError:
        raise
    except Exception as error:  # each runtime has errors of its own
        raise ExportError(f"{path} cannot be read: {str(error).splitlines()[0][:300]}") from error
    if not text:
        raise ExportError(f"{path} has no metadata of Foveal: it was not written by foveal export")
    return ExportedModel(run, json.loads(text))


def _open_onnx(path: Path, threads: int | None) -> tuple[Run, str]:
    need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads is not None:
        options.intra_op_num_threads = threads
    # one line for a GPU: onnxruntime takes the first that it has
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    text = session.get_modelmeta().custom_metadata_map.get(KEY, "")
    return lambda images: session.run(None, {"images": images}), text


def _open_torch_export(path: Path, threads: int | None) -> tuple[Run, str]:
    extra = {KEY: ""}
    program = torch.export.load(str(path), extra_files=extra)
    return _torch_run(program.module()), _text(extra[KEY])


def _open_torchscript(path: Path, threads: int | None) -> tuple[Run, str]:
    import torchvision  # noqa: F401 - its operators must be known before the file is read

    extra = {KEY: ""}
    with quiet():
        module: Any = torch.jit.load(str(path), _extra_files=extra)
    return _torch_run(module), _text(extra[KEY])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _torch_run(module: Any) -> Run:
    def run(images: np.ndarray) -> Sequence[np.ndarray]:
        with torch.no_grad():
            return [x.cpu().numpy() for x in module(torch.from_numpy(images))]

    return run


def _open_openvino(path: Path, threads: int | None) -> tuple[Run, str]:
    need("openvino")
    import openvino

    core = openvino.Core()
    model = core.read_model(str(path))
    config: dict[str, Any] = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
    # by itself it computes in bfloat16 where the processor can
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **config})
    text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else ""
    return lambda images: list(compiled(images).values()), text


def _open_engine(path: Path, threads: int | None) -> tuple[Run, str]:
    from foveal.export.tensorrt import open_engine

    return open_engine(path)


_OPENERS: dict[str, Callable[[Path, int | None], tuple[Run, str]]] = {
    ".onnx": _open_onnx,
    ".pt2": _open_torch_export,
    ".torchscript": _open_torchscript,
    ".xml": _open_openvino,
    ".engine": _open_engine,
}
