"""A web page: choose a model, drop a picture, see what the model makes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from foveal import api
from foveal.errors import ConfigError
from foveal.restoration import restore
from foveal.structures import DataSample
from foveal.visualization.sample import draw_on_image

LARGEST = 4096  # pixels of a side: a page is no place for more


class Analysis(NamedTuple):
    """What a model makes of a picture.

    Attributes:
        before: RGB uint8 [H, W, 3]: the picture; for restoration enlarged by bicubic interpolation.
        after: RGB uint8 of the same size: with boxes, masks or labels on it; for restoration the restored picture.
        rows: What was found, best or largest first: name, number, place.
        header: Of the rows.
        milliseconds: Of the network with what comes before and after it, without drawing.
    """

    before: np.ndarray
    after: np.ndarray
    rows: list[list[str]]
    header: tuple[str, str, str]
    milliseconds: float


def analyse(model: Any, image: np.ndarray, score_thr: float = 0.3) -> Analysis:
    """Run a model on a picture and make the result fit to be looked at.

    Args:
        model: From `foveal.init_model`.
        image: RGB uint8 [H, W, 3].
        score_thr: Objects with lower scores are left out.
    """
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    start = time.perf_counter()
    if hasattr(model, "restore"):
        with torch.no_grad():
            after = restore(model, bgr)[:, :, ::-1]
        elapsed = time.perf_counter() - start
        before = cv2.resize(image, (after.shape[1], after.shape[0]), interpolation=cv2.INTER_CUBIC)
        size = f"{image.shape[1]} x {image.shape[0]}", f"{after.shape[1]} x {after.shape[0]}"
        return Analysis(before, after, [["pixels", *size]], ("", "before", "after"), 1e3 * elapsed)
    (sample,) = api.predict(model, bgr)
    elapsed = time.perf_counter() - start
    after = draw_on_image(image, sample, model.dataset_meta, "pred", score_thr)
    header, rows = _table(sample, model.dataset_meta.get("classes") or (), score_thr)
    return Analysis(image, after, rows, header, 1e3 * elapsed)


def _table(
    sample: DataSample, classes: Sequence[str], score_thr: float
) -> tuple[tuple[str, str, str], list[list[str]]]:
    def name(label: int) -> str:
        return classes[label] if label < len(classes) else str(label)

    if "pred_score" in sample:
        best, order = sample.pred_score.topk(min(5, len(sample.pred_score)))
        rows = [[name(int(label)), f"{score:.1%}", ""] for score, label in zip(best.tolist(), order, strict=True)]
        return ("class", "probability", ""), rows
    if "pred_instances" in sample:
        found = sample.pred_instances[sample.pred_instances.scores >= score_thr]
        each = zip(found.labels.tolist(), found.scores.tolist(), found.bboxes.round().int().tolist(), strict=True)
        return ("class", "score", "box"), [[name(a), f"{b:.2f}", ", ".join(map(str, c))] for a, b, c in each]
    if "pred_sem_seg" in sample:
        labels, counts = sample.pred_sem_seg.data.unique(return_counts=True)
        pairs = sorted(zip(counts.tolist(), labels.tolist(), strict=True), reverse=True)
        total = sum(counts.tolist())
        return ("class", "share of pixels", ""), [[name(b), f"{a / total:.1%}", ""] for a, b in pairs]
    return ("", "", ""), []


class Models:
    """Models by name, each built when it is first asked for.

    Args:
        words: ``MODEL`` or ``MODEL=CHECKPOINT``: a config or a network's name, and its weights.
        device: Of all.

    Raises:
        ConfigError: If there is no word, or two name the same model.
    """

    def __init__(self, words: Sequence[str], device: str | None = None) -> None:
        pairs = [(model, checkpoint or None) for model, _, checkpoint in (word.partition("=") for word in words)]
        self._sources = {Path(model).stem: (model, checkpoint) for model, checkpoint in pairs}
        if not pairs or len(self._sources) != len(pairs):
            raise ConfigError(f"foveal app takes models of different names, MODEL or MODEL=CHECKPOINT, got {words}")
        self._device = device
        self._built: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """The names to choose from."""
        return list(self._sources)

    def __getitem__(self, name: str) -> Any:
        """The model of a name."""
        with self._lock:
            if name not in self._built:
                self._built[name] = api.init_model(*self._sources[name], self._device)
            return self._built[name]


def build_app(models: Models) -> Any:
    """Return the page, a ``gradio.Blocks``.

    Raises:
        ConfigError: If gradio is not installed.
    """
    try:
        import gradio
    except ImportError as error:
        raise ConfigError("the web page needs the package gradio: pip install 'foveal[app]'") from error

    def run(name: str, image: np.ndarray | None, score_thr: float) -> tuple[Any, Any, str]:
        if image is None:
            raise gradio.Error("Drop a picture first.")
        if max(image.shape[:2]) > LARGEST:
            raise gradio.Error(f"The picture has more than {LARGEST} pixels on a side.")
        found = analyse(models[name], image, score_thr)
        table = {"headers": list(found.header), "data": found.rows}
        return (found.before, found.after), table, f"{found.milliseconds:.0f} ms"

    with gradio.Blocks(title="Foveal", analytics_enabled=False) as page:
        gradio.Markdown("# Foveal\nChoose a model, drop a picture, move the line between before and after.")
        with gradio.Row():
            with gradio.Column():
                name = gradio.Dropdown(models.names, value=models.names[0], label="Model")
                image = gradio.Image(type="numpy", image_mode="RGB", label="Picture")
                threshold = gradio.Slider(0, 1, 0.3, step=0.05, label="Least score of an object")
                button = gradio.Button("Run", variant="primary")
            with gradio.Column():
                result = gradio.ImageSlider(label="Before and after")
                took = gradio.Textbox(label="Time")
                table = gradio.Dataframe(label="Found", interactive=False)
        button.click(run, [name, image, threshold], [result, table, took], api_name="run")
    return page
