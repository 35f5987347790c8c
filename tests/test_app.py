"""The web page: what it shows, and that a browser shows it."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import foveal
from foveal.app import Models, analyse, build_app
from foveal.cli import main
from foveal.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "demo/images/000000000030.jpg"


@pytest.fixture
def photo():
    return np.ascontiguousarray(cv2.resize(cv2.imread(str(PHOTO)), (96, 64))[:, :, ::-1])


@pytest.mark.parametrize(
    ("name", "scale", "header"),
    [
        ("configs/demo/detector.py", 1, ("class", "score", "box")),
        ("configs/demo/segmentor.py", 1, ("class", "share of pixels", "")),
        ("edsr_baseline_x2", 2, ("", "before", "after")),
        ("shvit_s1", 1, ("class", "probability", "")),
    ],
)
def test_every_task_is_shown(name, scale, header, photo, monkeypatch):
    monkeypatch.chdir(ROOT)
    model = foveal.init_model(name, device="cpu")
    if hasattr(model, "bbox_head"):
        model.bbox_head.test_cfg["score_thr"] = 0.0
    found = analyse(model, photo, 0.0)
    assert found.before.shape == found.after.shape == (64 * scale, 96 * scale, 3)
    assert found.before.dtype == found.after.dtype == np.uint8
    assert found.header == header
    assert len(found.rows) >= 1 and all(len(row) == 3 for row in found.rows)
    assert found.milliseconds > 0
    if "detector" in name:
        assert (found.after != found.before).any()
        assert [float(row[1]) for row in found.rows] == sorted((float(row[1]) for row in found.rows), reverse=True)
        assert analyse(model, photo, 1.0).rows == []


def test_models_are_built_once_when_asked_for():
    models = Models(["edsr_baseline_x2", "configs/demo/detector.py=none.pth"], "cpu")
    assert models.names == ["edsr_baseline_x2", "detector"]
    assert models["edsr_baseline_x2"] is models["edsr_baseline_x2"]
    with pytest.raises(foveal.errors.CheckpointError, match=r"none\.pth does not exist"):
        models["detector"]
    with pytest.raises(ConfigError, match="models of different names"):
        Models(["a=1.pth", "a=2.pth"])


def test_without_gradio_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    with pytest.raises(SystemExit) as exit_:
        main(["app", "edsr_baseline_x2"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "foveal: the web page needs the package gradio: pip install 'foveal[app]'\n"


@pytest.fixture
def page(monkeypatch):
    pytest.importorskip("gradio", reason="needs gradio: pip install 'foveal[app]'")
    monkeypatch.chdir(ROOT)
    page = build_app(Models(["edsr_baseline_x2", "configs/demo/segmentor.py"], "cpu"))
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", share=False)
    yield address
    page.close()


def test_the_page_answers(page, tmp_path, photo):
    from gradio_client import Client, handle_file

    cv2.imwrite(str(tmp_path / "x.png"), photo[:, :, ::-1])
    client = Client(page, verbose=False)
    picture = handle_file(tmp_path / "x.png")
    (before, after), table, took = client.predict("edsr_baseline_x2", picture, 0.3, api_name="/run")
    assert cv2.imread(str(before)).shape == cv2.imread(str(after)).shape == (128, 192, 3)
    assert table["data"] == [["pixels", "96 x 64", "192 x 128"]]
    assert took.endswith(" ms")


def test_a_browser_shows_it(page, tmp_path, photo):
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright and Chromium")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs playwright and Chromium")
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(page)
        tab.get_by_label("Model").first.wait_for()
        cv2.imwrite(str(tmp_path / "x.png"), photo[:, :, ::-1])
        tab.set_input_files("input[type=file]", str(tmp_path / "x.png"))
        tab.locator("img").first.wait_for()
        tab.get_by_role("button", name="Run").click()
        tab.wait_for_function("[...document.querySelectorAll('textarea, input')].some(e => / ms$/.test(e.value))")
        large = "[...document.querySelectorAll('img')].filter(e => e.naturalWidth == 192 && e.naturalHeight == 128)"
        tab.wait_for_function(f"{large}.length >= 2")  # before and after
        tab.screenshot(path=str(tmp_path / "app.png"), full_page=True)
        browser.close()
    assert cv2.imread(str(tmp_path / "app.png")).std() > 10
