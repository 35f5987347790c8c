"""A small cache for tensors that depend on the input's size alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

CAPACITY = 32  # multi-scale training meets hundreds of sizes: the oldest go


def level_sizes(maps: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    """Return (h, w) of each level as plain numbers; while a graph is exported they may be symbols, and stay so."""
    if torch.compiler.is_exporting():
        return tuple((h, w) for h, w in maps)
    return tuple((int(h), int(w)) for h, w in maps)


class SizeCache:
    """Keep the last values made, by key. A plain object: it can be pickled and deep-copied with its owner."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the value kept under ``key``; call ``make`` for it the first time.

        Args:
            key: What the value depends on.
            make: Takes nothing, returns the value.
        """
        # a tracer's stand-in tensors must not outlive the trace
        if torch.compiler.is_compiling():
            return make()
        if key not in self._values:
            while len(self._values) >= CAPACITY:
                self._values.pop(next(iter(self._values)))
            # made while predicting, used while training: autograd refuses tensors of inference mode
            with torch.inference_mode(False):
                self._values[key] = make()
        return self._values[key]
