"""Runs side by side, from the records that they left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal.engine.run_record_hook import FILE
from foveal.errors import DataError

# what differs between any two runs and says nothing
_INCIDENTAL = ("work_dir", "launcher", "resume", "load_from", "visualizer.name", "env_cfg")


@dataclass(frozen=True)
class Run:
    """One run.

    Args:
        folder: Its log folder, ``work_dirs/<config>/<time>``.
        record: What `RunRecordHook` wrote.
    """

    folder: Path
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """The two last parts of its folder."""
        return "/".join(self.folder.parts[-2:])

    @property
    def scalars(self) -> Path:
        """The file of its curves."""
        return self.folder / "vis_data" / "scalars.json"


def find_runs(folder: str | Path) -> list[Run]:
    """Return the runs anywhere below a folder, the oldest first.

    Raises:
        DataError: If there is none, or a record is damaged.
    """
    runs = [_read(path) for path in sorted(Path(folder).rglob(FILE))]
    if not runs:
        raise DataError(f"no run ({FILE}) in {folder}")
    return sorted(runs, key=lambda run: str(run.record.get("started")))


def list_lines(runs: Sequence[Run]) -> list[str]:
    """Return a line for each run: name, start, state, iterations, and its best metrics."""
    rows = []
    for run in runs:
        record = run.record
        scores = ", ".join(f"{name} {value:.4g}" for name, value in list(record["best"].items())[:3])
        rows.append((run.name, record["started"][:16], record["status"], f"{record['iterations']} it", scores))
    return _aligned(rows)


def compare_lines(runs: Sequence[Run]) -> list[str]:
    """Return a table of what differs between runs: keys of the config, data, versions, and their best metrics."""
    columns = [_facts(run.record) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [("", *(run.name for run in runs))]
    for name in names:
        values = [column.get(name, "-") for column in columns]
        if name.startswith("best ") or len(set(values)) > 1:
            rows.append((name, *values))
    return _aligned(rows)


def _facts(record: dict[str, Any]) -> dict[str, str]:
    facts = {name: value for name, value in _flat(record["config"]) if not name.startswith(_INCIDENTAL)}
    for part in ("git", "environment", "data"):
        facts |= {f"{part} {name}": value for name, value in _flat(record[part] or {})}
    facts |= {name: str(record[name]) for name in ("seed", "world_size", "status", "iterations", "seconds")}
    return facts | {f"best {name}": f"{value:.4g}" for name, value in record["best"].items()}


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _flat(item, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [pair for i, item in enumerate(value) for pair in _flat(item, f"{name}.{i}")]
    return [(name, str(value))]


def _read(path: Path) -> Run:
    try:
        return Run(path.parent, json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no record of a run: {error}") from error


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
