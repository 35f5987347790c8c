"""Tables for the log."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from rich.box import ASCII2
from rich.console import Console
from rich.table import Table


def render_table(headers: Sequence[str], rows: Sequence[Sequence[str | float]], digits: int = 3) -> str:
    """Render a table as plain text; the first column is left-aligned, the others right-aligned.

    Args:
        headers: One name per column.
        rows: The cells. A float is printed with ``digits`` decimals, NaN as ``-``.
        digits: Decimals of floats.

    Returns:
        Lines joined by newlines, without colour codes.
    """
    table = Table(box=ASCII2)
    for index, header in enumerate(headers):
        table.add_column(header, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(value, digits) for value in row))
    out = io.StringIO()
    Console(file=out, width=1000, force_terminal=False, markup=False, highlight=False).print(table)
    return out.getvalue().rstrip("\n")


def _cell(value: str | float, digits: int) -> str:
    if isinstance(value, str):
        return value
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
