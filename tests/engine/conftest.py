import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).resolve().parent
# imports take longer than the commands: a server imports once, and each command is a process forked from it
FORKS = multiprocessing.get_context("forkserver")


@pytest.fixture
def foveal_process(tmp_path_factory, monkeypatch):
    """Start ``foveal …`` in a process of its own, where tests/engine/toy.py can be imported; its output is in files."""
    path = [str(HERE), str(HERE.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))  # the server does not take over sys.path
    monkeypatch.syspath_prepend(str(HERE))
    FORKS.set_forkserver_preload(["command"])
    import command

    def start(*words):
        out, err = (tmp_path_factory.mktemp("command") / name for name in ("stdout", "stderr"))
        process = FORKS.Process(target=command.run, args=([*map(str, words)], out, err, dict(os.environ)))
        process.start()
        return process, out, err

    return start


@pytest.fixture
def foveal_command(foveal_process):
    """Run ``foveal …`` to its end."""

    def run(*words, expect=0):
        process, out, err = foveal_process(*words)
        process.join(300)
        if process.is_alive():
            process.kill()
        done = SimpleNamespace(returncode=process.exitcode, stdout=out.read_text(), stderr=err.read_text())
        assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def toy_config():
    return HERE / "toy_config.py"
