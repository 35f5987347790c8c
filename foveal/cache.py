"""The folder of what is downloaded or built, and one process at a time in it. Python's own library alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def home() -> Path:
    """Return the folder of everything that is downloaded or built: ``$FOVEAL_HOME``, else ~/.cache/foveal."""
    return Path(os.environ.get("FOVEAL_HOME", "~/.cache/foveal")).expanduser()


@contextlib.contextmanager
def alone_with(target: Path) -> Iterator[None]:
    """Let one process make a file while the others wait, by a lock in ``<target>.lock``, which stays.

    On Windows, which has no such lock, two may make it at once; both rename a whole file into its place.

    Args:
        target: The file; its folder exists.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(target.with_name(target.name + ".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
