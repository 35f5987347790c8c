"""What mkdocs cannot find under docs/: the pages beside it, and a reference of every component that a config names."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# of the registries' classes, and what a page is called; classes of other packages have their own documentation
PAGES = {
    "backbones": "Backbones",
    "necks": "Necks",
    "heads": "Heads, losses, assigners, coders",
    "models": "Models and whole networks",
    "ops": "Operators",
    "data": "Data sets, transforms, samplers",
    "evaluation": "Metrics",
    "engine": "Hooks, schedules, checkpoints",
    "visualization": "Visualisation",
}
PYTHON = (
    "foveal.api.init_model",
    "foveal.api.predict",
    "foveal.engine.checkpoint.load_checkpoint",
    "foveal.zoo.create.list_backbones",
    "foveal.zoo.create.create_backbone",
    "foveal.zoo.create.create_classifier",
    "foveal.zoo.restorers.list_restorers",
    "foveal.zoo.restorers.create_restorer",
    "foveal.restoration.restore",
    "foveal.restoration.restore_video",
    "foveal.export.export_model.export_model",
    "foveal.export.graph.ExportGraph",
    "foveal.export.runtime.load_exported",
    "foveal.export.runtime.ExportedModel",
    "foveal.export.timing.time_backends",
    "foveal.structures.data_sample.DataSample",
)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made here."""
    from mkdocs.structure.files import File

    pages = {name: (ROOT / name).read_text() for name in ("model_zoo.md", "CHANGELOG.md", "CONTRIBUTING.md")}
    pages["index.md"] = (ROOT / "docs" / "README.md").read_text()
    pages |= {f"notebooks/{path.stem}.md": notebook_page(path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    pages |= reference_pages()
    for name, text in pages.items():
        files.append(File.generated(config, name, content=_moved(text)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links out of docs/ into links to the pages that were added."""
    return _moved(markdown)


def _moved(text: str) -> str:
    return re.sub(r"\]\((?:\.\./|docs/)(\w+\.md)", r"](\1", text)


def reference_pages() -> dict[str, str]:
    """Return a page for each part of the package, with the arguments of every class in a registry."""
    from foveal import registry

    homes: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for found in (value for value in vars(registry).values() if isinstance(value, registry.Registry)):
        found.import_from_location()
        for kind in found.module_dict.values():
            parts = kind.__module__.split(".")
            if parts[0] == "foveal" and parts[1] in PAGES:
                homes[parts[1]].add((kind.__name__, f"{kind.__module__}.{kind.__qualname__}"))
    for name in _operators():
        homes["ops"].add((name.rpartition(".")[2], name))
    pages = {
        f"reference/{part}.md": _page(PAGES[part], [path for _, path in sorted(names)]) for part, names in homes.items()
    }
    return {"reference/python.md": _page("What a program calls", list(PYTHON)), **pages}


def _page(title: str, paths: list[str]) -> str:
    return "\n".join([f"# {title}", *(f"\n::: {path}" for path in paths)]) + "\n"


def _operators() -> list[str]:
    """The functions of foveal.ops, where they are written."""
    from foveal import ops

    named = [getattr(ops, name) for name in ops.__all__]
    return [f"{value.__module__}.{value.__qualname__}" for value in named if hasattr(value, "__qualname__")]


def notebook_page(path: Path) -> str:
    """Return a notebook as a page: its text, and its code in blocks."""
    cells = json.loads(path.read_text())["cells"]
    blocks = []
    for cell in cells:
        text = "".join(cell["source"])
        blocks.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(blocks) + "\n"
