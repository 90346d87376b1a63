"""Rows of a DocBin of spaCy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textlrp.basics import readable
from textlrp.data.row_values import Row
from textlrp.errors import InputError

#: The name of the span group that spaCy's tools show by default.
_GROUP = "sc"


def spacy_rows(path: Path) -> Iterator[Row]:
    """Yield a row for each document of a DocBin: ``text``, ``ents``, and what its user data say of it.

    Spans are those of the group ``"sc"``, or else the entities. Categories of 0 and 1 are labels.

    Source: https://spacy.io/api/docbin

    Raises:
        InputError: spaCy is not installed, or the file is no DocBin.
    """
    try:
        from spacy.tokens import DocBin
        from spacy.vocab import Vocab
    except ImportError:
        raise InputError("a .spacy file needs spaCy: pip install spacy") from None
    try:
        readable.check(path)
        documents = list(DocBin(store_user_data=True).from_bytes(path.read_bytes()).get_docs(Vocab()))
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    except Exception as error:  # what zlib, msgpack and spaCy raise for a damaged file has no common class
        raise InputError(f"{str(path)!r} is no DocBin of spaCy: {type(error).__name__}") from None
    for number, document in enumerate(documents, 1):
        spans = document.spans.get(_GROUP, document.ents)
        row: dict[str, Any] = {
            "text": document.text,
            "ents": [{"start": s.start_char, "end": s.end_char, "label": s.label_} for s in spans],
        }
        if document.cats and set(document.cats.values()) <= {0, 1}:
            row["label"] = [name for name, holds in document.cats.items() if holds]
        about = {key: value for key, value in document.user_data.items() if isinstance(key, str)}
        yield f"document {number}", {**row, **about}
