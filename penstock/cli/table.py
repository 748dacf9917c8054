"""Plain tables: columns two blanks apart, numbers to the right, no wider than the terminal. Pure.

Without a terminal nothing is cut: what reads a pipe has no width.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

GAP = "  "
NARROWEST = 6
"""No column is cut to fewer characters."""
WIDEST_PADDING = 60
"""Without a terminal no column is filled up to more characters: a cell of thousands would make every line as long."""
NOTHING = "–"
"""Stands for what is not known."""


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], *, width: int | None = None) -> str:
    """Return a table.

    Args:
        heads: names of the columns.
        rows: cells by column; None is shown as a dash, numbers are aligned to the right.
        width: of the terminal; None cuts nothing, and then cells longer than WIDEST_PADDING make no other line longer.
    """
    shown = [[cell_text(cell) for cell in row] for row in rows]
    widths = [max([_width(head), *(_width(row[index]) for row in shown)]) for index, head in enumerate(heads)]
    if width is None:
        widths = [min(one, WIDEST_PADDING) for one in widths]
    else:
        widths = _narrowed(widths, width - len(GAP) * (len(heads) - 1))
        shown = [[_cut(*cell) for cell in zip(row, widths, strict=True)] for row in shown]
    right = [bool(rows) and all(_is_number(row[index]) for row in rows) for index in range(len(heads))]
    lines = [[_cut(head.upper(), None if width is None else room) for head, room in zip(heads, widths, strict=True)], *shown]
    return "\n".join(GAP.join(_fitted(*cell) for cell in zip(line, widths, right, strict=True)).rstrip() for line in lines)


def facts(pairs: Sequence[tuple[str, Any]], *, width: int | None = None) -> str:
    """Return names and values, one pair a line."""
    column = max((_width(name) for name, _ in pairs), default=0)
    room = None if width is None else max(width - column - len(GAP), NARROWEST)
    lines = ((name, cell_text(value)) for name, value in pairs)
    return "\n".join(f"{_fitted(name, column, False)}{GAP}{_cut(text, room)}".rstrip() for name, text in lines)


def cell_text(cell: Any) -> str:
    """Return a cell as one line without control characters: names and reasons come from servers."""
    if cell is None:
        return NOTHING
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return _decimal(cell)
    if isinstance(cell, int):
        return f"{cell:,}"
    text = str(cell)
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _decimal(value: float) -> str:
    """Return three significant digits, or the whole number when it is longer."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _is_number(cell: Any) -> bool:
    return cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool))


def _narrowed(widths: list[int], room: int) -> list[int]:
    """Take from the widest column until all fit, or nothing more can be taken."""
    narrowed = list(widths)
    while sum(narrowed) > room and max(narrowed, default=0) > NARROWEST:
        narrowed[narrowed.index(max(narrowed))] -= 1
    return narrowed


def _fitted(text: str, width: int, right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks


def _cut(text: str, room: int | None) -> str:
    if room is None or _width(text) <= room:
        return text
    kept = ""
    for one in text:
        if _width(kept) + _width(one) > room - 1:
            break
        kept += one
    return kept + "…"


def _width(text: str) -> int:
    """Return how many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
