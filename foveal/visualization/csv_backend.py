"""CSVVisBackend: scalars as a table that any spreadsheet opens."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.visualization import BaseVisBackend
from mmengine.visualization.vis_backend import force_init_env

from foveal.registry import VISBACKENDS


@VISBACKENDS.register_module()
class CSVVisBackend(BaseVisBackend):
    """Append every scalar as a line ``step,name,value``.

    One line a value, not one column: names turn up over time (losses first, metrics after the first validation), and
    the header of a file that is being written cannot grow.

    Args:
        save_dir: Folder of the file.
        scalar_save_file: Its name.
    """

    def __init__(self, save_dir: str, scalar_save_file: str = "scalars.csv") -> None:
        super().__init__(save_dir)
        self._path = Path(save_dir, scalar_save_file)

    def _init_env(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            self._append([["step", "name", "value"]])

    @property
    @force_init_env
    def experiment(self) -> CSVVisBackend:
        """The backend itself."""
        return self

    @force_init_env
    def add_scalar(self, name: str, value: float | torch.Tensor | np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Append one scalar.

        Args:
            name: Its name.
            value: A number, or a tensor or array with one.
            step: Iteration or epoch.
            kwargs: Not used; mmengine passes what other backends need.
        """
        self._append([[step, name, _number(value)]])

    @force_init_env
    def add_scalars(
        self, scalar_dict: Mapping[str, Any], step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Append several scalars; what is not a number is left out.

        Args:
            scalar_dict: Values by name; a ``step`` in it wins over the argument, as in mmengine's JSON file.
            step: Iteration or epoch.
            file_path: Not used.
            kwargs: Not used.
        """
        step = scalar_dict.get("step", step)
        numbers = {name: _number(value) for name, value in scalar_dict.items() if name != "step"}
        self._append([[step, name, value] for name, value in numbers.items() if value is not None])

    def _append(self, rows: list[list[Any]]) -> None:
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


def _number(value: Any) -> float | int | None:
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        value = value.item()
    return value if isinstance(value, (int, float)) else None
