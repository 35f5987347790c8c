"""TensorRT: from an ONNX file to an engine, and running it."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foveal.errors import ExportError
from foveal.export.formats import Job, write_onnx
from foveal.export.tensorrt_operators import problems

# The second builds for RTX cards, on machines without one, too; it lacks NonMaxSuppression, RoiAlign and DeformConv.
PACKAGES = ("tensorrt", "tensorrt_rtx")


def write_engine(job: Job, path: Path) -> None:
    """Build an engine by way of ONNX, and write what a reader needs to know into ``<path>.json``.

    The precision is the graph's: float16 where it was made ``half``, int8 where it has quantised nodes. A dynamic one
    takes heights and widths from half to twice the example's.

    Args:
        job: What to write.
        path: ``*.engine``.

    Raises:
        ExportError: If TensorRT is missing, or an operation has no counterpart.
    """
    tensorrt_package()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        write_onnx(job, file)
        path.write_bytes(build_engine(file))
    Path(f"{path}.json").write_text(json.dumps(job.meta))


def build_engine(onnx_file: Path) -> bytes:
    """Return the engine of an ONNX file, which may be quantised.

    Args:
        onnx_file: With static sizes, or dynamic height and width: the profile is half to twice the 512 or, where the
            metadata have ``input_shape``, its sizes.

    Raises:
        ExportError: If TensorRT is missing, or does not take an operation: names it and its layer.
    """
    import onnx

    trt = tensorrt_package()
    proto = onnx.load(str(onnx_file))
    refused = list(problems(proto))
    if refused:
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        raise ExportError(f"TensorRT does not take {refused[0]}{more}")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(proto.SerializeToString()):
        error = parser.get_error(0)
        raise ExportError(
            f"TensorRT {trt.__version__} does not take {error.node_operator()} at {error.node_name()}: {error.desc()}"
        )
    config = builder.create_builder_config()
    profile = _profile(builder, network, proto)
    if profile is not None:
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"TensorRT {trt.__version__} cannot build an engine of {onnx_file.name}; its log says why")
    return bytes(plan)


def open_engine(path: Path) -> tuple[Callable[[np.ndarray], Sequence[np.ndarray]], str]:
    """Return a function that runs an engine, and the text of its metadata.

    Args:
        path: ``*.engine`` with its ``.json`` beside it.

    Raises:
        ExportError: If TensorRT or a GPU is missing, or the engine is for another one.
    """
    trt = tensorrt_package()
    if not torch.cuda.is_available():
        raise ExportError(f"{path} runs on an NVIDIA GPU, and torch finds none")
    notes = Path(f"{path}.json")
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise ExportError(f"TensorRT {trt.__version__} cannot read {path}, made for another version or GPU")
    context = engine.create_execution_context()
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    outputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]

    def run(images: np.ndarray) -> Sequence[np.ndarray]:
        inputs = torch.from_numpy(images).cuda()
        context.set_input_shape("images", tuple(inputs.shape))
        context.set_tensor_address("images", inputs.data_ptr())
        found = {}
        for name in outputs:
            kind = getattr(torch, np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name)
            found[name] = torch.empty(tuple(context.get_tensor_shape(name)), dtype=kind, device="cuda")
            context.set_tensor_address(name, found[name].data_ptr())
        context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        return [found[name].cpu().numpy() for name in outputs]

    return run, notes.read_text() if notes.is_file() else ""


def tensorrt_package() -> Any:
    """Return NVIDIA's module.

    Raises:
        ExportError: If none is installed.
    """
    for name in PACKAGES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ExportError(
        "TensorRT is missing: pip install tensorrt, on a machine with an NVIDIA GPU, or pip install tensorrt-rtx"
    )


def _network_flags(trt: Any) -> int:
    """Strongly typed: the types are the graph's. TensorRT 11 knows nothing else and may drop the flag."""
    flags = trt.NetworkDefinitionCreationFlag
    return 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0


def _profile(builder: Any, network: Any, proto: Any) -> Any:
    """The range of a dynamic input's sizes; None where all are fixed."""
    images = network.get_input(0)
    shape = list(images.shape)
    if -1 not in shape:
        return None
    notes = {entry.key: entry.value for entry in proto.metadata_props}
    usual = json.loads(notes.get("foveal", "{}")).get("input_shape", [1, shape[1], 512, 512])
    profile = builder.create_optimization_profile()
    sizes = [
        [max(int(u * factor), 1) if s == -1 and i > 1 else u for i, (s, u) in enumerate(zip(shape, usual, strict=True))]
        for factor in (0.5, 1, 2)
    ]
    profile.set_shape(images.name, *sizes)
    return profile
