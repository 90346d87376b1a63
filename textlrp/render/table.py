"""Tables for the terminal: a line below the headings and no frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def rich_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], title: str = "") -> Table:
    """Return a rich table; the first column is aligned to the left, the others, which hold numbers, to the right."""
    made = Table(
        box=box.SIMPLE_HEAD,
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        padding=(0, 0, 0, 1),
        pad_edge=False,
        show_edge=False,
    )
    for i, column in enumerate(columns):
        made.add_column(Text(column), justify="right" if i else "left", overflow="fold", no_wrap=not i)
    for row in rows:
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return made


def spaced(parts: Iterable[RenderableType]) -> Group:
    """Return parts one below the other, with an empty line below each."""
    return Group(*(line for part in parts for line in (part, Text())))
