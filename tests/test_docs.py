"""The documentation is true: its commands and its Python run, its links lead somewhere, its lists are complete.

A block that cannot run here has ``<!-- not run: why -->`` before it; it is parsed, and its imports are resolved. A
Python block whose first line is ``# name.py`` is a file that the reader saves. Training is cut to a few iterations.
"""

import ast
import importlib
import inspect
import re
import runpy
import shlex
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from foveal.backbones.catalog import CATALOG
from foveal.cli import _parser, main
from foveal.config import load_config
from foveal.config.load import find_config
from foveal.registry import DATASETS, MODELS, TRANSFORMS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# pages that go on where the one before has stopped, in one folder
GROUPS = (("docs/tour.md", "docs/checkpoints.md"), ("docs/config.md", "docs/data_formats.md"))
SHORT = {
    "train": ("train_cfg.max_iters={iterations}", "train_dataloader.batch_size=2", "val_dataloader.dataset.indices=2"),
    "test": ("test_dataloader.dataset.indices=2",),
}
OTHER_PROGRAMS = ("pip", "python", "pre-commit")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    runs: bool


def blocks(page):
    found = re.findall(r"^(<!-- not run: .+? -->\n)?```(\w+)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(language, text, not mark) for mark, language, text in found]


def groups():
    grouped = {name for group in GROUPS for name in group}
    single = [(str(page.relative_to(ROOT)),) for page in PAGES if str(page.relative_to(ROOT)) not in grouped]
    return [*GROUPS, *single]


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Where the reader is: a checkout, whose own files are not to be touched."""
    for name in ("configs", "demo", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("pages", groups(), ids=lambda pages: "+".join(pages))
def test_what_a_page_says_works(pages, reader, capsys):
    for page in pages:
        for block in blocks(ROOT / page):
            if block.language == "python":
                follow_python(block, reader)
            elif block.language == "bash":
                text = block.text.replace("\\\n", " ")
                for line in filter(None, (line.partition(" #")[0].strip() for line in text.splitlines())):
                    if not line.startswith("#"):
                        follow_command(line, block.runs, capsys)
            else:
                pytest.fail(f"{page}: a block of {block.language!r}; expected bash or python")


def follow_python(block, folder):
    name = re.match(r"# (\w+\.py)\n", block.text)
    if name:
        path = folder / name[1]
        path.write_text(block.text)
        if "_base_" in block.text:
            MODELS.build(load_config(path).model)
        return
    code = compile(block.text, "block", "exec")
    if block.runs:
        exec(code, {"__name__": "docs"})
        return
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Import):
            for imported in node.names:
                importlib.import_module(imported.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, imported.name) for imported in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "foveal":
            assert hasattr(importlib.import_module("foveal"), node.attr)


def follow_command(line, runs, capsys):
    words = shlex.split(line)
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    program = Path(words[0]).name
    script = next((word for word in words if word.endswith(".py") and program in ("python", "torchrun", "srun")), None)
    if program == "foveal":
        run(words[1:], runs, capsys)
    elif words[0] == "tools/dist_train.sh":
        assert (ROOT / words[0]).is_file() and words[2].isdigit(), line
        parsed(["train", words[1], *words[3:]])
    elif script and script.startswith("tools/"):
        assert (ROOT / script).is_file(), line
        if script in ("tools/train.py", "tools/test.py", "tools/predict.py", "tools/export.py"):
            parsed([Path(script).stem, *words[words.index(script) + 1 :]])
    elif script and runs:
        runpy.run_path(script, run_name="__main__")
    elif script:
        assert (ROOT / script).is_file(), line
    elif program == "make":
        targets = [word for word in words[1:] if "=" not in word]
        assert all(re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in targets), line
    else:
        assert program in OTHER_PROGRAMS, line
        for extra in re.findall(r"\.\[(\w+)\]", line):
            assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE), line


def parsed(words):
    try:
        arguments = _parser().parse_args(words)
    except SystemExit:
        pytest.fail(f"foveal {shlex.join(words)}: the parser refuses it")
    if "config" in arguments:
        find_config(arguments.config)
    return arguments


def run(words, runs, capsys):
    arguments: Namespace = parsed(words)
    if not runs:
        return
    if arguments.command in SHORT:
        options = SHORT[arguments.command]
        iterations = 3 if "--resume" in words else 2
        words = [*words, "--cfg-options", *(option.format(iterations=iterations) for option in options)]
    try:
        main(words)
    except SystemExit:
        pytest.fail(f"foveal {shlex.join(words)}: {capsys.readouterr().err}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not link.startswith(("https://", "http://", "<")):
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize("registry", [DATASETS, TRANSFORMS], ids=lambda registry: registry.name)
def test_every_dataset_and_transform_is_described(registry):
    registry.import_from_location()
    names = [name for name, kind in registry.module_dict.items() if kind.__module__.startswith("foveal.")]
    page = (ROOT / "docs" / "data_formats.md").read_text()
    assert names and [name for name in names if f"`{name}`" not in page] == []


def test_every_dependency_is_explained_with_its_bound():
    page = (ROOT / "docs" / "dependencies.md").read_text()
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    for name, bound in re.findall(r'^    "([\w-]+)([^"]*)"', listed[1], re.MULTILINE):
        rows = [line for line in page.splitlines() if line.startswith("|") and name in re.split(r"[|,]\s*| \|", line)]
        assert rows and bound in rows[0], (name, bound)


def test_what_the_zoo_lists_is_there():
    MODELS.import_from_location()
    table = re.search(r"^\| Task.*?\n\n", (ROOT / "model_zoo.md").read_text(), re.DOTALL | re.MULTILINE)[0]
    assert [name for name in re.findall(r"`(\w+)`", table) if name not in MODELS.module_dict] == []


def test_every_backbone_is_described():
    MODELS.import_from_location()
    page = (ROOT / "docs" / "backbones.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.count(" | ") == 6 and line.startswith("| `")]
    described = {(row[0].strip("| `"), name) for row in rows for pattern in row[1].split() for name in braces(pattern)}
    assert described == {(variant.backbone["type"], name) for name, variant in CATALOG.items()}
    for row in rows:
        kind = MODELS.get(row[0].strip("| `"))
        name = next(name for kind_name, name in described if kind_name == kind.__name__)
        assert row[4] == ", ".join(map(str, create_on_meta(name).out_strides)), name
    options_table = page.partition("## Options")[2]
    for options, owners, _ in re.findall(r"^\| (`.+?`) \| (.+?) \| (.+?) \|$", options_table, re.MULTILINE):
        takers = {kind for kind, _ in described if takes(kind, options.strip("`").split("`, `")[0])}
        assert set(re.findall(r"`(\w+)`", owners)) == takers, options


def braces(pattern):
    """`a_{b,c}` to a_b and a_c, as a shell does."""
    head, brace, rest = pattern.strip("`").partition("{")
    inner, _, tail = rest.partition("}")
    return [head + word + end for word in inner.split(",") for end in braces(tail)] if brace else [head]


def create_on_meta(name):
    with torch.device("meta"):
        return MODELS.build(dict(CATALOG[name].backbone))


def takes(kind, option):
    return option in inspect.signature(MODELS.get(kind)).parameters
