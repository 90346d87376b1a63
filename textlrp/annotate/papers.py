"""A comparison as CSV for a spreadsheet, and as LaTeX for a paper."""

from __future__ import annotations

import csv
import io
import re

from textlrp.annotate import table
from textlrp.annotate.comparison import Comparison

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def tables(comparison: Comparison) -> list[Table]:
    """Return the tables of a comparison: name, heads of the columns, rows; those without rows are left out."""
    listed = [
        ("annotators", ("annotator", *table.ANNOTATORS), table.annotator_rows(comparison)),
        ("agreement on labels", ("annotators", *table.LABELS), table.label_rows(comparison)),
        ("agreement on words", ("annotators", *table.WORDS), table.word_rows(comparison)),
        ("the model's words", ("against", *table.MODEL), table.model_rows(comparison)),
        ("the model's words against the label", ("against", *table.MODEL), table.model_rows(comparison, against=True)),
        ("95 % intervals", ("annotators", *table.INTERVALS), table.interval_rows(comparison)),
    ]
    return [each for each in listed if each[2]]


def comma_separated(comparison: Comparison) -> str:
    """Return all tables as one CSV: the name of the table comes first in each row; missing numbers are empty."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    for name, heads, rows in tables(comparison):
        writer.writerow(("table", *heads))
        for row in rows:
            writer.writerow((name, *("" if cell == table.NOTHING else cell.strip() for cell in row)))
    return buffer.getvalue()


def latex(comparison: Comparison) -> str:
    """Return each table as a ``tabular`` for the package ``booktabs``, after a comment that names it."""
    parts = []
    for name, heads, rows in tables(comparison):
        columns = "l" + "r" * (len(heads) - 1)
        lines = [" & ".join(map(_escaped, row)) + r" \\" for row in (heads, *rows)]
        body = "\n".join([lines[0], r"\midrule", *lines[1:]])
        parts.append(f"% {name}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n")
    return "\n".join(parts)


def _escaped(cell: str) -> str:
    if cell == table.NOTHING:
        return "--"
    escaped = re.sub(r"[\\~^&%$#_{}]", lambda sign: _SPECIAL[sign.group()], cell.strip())
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped  # after a line end, these are arguments
