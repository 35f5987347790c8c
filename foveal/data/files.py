"""Looking through folders."""

from __future__ import annotations

import os
from collections.abc import Sequence

from foveal.errors import DataError


def list_files(folder: str, suffixes: str | Sequence[str]) -> list[str]:
    """Return the files under ``folder`` whose names end in one of ``suffixes``, in any case of letters.

    Args:
        folder: Searched with all its sub-folders; linked folders too.
        suffixes: Such as ``.jpg`` or ``_labels.png``.

    Returns:
        Paths relative to ``folder``, sorted.
    """
    endings = tuple(s.lower() for s in ((suffixes,) if isinstance(suffixes, str) else suffixes))
    found = []
    for parent, _, names in os.walk(folder, followlinks=True):
        relative = os.path.relpath(parent, folder)
        for name in names:
            if name.lower().endswith(endings):
                found.append(name if relative == "." else os.path.join(relative, name))
    return sorted(found)


def read_lines(path: str) -> list[str]:
    """Return the lines of a text file that are not blank, without the blanks around them."""
    with open(path, encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]


def name_some(names: Sequence[str], count: int = 5) -> str:
    """Return the first ``count`` names and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def require_files(paths: Sequence[str], what: str, who: str) -> None:
    """Refuse to go on without a file.

    Args:
        paths: The files.
        what: What they are, for the message; so is the next.
        who: The data set.

    Raises:
        DataError: If some are missing; names the first few.
    """
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise DataError(f"{who}: {len(missing)} of {len(paths)} {what} are missing: {name_some(missing)}")
