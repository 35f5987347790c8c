"""The index as text: lines for the command line, tables for model_zoo.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any

from foveal.errors import DataError
from foveal.zoo.index import Weight, list_weights

BEGIN = "<!-- begin: made by `foveal zoo table --write` from foveal/zoo/index -->"
END = "<!-- end of what is made from foveal/zoo/index -->"


def weight_lines(weights: list[Weight]) -> list[str]:
    """Return a line for each entry: name, arch, task, data, scores and what is counted."""
    cells = [
        (w.name, w.arch, w.task, w.data, _scores(w) or "-", f"{w.params['counted'] / 1e6:.1f}M params") for w in weights
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def describe_weight(weight: Weight) -> list[str]:
    """Return what is known of an entry, a line a field; the address where a program gets the file is the last one."""
    pairs = [(f.name, getattr(weight, f.name)) for f in fields(weight)]
    lines = [f"{name}: {_plain(value)}" for name, value in pairs if value is not None and value != {} and value != ""]
    if weight.bytes is None:
        lines.append(f"bytes: not published; the parameters counted take {weight.params['counted'] * 4 / 1e6:.1f} MB")
    address = weight.address or "none for a program; open url or page in a browser"
    return [*lines, f"address: {address}{', which is no more' if weight.unreachable else ''}"]


def zoo_tables() -> str:
    """Return the tables of model_zoo.md, between their two marks."""
    parts = [BEGIN, *_introduction()]
    for family, group in groupby(list_weights(), key=lambda weight: weight.family):
        parts += _family_tables(family, list(group))
    return "\n".join([*parts, END])


def update_page(path: Path, write: bool) -> bool:
    """Compare the tables in a page with the index, and put the right ones there if asked to.

    Args:
        path: A Markdown file with the two marks.
        write: Replace what is between them.

    Returns:
        Whether the page was current.

    Raises:
        DataError: If the file is missing or has no marks.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"{path} is no page with the lines {BEGIN} and {END}, between which the tables go")
    wanted = f"{before}{zoo_tables()}{after}"
    if write and wanted != text:
        path.write_text(wanted, encoding="utf-8")
    return wanted == text


def _introduction() -> Iterator[str]:
    weights = list_weights()
    yield "\n## Released weights\n"
    families = len({weight.family for weight in weights})
    yield (
        f"{len(weights)} files of {families} families, for networks of `foveal.list_backbones()` and\n"
        "`foveal.list_restorers()`, as their authors (of ResNet and MobileNetV2: torchvision) have released them.\n"
        "`foveal zoo list` and `foveal zoo info NAME` show the same. [docs/backbones.md](docs/backbones.md) and\n"
        "[docs/restoration.md](docs/restoration.md) describe the families.\n\n"
        "*Printed* is what the source prints, to its digits. *Counted* is what our network has: parameters, and\n"
        "multiply-accumulates for one image of the size given (`foveal.zoo.flops.count_macs`), which the papers call\n"
        "FLOPs. Scores are the published ones: none has been measured here yet.\n\n"
        "Where a config is named, the whole model is built by its name: `foveal.init_model(name, file)`.\n"
        "The whole models of mmdet and mmseg were published at download.openmmlab.com, which is no more. Their\n"
        "entries keep the name of the file and the first digits of its SHA-256: `foveal zoo info NAME`, and give\n"
        "the path of a "
        "copy as checkpoint."
    )


def _family_tables(family: str, weights: list[Weight]) -> Iterator[str]:
    first = weights[0]
    at = f" at {first.commit[:7]}" if first.commit else ""
    source = f"[{first.repository.partition('//')[2]}]({first.repository})"
    yield f"\n### {family}\n\nSource: {source}{at}. Licence: {first.licence}.\n"
    classifiers = [w for w in weights if w.task == "classification"]
    if classifiers:
        yield "| File | Network | Data | Size | Params printed | counted | FLOPs printed | counted | Top-1 |"
        yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for w in classifiers:
        cells = [_link(w), _network(w), w.data, w.size, w.params.get("printed"), _counted(w)]
        cells += [w.flops.get("printed"), _counted(w, w.flops, 1e9, "G"), w.metrics.get("top-1")]
        yield _row(cells)
    whole = [w for w in weights if w.config is not None]
    if whole:
        yield "\n| Name for `foveal.init_model` | Config, and what differs | Data | Params printed | counted | Scores |"
        yield "| --- | --- | --- | --- | --- | --- |"
    for w in whole:
        name = f"`{w.name}`" if w.unreachable else _link(w)
        yield _row([name, _config(w), w.data, w.params.get("printed"), _counted(w), _scores(w)])
    others = [w for w in weights if w.task != "classification" and w.config is None]
    if others:
        whose = "Params" if all(w.task == "restoration" for w in others) else "Backbone's params"
        yield f"\n| File | Network | For | Method | Data | {whose} counted | Scores |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for w in others:
            yield _row([_link(w), _network(w), w.task, w.method, w.data, _counted(w), _scores(w)])
    notes = {w.note: [v.name for v in weights if v.note == w.note] for w in weights if w.note}
    if notes:
        yield ""
    for note, names in notes.items():
        yield f"- {', '.join(f'`{name}`' for name in names)}: {note}"


def _counted(weight: Weight, counts: dict[str, Any] | None = None, unit: float = 1e6, letter: str = "M") -> str:
    """What is counted, by default the parameters in millions, and of which other form the printed figure is."""
    counts = weight.params if counts is None else counts
    text = f"{counts['counted'] / unit:.2f}{letter}"
    other = counts.get("counted_for_printed")
    if other is None:
        return text
    form = "fused, no auxiliary head" if "model.auxiliary_head" in weight.printed_for else "fused"
    return f"{text} ({other / unit:.2f}{letter} {form})"


def _link(weight: Weight) -> str:
    hub = f" ([hub]({weight.address}))" if weight.hub else ""
    if weight.url is None:
        return f"`{weight.name}` ([folder]({weight.page})){hub}"
    return f"[`{weight.name}`]({weight.url}){hub}"


def _network(weight: Weight) -> str:
    arguments = "".join(f", {key}={value!r}" for key, value in weight.arguments.items())
    return f"`{weight.arch}{arguments}`"


def _config(weight: Weight) -> str:
    changes = "".join(f", `{key.rpartition('.')[2]}`" for key in weight.options)
    return f"`{weight.config}`{changes}"


def _scores(weight: Weight) -> str:
    return ", ".join(f"{name} {value}" for name, value in weight.metrics.items() if value is not None)


def _row(cells: list[object]) -> str:
    return "| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"


def _plain(value: object) -> str:
    return ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
