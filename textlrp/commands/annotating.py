"""The options of ``textlrp report`` for those who mark its documents."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from textlrp.report.setup import Setup

_NAMES = ("guidelines", "reasons", "annotators", "shared", "seed", "marks")


def annotating_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as ``setup``, a :class:`textlrp.report.setup.Setup`, and ``read``, their
    files."""

    @wraps(command)
    def with_setup(*args: Any, **values: Any) -> Any:
        given = {name: values.pop(name) for name in _NAMES}
        return command(*args, setup=_setup(**given), setup_files=_files(**given), **values)

    for option in reversed(
        (
            click.option(
                "--guidelines",
                type=click.Path(path_type=Path),
                help="A Markdown file that tells annotators what to do; it opens beside the documents.",
            ),
            click.option(
                "--reasons",
                metavar="CODES",
                help="Codes that an annotator can choose for a document: 'irony,mixed,not enough text'.",
            ),
            click.option(
                "--annotators",
                metavar="NAMES",
                help="Give each of these people documents of their own, in random order: 'ada,ben,eva'.",
            ),
            click.option("--shared", type=click.IntRange(min=0), help="How many documents all annotators get."),
            click.option("--seed", type=click.IntRange(min=0), help="The seed of their order.  [default: 0]"),
            click.option(
                "--marks",
                type=click.Path(path_type=Path),
                multiple=True,
                help="A download of this report or of an older one, to go on from; may be given several times.",
            ),
        )
    ):
        with_setup = option(with_setup)
    return with_setup


def _setup(
    guidelines: Path | None,
    reasons: str | None,
    annotators: str | None,
    shared: int | None,
    seed: int | None,
    marks: tuple[Path, ...],
) -> Setup:
    from textlrp.report.setup import Setup, read_guidelines, read_marks

    return Setup(
        guidelines="" if guidelines is None else read_guidelines(guidelines),
        reasons=_listed(reasons),
        annotators=_listed(annotators),
        shared=shared or 0,
        seed=seed or 0,
        marks=tuple(mark for file in marks for mark in read_marks(file)),
    )


def _files(guidelines: Path | None, marks: tuple[Path, ...], **others: Any) -> list[Path]:
    return [*([] if guidelines is None else [guidelines]), *marks]


def _listed(names: str | None) -> tuple[str, ...]:
    return () if names is None else tuple(name.strip() for name in names.split(","))
