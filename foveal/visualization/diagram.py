"""A model as a picture: its parts in the order in which they run, with the shapes that come out and the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

ROW = 22
NAME, SHAPE, BAR, WIDTH = 16, 360, 560, 860
COLOURS = ("#3f51b5", "#00897b", "#e65100", "#8e24aa", "#546e7a")
# with less of the parameters, a part is drawn with the one before
LEAST = 0.002


@dataclass
class Part:
    """A module that runs as a whole.

    Args:
        component: Of the model: ``backbone``; empty: the model is one network.
        name: Path within the component: ``stages.0``.
        kind: Class of the component.
        shape: Of the first tensor that comes out, without the batch.
        calls: How often it runs, for heads that several levels share.
        params: Parameters.
    """

    component: str
    name: str
    kind: str
    shape: tuple[int, ...]
    calls: int
    params: int


def model_parts(model: nn.Module, inputs: Any, **options: Any) -> list[Part]:
    """Run a model and return its parts in the order of their first run.

    Args:
        model: A network, or a detector, segmentor or restorer, whose components are drawn apart.
        inputs: What it takes first.
        **options: What it takes beside.
    """
    found: dict[str, tuple[tuple[int, ...], int]] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, taken: Any, given: Any) -> None:
            shape, calls = found.get(name, (_shape(given), 0))
            found[name] = (shape, calls + 1)

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    mode = model.training
    try:
        with torch.no_grad():
            model.eval()(inputs, **options)
    finally:
        model.train(mode)
        for hook in hooks:
            hook.remove()
    whole = [(name, child) for name, child in model.named_children() if _counted(child)]
    has_components = hasattr(model, "data_preprocessor")
    parts = []
    for component, child in whole if has_components else [("", model)]:
        for name, module in _running(child, component, found, top=True):
            shape, calls = found[name]
            inner = name.removeprefix(component).lstrip(".")
            parts.append(Part(component, inner, type(child).__name__, shape, calls, _counted(module)))
    order = {name: place for place, name in enumerate(found)}
    parts.sort(key=lambda part: order[".".join(filter(None, (part.component, part.name)))])
    first = {part.component: place for place, part in reversed(list(enumerate(parts)))}
    parts.sort(key=lambda part: first[part.component])
    least = LEAST * _counted(model)
    return list(_folded(_folded(parts, _is_next), lambda _, part: part.params < least))


def draw_model(title: str, parts: Sequence[Part]) -> str:
    """Return a picture of a model's parts, SVG.

    Args:
        title: First line.
        parts: See `model_parts`.
    """
    total, largest = sum(part.params for part in parts), max(part.params for part in parts)
    lines, y, last, number = [_text(NAME, 24, f"{title}: {_count(total)} parameters", weight="bold")], 40, None, -1
    for part in parts:
        if part.component != last:
            last, number = part.component, number + 1
            own = sum(other.params for other in parts if other.component == last)
            colour = COLOURS[number % len(COLOURS)]
            if last:
                lines.append(f'<rect x="8" y="{y + 4}" width="{WIDTH - 16}" height="{ROW}" fill="{colour}"/>')
                label = f"{part.component}: {part.kind}, {_count(own)}"
                lines.append(_text(NAME, y + 20, label, "white", "bold"))
                y += ROW + 6
        colour = COLOURS[number % len(COLOURS)]
        shape = " × ".join(map(str, part.shape)) or "—"
        times = f", {part.calls} times" if part.calls > 1 else ""
        width = max(1, round((WIDTH - BAR - 110) * part.params / largest))
        lines.append(_text(NAME, y + 16, part.name or part.kind))
        lines.append(_text(SHAPE, y + 16, shape + times))
        lines.append(f'<rect x="{BAR}" y="{y + 5}" width="{width}" height="13" fill="{colour}" fill-opacity="0.6"/>')
        lines.append(_text(BAR + width + 6, y + 16, _count(part.params)))
        y += ROW
    y += 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">'
    ground = f'<rect width="{WIDTH}" height="{y}" fill="white"/>'
    return "\n".join([head, ground, *lines, "</svg>\n"])


def _running(module: nn.Module, name: str, found: dict[str, Any], top: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that ran and have parameters, below a component or the model itself."""
    inner = [(f"{name}.{key}" if name else key, child) for key, child in module.named_children()]
    below = [found_one for key, child in inner for found_one in _running(child, key, found)]
    if name in found and (not top or not below):
        if _counted(module):
            yield name, module
        return
    yield from below


def _folded(parts: Iterable[Part], joins: Callable[[Part, Part], bool]) -> Iterator[Part]:
    """Add the parameters of a part to the one before, of the same component, where ``joins`` says so."""
    kept: Part | None = None
    for part in parts:
        if kept is not None and part.component == kept.component and joins(kept, part):
            kept.params += part.params
            continue
        if kept is not None:
            yield kept
        kept = part
    if kept is not None:
        yield kept


def _is_next(kept: Part, part: Part) -> bool:
    """Whether a part goes on with the list of the one before, in the same shape; the name then tells where it ends."""
    first = kept.name.partition(" … ")[0]
    series, _, last = part.name.rpartition(".")
    if not series or series != first.rpartition(".")[0] or part.shape != kept.shape:
        return False
    kept.name = f"{first} … {last}"
    return True


def _counted(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def _shape(given: Any) -> tuple[int, ...]:
    """Of the first tensor in what a module gives, without the batch."""
    while isinstance(given, (tuple, list, dict)) and given:
        given = next(iter(given.values())) if isinstance(given, dict) else given[0]
    return tuple(given.shape[1:]) if isinstance(given, Tensor) else ()


def _count(params: int) -> str:
    return f"{params / 1e6:.2f} M" if params >= 1e5 else f"{params / 1e3:.1f} K"


def _text(x: int, y: int, text: str, fill: str = "#222", weight: str = "normal") -> str:
    style = f'font-family="monospace" font-size="13" font-weight="{weight}" fill="{fill}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>'
