"""The site builds without a warning, and has what the registries have; the notebooks run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# of what a notebook prints last
LAST = {"fine_tune": "boxes, the best score", "swap_backbones": "3 levels of scores"}


def test_the_site_builds_without_a_warning(tmp_path):
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "tools/typing_view.py"], cwd=ROOT, check=True)
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    run = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    heads = (tmp_path / "reference/heads/index.html").read_text()
    assert "foveal.heads.detection.retina_head.RetinaHead" in heads
    assert "Depth of the towers." in heads  # an argument's text
    assert "model_zoo" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch, capsys):
    for name in ("configs", "demo"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "notebook"}
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs")
        if cell["cell_type"] == "code":
            text = "".join(cell["source"]).replace("iterations = 30", "iterations = 3")
            exec(compile(text, str(path), "exec"), scope)
    assert LAST[path.stem] in capsys.readouterr().out.splitlines()[-1]
