"""The one call that exports: write, run once, compare with PyTorch, and only then keep the file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from foveal import __version__
from foveal.errors import ExportError
from foveal.export.compare import differences
from foveal.export.formats import (
    Job,
    first_line,
    quiet,
    write_onnx,
    write_openvino,
    write_torch_export,
    write_torchscript,
)
from foveal.export.graph import ExportGraph
from foveal.export.runtime import load_exported, prepare
from foveal.export.tensorrt import write_engine

# format to the file's suffix and its writer
FORMATS = {
    "onnx": (".onnx", write_onnx),
    "torch_export": (".pt2", write_torch_export),
    "torchscript": (".torchscript", write_torchscript),
    "openvino": (".xml", write_openvino),
    "tensorrt": (".engine", write_engine),
}
TOLERANCE = 1e-4
HALF_TOLERANCE = 3e-2


def export_model(
    model: nn.Module,
    path: str | Path,
    format: str = "onnx",
    size: Sequence[int] = (512, 512),
    dynamic: bool = False,
    half: bool = False,
    postprocess: bool = True,
    batch: int = 1,
    calibration: Sequence[np.ndarray] | None = None,
    log_bits: int | None = None,
) -> Path:
    """Write a model in a format of deployment, run it once, and compare the results with PyTorch's.

    Args:
        model: Of any task. It is changed: on the CPU, in eval mode, branches merged, float16 if ``half``.
        path: File to write. Its suffix must be the format's, or missing, and is then added.
        format: One of ``FORMATS``.
        size: Height and width of the input in pixels.
        dynamic: Take other heights and widths, too. Not every model can, and some only multiples of a number.
        half: Compute in float16; input and results stay float32.
        postprocess: Final results; False: what the last layers give. See `ExportGraph`.
        batch: Images at once.
        calibration: Some dozens of images, BGR uint8 [H, W, C] of any size, which are resized: convolutions and matrix
            products compute in int8 then. Formats ``onnx``, ``openvino`` and ``tensorrt``. How much that costs is not
            checked: score the file on real data.
        log_bits: With ``calibration``: values after softmax and GELU have logarithmic codes of 2 to 8 bits (AdaLog),
            which are nearer where most of them are. They are looked up in float32: this shows what such codes cost,
            and gains no time. None: uniform codes.

    Returns:
        The file. TensorRT writes ``.engine.json`` beside it, OpenVINO ``.bin``.

    Raises:
        ExportError: If a package is missing, the model cannot be written in this format, or the file computes
            something else than the model. Nothing is written then.
    """
    if format not in FORMATS:
        raise ExportError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    suffix, write = FORMATS[format]
    target = Path(path)
    if target.suffix != suffix:
        if target.suffix in (s for s, _ in FORMATS.values()):
            raise ExportError(f"{path}: a file of the format {format} ends in {suffix}")
        target = target.with_name(target.name + suffix)
    if half and calibration is not None:
        raise ExportError("a model computes in float16 or in int8: leave out one of half and calibration")
    if log_bits is not None and calibration is None:
        raise ExportError("log_bits is of int8, which calibration asks for")
    graph = ExportGraph(model, postprocess, half).cpu()
    images = example(model, batch, size)
    with torch.no_grad(), quiet():
        graph(images)
    meta = describe(model, graph, images, dynamic) | {"format": format, "int8": calibration is not None}
    like_images = None if calibration is None else [_as_input(image, batch, size, meta) for image in calibration]
    job = Job(graph, images, meta, dynamic, like_images, log_bits)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            file = Path(folder) / target.name
            write(job, file)
            if format != "tensorrt" or torch.cuda.is_available():
                tests = [images]
                if dynamic:
                    step = max(32, meta["pad_size_divisor"])
                    tests.append(example(model, batch, (size[0] + 2 * step, size[1] + step)))
                _check(file, graph, tests, meta)
            # the file that is opened comes last: where it is, what belongs to it is
            for part in sorted(Path(folder).iterdir(), key=lambda p: p == file):
                part.replace(target.with_name(part.name))
    except OSError as error:
        raise ExportError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def example(model: Any, batch: int, size: Sequence[int]) -> Tensor:
    """Return noise as a model takes images, [N, C, H, W].

    Raises:
        ExportError: If the size is no multiple of what the model's batches are padded to.
    """
    preprocessor = model.data_preprocessor
    divisor = getattr(preprocessor, "pad_size_divisor", 1)
    height, width = size
    if height % divisor or width % divisor:
        raise ExportError(f"height and width must be multiples of {divisor}, got {height} x {width}")
    network = getattr(model, "generator", None) or getattr(model, "backbone", None)
    channels = getattr(network, "in_channels", 3)
    pixels = torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(0)) * 255
    return (
        (pixels - preprocessor.mean.cpu()) / preprocessor.std.cpu() if hasattr(preprocessor, "mean") else pixels / 255
    )


def describe(model: Any, graph: ExportGraph, images: Tensor, dynamic: bool) -> dict[str, Any]:
    """Return what a reader of the file needs to know."""
    preprocessor = model.data_preprocessor
    channels = images.shape[1]
    known = getattr(model, "dataset_meta", None) or {}
    return {
        "foveal": __version__,
        "model": type(model).__name__,
        "outputs": list(graph.names),
        "classes": list(known.get("classes", ())),
        "mean": _plain(getattr(preprocessor, "mean", torch.zeros(channels))),
        "std": _plain(getattr(preprocessor, "std", torch.ones(channels))),
        "bgr_to_rgb": bool(getattr(preprocessor, "bgr_to_rgb", False)),
        "pad_size_divisor": getattr(preprocessor, "pad_size_divisor", 1),
        "input_shape": list(images.shape),
        "dynamic": dynamic,
        "postprocess": graph.postprocess,
        "half": graph.half_precision,
    }


def _plain(values: Tensor) -> list[float]:
    return [round(float(value), 6) for value in values.flatten()]


def _as_input(image: np.ndarray, batch: int, size: Sequence[int], meta: dict[str, Any]) -> np.ndarray:
    """A picture of any size as the network takes it."""
    channels = meta["input_shape"][1]
    resized = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA).reshape(*size, -1)
    if resized.shape[2] != channels:
        resized = cv2.cvtColor(resized, cv2.COLOR_BGR2GRAY)[..., None] if channels == 1 else resized[..., :channels]
    return np.repeat(prepare(resized, meta), batch, 0)


def _check(file: Path, graph: ExportGraph, tests: Sequence[Tensor], meta: dict[str, Any]) -> None:
    """Compare a file with its model; a dynamic one at two sizes, since an exporter may have fixed one on the way."""
    exported = load_exported(file)
    for images in tests:
        size = f"{images.shape[2]} x {images.shape[3]}"
        with torch.no_grad(), quiet():
            want = {name: x.numpy() for name, x in graph.named(images).items()}
        try:
            found = exported(images.numpy())
        except Exception as error:  # each runtime has errors of its own
            advice = "; a larger --size leaves no map with a single row, which exporters take for fixed"
            raise ExportError(f"{file.name} does not run at {size}: {first_line(error)}{advice}") from error
        if meta["int8"]:
            bad = [name for name, x in found.items() if not np.isfinite(x).all()]
            wrong = [f"{name} is not finite" for name in bad]
        else:
            half = meta["half"]
            wrong = differences(want, found, HALF_TOLERANCE if half else TOLERANCE, share=0.05 if half else 0.02)
        if wrong:
            raise ExportError(f"{file.name} computes something else than the model at {size}: {'; '.join(wrong)}")
