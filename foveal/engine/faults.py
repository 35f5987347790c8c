"""What the system does to a run, as one sentence: processes that are killed, memory and disks that are full."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from foveal.errors import ConfigError, SystemFault

SHARED_MEMORY = "/dev/shm"
# exit codes of a worker that could not hand over a batch: the system's doing (EX_OSERR), or the batch's (EX_SOFTWARE)
NOT_SENT, NOT_PICKLED = 71, 70
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what torch says of a dead data worker, and the system of a full disk, into a sentence.

    Raises:
        SystemFault: In place of such a RuntimeError or OSError.
    """
    try:
        yield
    except RuntimeError as error:
        sentence = _of_a_worker(error)
        if sentence is None:
            raise
        raise SystemFault(sentence) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise SystemFault(f"cannot write {error.filename or 'a file of the run'}: {error.strerror}") from error


def check_writable(folder: str | Path) -> None:
    """Make a run's folder, and see that files can be written there, before anything is computed.

    Raises:
        ConfigError: If not; names the folder and the system's reason.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"work_dir {folder} cannot be written: {error.strerror or error}") from error


def start_worker(inner: Callable[[int], None] | None, number: int) -> None:
    """Begin a data worker, so that a batch that it cannot hand over ends it.

    Batches are sent by a thread that prints an error and goes on: the run would wait for that batch for ever.

    Args:
        inner: What a worker begins with beside this.
        number: The worker's.
    """
    Queue._on_queue_feeder_error = staticmethod(_end_worker)  # type: ignore[attr-defined]
    if inner is not None:
        inner(number)


def _end_worker(error: Exception, batch: Any) -> None:
    sys.stderr.write(f"data worker {os.getpid()}: {error}\n")
    sys.stderr.flush()
    full = any(words in str(error) for words in ("shared memory", "No space left", "Bus error"))
    os._exit(NOT_SENT if full else NOT_PICKLED)


def _of_a_worker(error: RuntimeError) -> str | None:
    """The sentence for a data worker that is no more, else None."""
    if "DataLoader worker" not in str(error) or "Caught " in str(error):
        return None
    number, code = _first_dead(error)
    which = f"a data worker (process {number})"
    if code in (NOT_SENT, -signal.SIGBUS):
        return f"{which} could not hand over a batch: {_shared_memory()}"
    if code == -signal.SIGKILL:
        return (
            f"{which} was killed, as a system does whose memory is full: lower num_workers or batch_size of the "
            "dataloader"
        )
    how = "unexpectedly" if code is None else f"with exit code {code}"
    return f"{which} ended {how}; num_workers=0 reads the data in this process and shows why"


def _first_dead(error: RuntimeError) -> tuple[str, int | None]:
    """Number and exit code of a worker that ended: of the loader's process, else as torch's message has them."""
    for worker in _workers(error):
        if worker.exitcode not in (None, 0):
            return str(worker.pid), worker.exitcode
    number = re.search(r"pid\D*(\d+)", str(error))
    code = re.search(r"exit code (\d+)", str(error))
    return number[1] if number else "unknown", int(code[1]) if code else None


def _workers(error: BaseException) -> list[Any]:
    """The processes of the loader that an error comes from."""
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, _MultiProcessingDataLoaderIter):
            workers = list(owner._workers)
            for worker in workers:
                worker.join(1)  # it is known to have ended; its exit code may not be
            return workers
        trace = trace.tb_next
    return []


def _shared_memory() -> str:
    free = shutil.disk_usage(SHARED_MEMORY).free // 2**20 if os.path.isdir(SHARED_MEMORY) else 0
    return (
        f"{SHARED_MEMORY}, through which batches go, has {free} MiB left; enlarge it (docker run --shm-size=8g), or "
        "lower num_workers or batch_size of the dataloader"
    )
