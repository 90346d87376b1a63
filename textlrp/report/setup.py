"""What a report asks of its annotators: guidelines, reason codes, a queue for each, and marks to go on from."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from textlrp.basics import options, readable
from textlrp.basics.characters import encodable
from textlrp.errors import InputError


@dataclass(frozen=True)
class Setup:
    """What a report asks of its annotators.

    Attributes:
        guidelines: Markdown, shown beside the documents; raw HTML in it is shown as text, and images as their names.
        reasons: codes that an annotator can choose for a document.
        annotators: their names, for a queue of documents each; none: everyone gets all documents.
        shared: how many documents are in all queues, drawn at random; the others are shared out evenly.
        seed: of the drawing, and of the random order of each queue.
        marks: lines of downloads, of this report or of an older one, that annotators go on from.

    Raises:
        InputError: a name or a code is empty or given twice, or ``shared`` is negative or has no annotators.
    """

    guidelines: str = ""
    reasons: tuple[str, ...] = ()
    annotators: tuple[str, ...] = ()
    shared: int = 0
    seed: int = 0
    marks: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for values, what in ((self.reasons, "a reason"), (self.annotators, "an annotator")):
            if any(not value.strip() for value in values) or len({v.casefold() for v in values}) < len(values):
                raise InputError(f"{what} is empty, or is given twice: {', '.join(map(repr, values))}")
        options.whole(self.shared, "shared is a number of documents, 0 or more", 0)
        options.whole(self.seed, "seed is a whole number, 0 or more", 0)
        if self.shared and not self.annotators:
            raise InputError("shared documents need annotators who share them: name these, too")

    def queues(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the queue of each annotator: ids of documents, in the order in which to mark them.

        Args:
            ids: of all documents.

        Raises:
            InputError: more documents are shared than there are.
        """
        if self.shared > len(ids):
            raise InputError(f"{self.shared:,} documents are to be shared, and the report has {len(ids):,}")
        draw = random.Random(self.seed)
        mixed = draw.sample(list(ids), len(ids))
        shared, rest = mixed[: self.shared], mixed[self.shared :]
        queues = {}
        for number, name in enumerate(self.annotators):
            own = [*shared, *rest[number :: len(self.annotators)]]
            queues[encodable(name)] = draw.sample(own, len(own))
        return queues

    def head(self, ids: Sequence[str]) -> dict[str, Any]:
        """Return what the page's script needs, JSON-ready."""
        return {"reasons": list(map(encodable, self.reasons)), "queues": self.queues(ids), "marks": list(self.marks)}

    @property
    def guidelines_html(self) -> Markup:
        """The guidelines as HTML, without markup of their own, images or addresses that run scripts."""
        reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
        tokens = reader.parse(encodable(self.guidelines))
        for token in tokens:
            if token.type in ("heading_open", "heading_close"):
                token.tag = f"h{min(6, int(token.tag[1]) + 2)}"  # below the page's own headings
        return Markup(reader.renderer.render(tokens, reader.options, {}))  # text is escaped, addresses are checked


def read_guidelines(path: Path) -> str:
    """Return the Markdown of a file.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or is empty.
    """
    try:
        readable.check(path)
        written = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"the guidelines {str(path)!r} are not UTF-8: save them as UTF-8") from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
    if not written.strip():
        raise InputError(f"the guidelines {str(path)!r} are empty")
    return written


def read_marks(path: Path) -> tuple[dict[str, Any], ...]:
    """Return the lines of a download, as they are; the page checks that they fit its documents.

    Raises:
        InputError: the file cannot be read, or a line is not an annotation.
    """
    try:
        readable.check(path)
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
    marks = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or values.get("textlrp") != "annotation":
            raise InputError(
                f"{str(path)!r}, line {number} is not an annotation: a line of a report's download was expected"
            )
        marks.append(values)
    return tuple(marks)
