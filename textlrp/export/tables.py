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
    "reference_logit": float,
}

# Prefixes by which a spreadsheet takes a cell for a formula, as listed by OWASP.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def rows(records: Iterable[Record], by: str) -> Iterator[tuple[Any, ...]]:
    """Yield one row for each unit, in the order of :data:`COLUMNS`.

    Every unit has its relevance in logit units. Tokens include special tokens: their relevances add up to those rows of
    the ledger. ``label`` is the label in the data, or several with ``|`` between them; ``logit`` the explained logit or
    difference, ``probability`` that of the target, ``reference_logit`` the logit of the reference, where the relevances
    start (none under rules from zero).
    """
    for record in records:
        for e in record.explanations:
            for span in e.units(by):
                yield (
                    encodable(record.id),
                    encodable(e.target),
                    None if e.contrast is None else encodable(e.contrast),
                    by,
                    span.source,
                    span.start,
                    span.end,
                    encodable(span.text),
                    span.relevance,
                    encodable("|".join(record.right)) or None,
                    encodable(e.predicted),
                    e.logit,
                    e.probabilities.get(e.target),
                    span.special,
                    encodable(span.piece) or None,
                    None if e.reference is None else e.ledger.reference,
                )


def comma_separated(records: Iterable[Record], by: str, spreadsheet: bool = False) -> str:
    """Return CSV (RFC 4180 with ``\\n``), every text in quotes, a missing one as an empty field.

    Args:
        records: the documents.
        by: ``"word"``, ``"token"`` or ``"sentence"``.
        spreadsheet: for a program that would run a text such as ``=HYPERLINK(...)`` as a formula: texts that begin like
            one get an apostrophe, and the file gets a byte order mark, which declares UTF-8. This changes texts, so it
            is off by default.
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
    """Return the same rows as Parquet, with nulls for missing values."""
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
