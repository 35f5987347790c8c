"""What Ctrl-C does to a command."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from typing import Any


class Interrupt:
    """Stops at Ctrl-C; a second one, while workers and files are being closed, ends the process there and then.

    So do ten seconds: an interrupt that comes while a callback of the interpreter runs is lost.
    """

    def __init__(self) -> None:
        self.came = False

    def install(self) -> None:
        """Be what Ctrl-C calls, in a process whose main thread this is."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self)

    def __call__(self, number: int, frame: Any) -> None:
        """Called by the system's signal."""
        self.came = True
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        os.write(2, b"\nfoveal: interrupted; once more ends it at once\n")
        _thread.start_new_thread(_end_after, (10,))  # threading's locks may be held by what was interrupted
        raise KeyboardInterrupt


def _end_after(seconds: float) -> None:
    time.sleep(seconds)
    os._exit(130)
