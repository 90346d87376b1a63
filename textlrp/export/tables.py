"""Tables in long form, one row for each unit of each explanation: CSV and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from textlrp.basics.characters import encodable
from textlrp.data.records import Record

#: The columns: name and type.
COLUMNS = {
    "document": str,
    "target": str,
    "contrast": str,
    "unit": str,
    "source": str,
    "start": int,
    "end": int,
    "text": str,
    "relevance": float,
    "label": str,
    "predicted": str,
    "logit": float,
    "probability": float,
    "special": bool,
    "piece": str,
}

# What makes a spreadsheet read a cell as a formula, by the list of the Open Worldwide Application Security Project.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def rows(records: Iterable[Record], by: str) -> Iterator[tuple[Any, ...]]:
    """Yield one row for each unit, in the order of :data:`COLUMNS`.

    Every unit is there, with its relevance in logit units; by token that includes the special ones, and the relevances
    of an explanation then add up to what its ledger gives tokens and special tokens. ``label`` is what the data gave,
    ``logit`` the explained quantity, ``probability`` the target's.
    """
    for record in records:
        for each in record.explanations:
            for span in each.units(by):
                yield (
                    encodable(record.id),
                    encodable(each.target),
                    None if each.contrast is None else encodable(each.contrast),
                    by,
                    span.source,
                    span.start,
                    span.end,
                    encodable(span.text),
                    span.relevance,
                    None if record.label is None else encodable(record.label),
                    encodable(each.predicted),
                    each.logit,
                    each.probabilities.get(each.target),
                    span.special,
                    encodable(span.piece) or None,
                )


def comma_separated(records: Iterable[Record], by: str, spreadsheet: bool = False) -> str:
    """Return CSV (RFC 4180 with ``\\n``), every text in quotes, an empty field where there is none.

    Args:
        records: the documents.
        by: ``"word"``, ``"token"`` or ``"sentence"``.
        spreadsheet: for a program that would run a text such as ``=HYPERLINK(...)`` as a formula: an apostrophe is put
            before each text that begins like one, and a byte order mark before all, by which it knows UTF-8. Texts are
            then not always what they were, so this is off by default.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows(records, by):
        if spreadsheet:
            row = tuple(f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in row)
        # QUOTE_NONNUMERIC writes None as "", in quotes, like an empty text; readers take either for missing
        writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in row])
    return ("\ufeff" if spreadsheet else "") + buffer.getvalue()


def parquet(records: Iterable[Record], by: str) -> bytes:
    """Return the same rows as Parquet, with nulls where there is no value."""
    import pyarrow as arrow  # type: ignore[import-untyped]
    from pyarrow import parquet as files

    kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    columns = list(zip(*rows(records, by), strict=True)) or [()] * len(COLUMNS)
    arrays = [arrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    sink = arrow.BufferOutputStream()
    files.write_table(arrow.Table.from_arrays(arrays, schema=schema), sink)
    written: bytes = sink.getvalue().to_pybytes()
    return written
