"""How fast one model is in several runtimes, side by side."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from foveal.errors import ExportError
from foveal.export.export_model import FORMATS, example, export_model
from foveal.export.formats import quiet
from foveal.export.graph import ExportGraph
from foveal.export.runtime import load_exported

BACKENDS = ("eager", "compiled", *FORMATS)


def time_backends(
    model: nn.Module,
    backends: Sequence[str] = ("eager", "compiled", "onnx"),
    size: Sequence[int] = (512, 512),
    batch: int = 1,
    half: bool = False,
    repeats: int = 10,
    threads: int | None = None,
) -> list[dict[str, Any]]:
    """Time a model with its post-processing, from images in memory to results in memory.

    The backends take turns, so that a machine that slows down slows all of them.

    Args:
        model: Of any task, from `foveal.init_model`; changed as `export_model` does.
        backends: Of ``BACKENDS``; the ratio is to the first.
        size: Height and width in pixels.
        batch: Images at once.
        half: Compute in float16.
        repeats: Rounds that count, after one that does not.
        threads: Of the CPU. None: each runtime's choice.

    Returns:
        A row a backend: ``backend``, ``ms`` (the median), ``ratio`` (how many times as fast as the first) and, where it
        cannot run here, ``problem`` in place of both.

    Raises:
        ExportError: If a backend is unknown, or the size does not suit the model.
    """
    for backend in backends:
        if backend not in BACKENDS:
            raise ExportError(f"a backend is one of {', '.join(BACKENDS)}, got {backend!r}")
    if threads is not None:
        torch.set_num_threads(threads)
    graph = ExportGraph(model, half=half)
    images = example(model, batch, size)
    calls: dict[str, Callable[[], Any]] = {}
    problems: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for backend in backends:
            try:
                calls[backend] = _call(backend, graph, images, folder, threads)
            except ExportError as error:
                problems[backend] = str(error)
        rounds = _seconds(calls, repeats)
    first = next((statistics.median(rounds[backend]) for backend in backends if backend in rounds), 0.0)
    rows: list[dict[str, Any]] = []
    for backend in backends:
        if backend in problems:
            rows.append({"backend": backend, "problem": problems[backend]})
        else:
            middle = statistics.median(rounds[backend])
            rows.append({"backend": backend, "ms": round(middle * 1e3, 2), "ratio": round(first / middle, 2)})
    return rows


def _call(
    backend: str, graph: ExportGraph, images: torch.Tensor, folder: str, threads: int | None
) -> Callable[[], Any]:
    """What runs the model once; it has run once before this returns."""
    if backend in FORMATS:
        batch, _, height, width = images.shape
        path = export_model(
            graph.model, f"{folder}/{backend}", backend, (height, width), half=graph.half_precision, batch=batch
        )
        exported = load_exported(path, threads)
        array = images.numpy()
        exported(array)
        return lambda: exported(array)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # a copy: an export after this takes the model itself to the CPU
    network = copy.deepcopy(graph).to(device)
    run: Any = torch.compile(network) if backend == "compiled" else network

    def call() -> Any:
        with torch.no_grad():
            return [x.cpu() for x in run(images.to(device))]

    with quiet():
        call()
    return call


def _seconds(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {backend: [] for backend in calls}
    for _ in range(repeats):
        for backend, call in calls.items():
            start = time.perf_counter()
            call()
            found[backend].append(time.perf_counter() - start)
    return found
