"""Writers, one a format, from a graph to one file with what a reader needs to know about it."""

from __future__ import annotations

import importlib.util
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.errors import ExportError
from foveal.export.graph import ExportGraph
from foveal.export.quantize import quantized

OPSET = 18  # from 20 on, GridSample has other names for its modes, which TensorRT reads as another one
KEY = "foveal"  # of the metadata, a JSON text


@dataclass(frozen=True)
class Job:
    """What is to be written.

    Args:
        graph: The model.
        images: An example, [N, C, H, W].
        meta: What a reader needs to know, plain values.
        dynamic: Height and width may be others than the example's.
        calibration: Images [N, C, H, W] as the network takes them, from which int8's ranges are read. None: no int8.
        log_bits: Of int8's logarithmic codes after softmax and GELU. None: uniform ones.
    """

    graph: ExportGraph
    images: Tensor
    meta: dict[str, Any]
    dynamic: bool = False
    calibration: Sequence[np.ndarray] | None = None
    log_bits: int | None = None


def write_onnx(job: Job, path: Path) -> None:
    """Write ONNX of standard operators, with the metadata under the key ``foveal``.

    Args:
        job: What to write.
        path: ``*.onnx``.

    Raises:
        ExportError: If a package is missing, or an operation has no counterpart; names the layer.
    """
    need("onnx", "onnxscript")
    import onnx
    from onnxscript import optimizer

    graph = job.graph
    program = export_program(graph, job.images, job.dynamic)
    names: dict[str, Any] = {"input_names": ["images"], "output_names": list(graph.names)}
    with quiet(), explained("ONNX", graph):
        for optimize in (True, False):
            exported: Any = torch.onnx.export(
                program, (), dynamo=True, opset_version=OPSET, optimize=optimize, verbose=False, **names
            )
            if not optimize:
                optimizer.fold_constants(exported.model)
                optimizer.remove_unused_nodes(exported.model)
            proto = exported.model_proto
            # onnxscript 0.7's rules lose a constant where a tensor is clamped at two places
            if all_known(proto.graph):
                break
    if job.calibration is not None:
        proto = quantized(proto, job.calibration, job.meta["format"] == "tensorrt", job.log_bits)
    onnx.helper.set_model_props(proto, {KEY: json.dumps(job.meta)})
    path.write_bytes(proto.SerializeToString())


def write_torch_export(job: Job, path: Path) -> None:
    """Write a program of ``torch.export``; arguments as for `write_onnx`, ``path`` is ``*.pt2``."""
    refuse_int8("torch_export", job)
    program = export_program(job.graph, job.images, job.dynamic)
    torch.export.save(program, str(path), extra_files={KEY: json.dumps(job.meta)})


def write_torchscript(job: Job, path: Path) -> None:
    """Write a traced module; arguments as for `write_onnx`, ``path`` is ``*.torchscript``.

    Raises:
        ExportError: If it is to be dynamic: a trace holds the sizes of its example.
    """
    refuse_int8("torchscript", job)
    if job.dynamic:
        raise ExportError("torchscript is traced, and a trace holds the example's size: leave out --dynamic")
    with quiet(), torch.no_grad(), explained("TorchScript", job.graph):
        traced: Any = torch.jit.trace(job.graph, (job.images,), check_trace=False)
        torch.jit.save(traced, str(path), _extra_files={KEY: json.dumps(job.meta)})


def write_openvino(job: Job, path: Path) -> None:
    """Write OpenVINO's ``*.xml``, and its ``*.bin`` beside it, by way of ONNX; arguments as for `write_onnx`."""
    need("openvino")
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        write_onnx(job, Path(folder) / "model.onnx")
        try:
            model = openvino.convert_model(f"{folder}/model.onnx")
        except Exception as error:  # openvino raises types of its own and plain ones
            raise ExportError(f"OpenVINO cannot read the network: {first_line(error)}") from error
        model.set_rt_info(json.dumps(job.meta), KEY)
        openvino.save_model(model, str(path), compress_to_fp16=False)


def refuse_int8(format: str, job: Job) -> None:
    """Refuse quantisation where the format has none.

    Raises:
        ExportError: If the job asks for it.
    """
    if job.calibration is not None:
        raise ExportError(f"int8 is for onnx, openvino and tensorrt, not for {format}")


def all_known(graph: Any) -> bool:
    """Whether every input of an ONNX graph's nodes is something that the graph has."""
    known = {"", *(x.name for x in graph.input), *(x.name for x in graph.initializer)}
    for node in graph.node:
        if not known.issuperset(node.input):
            return False
        known.update(node.output)
    return True


def export_program(graph: ExportGraph, images: Tensor, dynamic: bool) -> torch.export.ExportedProgram:
    """Return the graph as a program of ``torch.export``.

    Args:
        graph: What to export.
        images: An example.
        dynamic: See `write_onnx`.

    Raises:
        ExportError: If it cannot be followed, in general or for all sizes.
    """
    size = torch.export.Dim.DYNAMIC
    shapes = ({2: size, 3: size},) if dynamic else None
    with quiet(), torch.no_grad(), explained("torch.export", graph, dynamic):
        return torch.export.export(graph, (images,), dynamic_shapes=shapes, strict=False)


def need(*packages: str) -> None:
    """Refuse where a package is missing.

    Raises:
        ExportError: Says which, and how to install it.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            extra = "openvino" if package == "openvino" else "onnx"
            raise ExportError(f"this needs the package {package}: pip install 'foveal[{extra}]'")


@contextmanager
def explained(target: str, graph: ExportGraph, dynamic: bool = False) -> Iterator[None]:
    """Turn what an exporter raises into one sentence that names the layer, where that is known."""
    try:
        yield
    except ExportError:
        raise
    except Exception as error:  # exporters raise whatever the operation raised
        advice = "; without --dynamic the sizes are fixed, which more models can have" if dynamic else ""
        layer = _layer(error)
        where = f" at {layer}" if layer else ""
        name = type(graph.model).__name__
        raise ExportError(f"{name} cannot become {target}{where}: {first_line(error)}{advice}") from error


def _layer(error: BaseException | None) -> str | None:
    """The last of our own lines that an error passed through, as file and function."""
    found = None
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            module = trace.tb_frame.f_globals.get("__name__", "")
            if module.startswith("foveal.") and not module.startswith("foveal.export"):
                found = f"{module}.{code.co_qualname if hasattr(code, 'co_qualname') else code.co_name}"
            trace = trace.tb_next
        error = error.__cause__
    return found


def first_line(error: BaseException) -> str:
    """The first line that says something, of the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' remarks about themselves."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
