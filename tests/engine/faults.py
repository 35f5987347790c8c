"""Things that go wrong in the middle of a run, made to order."""

import os
import resource
import signal
import time

from mmengine.hooks import Hook
from torch.utils.data import get_worker_info

from foveal.registry import HOOKS, TRANSFORMS


@TRANSFORMS.register_module()
class DyingWorker:
    """A data worker that is killed at its second image, as by a system that is out of memory.

    Args:
        signal: Its name; ``SIGBUS`` is what a worker gets that writes to a full /dev/shm.
    """

    def __init__(self, signal="SIGKILL"):
        self.signal = signal
        self.seen = 0

    def __call__(self, results):
        self.seen += 1
        if get_worker_info() is not None and self.seen == 2:
            os.kill(os.getpid(), getattr(signal, self.signal))
            time.sleep(60)
        return results


@TRANSFORMS.register_module()
class Unsendable:
    """Makes a batch that no process can give to another."""

    def __call__(self, results):
        results["data_samples"].set_metainfo({"reader": lambda: None})
        return results


@HOOKS.register_module()
class FaultHook(Hook):
    """Does something to the process after an iteration.

    Args:
        what: ``full``: files can grow no more. ``jump``: the clock is set back by an hour, and after the next iteration
            forward by two.
        at: Iteration, from 1.
    """

    priority = "VERY_HIGH"

    def __init__(self, what, at):
        self.what = what
        self.at = at
        self.clock = time.time

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        done = runner.iter + 1
        if self.what == "full" and done == self.at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        if self.what == "jump" and done in (self.at, self.at + 1):
            ahead = -3600 if done == self.at else 3600
            time.time = lambda: self.clock() + ahead
