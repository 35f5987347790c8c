"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import importlib.util
import logging
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmengine.logging import MMLogger

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("FOVEAL_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with development data that may not be redistributed; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the development data folder {SHARED} (set FOVEAL_SHARED)")
    return SHARED


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _closed_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """mmengine's logger keeps the captured output of an earlier test, which is closed by now; let it not complain."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    # a web server that an earlier test started has closed the log files of all others, and mmengine writes to them
    for logger in MMLogger._instance_dict.values():
        for handler in [h for h in logger.handlers if isinstance(h, logging.FileHandler) and h.stream is None]:
            logger.removeHandler(handler)


@pytest.fixture(scope="session")
def recipe() -> ModuleType:
    """tests/reference/recipe.py: deterministic weights and inputs for the reference fixtures."""
    spec = importlib.util.spec_from_file_location("reference_recipe", ROOT / "tests" / "reference" / "recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
