"""The state of every random generator of the process, in plain values."""

from __future__ import annotations

import random
from typing import Any, cast

import numpy as np
import torch


def restore_random_state(state: dict[str, Any]) -> None:
    """Set Python's, NumPy's and torch's generators to what `random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


def random_state() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's generators as tensors and plain values."""
    name, keys, position, has_gauss, cached = cast("tuple", np.random.get_state(legacy=True))
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
