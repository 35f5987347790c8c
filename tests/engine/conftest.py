import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture
def foveal_command():
    """Run ``foveal …`` in a process of its own, where tests/engine/toy.py can be imported."""

    def run(*words, expect=0):
        root = HERE.parent.parent
        path = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, str(root), str(HERE)]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "foveal.cli", *map(str, words)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def toy_config():
    return HERE / "toy_config.py"
