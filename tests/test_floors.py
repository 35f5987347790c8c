"""The house has floors: a folder imports only what is below it, and a head never a backbone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = [
    {"cache", "interrupt"},
    {"ops", "errors"},
    {"registry", "layers", "structures"},
    {"data", "evaluation", "backbones", "necks", "heads"},
    {"config", "models", "engine", "zoo"},
    {"visualization", "export", "video"},
    {"api", "doctor", "restoration"},
    {"inference", "app"},
    {"cli"},
    {"tools"},
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
# on one floor, who may use whom
SIDEWAYS = {
    ("evaluation", "data"),
    ("models", "engine"),
    ("engine", "config"),
    ("engine", "models"),
    ("zoo", "models"),
    ("zoo", "engine"),
    ("zoo", "config"),
}


def python_files():
    for folder in ("foveal", "backbones", "necks", "heads", "ops", "tools"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def part(path: Path) -> str:
    inside = path.relative_to(ROOT)
    parts = inside.parts[1:] if inside.parts[0] == "foveal" else inside.parts
    return parts[0].removesuffix(".py")


def imported_parts(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "foveal" else [f"foveal.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("foveal."):
                yield name.split(".")[1], node.lineno


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    own = part(path)
    if own == "__init__":
        return
    assert own in FLOOR, f"{own} has no floor: add it to FLOORS"
    for other, line in imported_parts(path):
        if other == own or other == "__version__":
            continue
        assert other in FLOOR, f"{path}:{line} imports foveal.{other}, which has no floor"
        below = FLOOR[other] < FLOOR[own] or (own, other) in SIDEWAYS
        assert below, f"{path}:{line}: {own} (floor {FLOOR[own]}) imports {other} (floor {FLOOR[other]})"


def test_nothing_is_imported_twice():
    """A folder imported by its bare name and as foveal.<name> would register everything twice."""
    import importlib
    import sys

    for name in ("backbones", "necks", "heads", "models", "data", "engine", "evaluation", "visualization"):
        importlib.import_module(f"foveal.{name}")
    by_file = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve().is_relative_to(ROOT) and not {"tests", "site-packages"} & {*Path(file).parts}:
            by_file.setdefault(file, set()).add(name)
    assert not {file: names for file, names in by_file.items() if len(names) > 1}


def test_a_registered_class_is_near_its_framework():
    """At most one class of ours stands between a registered model class and torch's or mmengine's."""
    from foveal.registry import MODELS

    MODELS.import_from_location()
    for name, cls in MODELS.module_dict.items():
        if isinstance(cls, type):
            ours = [c.__name__ for c in cls.__mro__ if c.__module__.startswith("foveal")]
            assert len(ours) <= 2, f"{name}: {' -> '.join(ours)}"
