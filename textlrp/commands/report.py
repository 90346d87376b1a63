"""``textlrp report``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textlrp.basics.characters import printable
from textlrp.commands.annotating import annotating_options
from textlrp.commands.outputs import Output, check_outputs, check_pages
from textlrp.commands.shared import (
    LEFT_OUT,
    Loading,
    chosen_rules,
    contrast_option,
    echo,
    loading_options,
    long_text_options,
    model_option,
    redact_options,
    reference_option,
    rules_file,
    rules_option,
    say_left_out,
    table_options,
    writes,
)
from textlrp.errors import InputError
from textlrp.explain.progress import say

if TYPE_CHECKING:
    from textlrp.data.records import Failure, Record
    from textlrp.explain.label_names import LabelReading
    from textlrp.report.setup import Setup

_EPILOG = """INPUT is a CSV, TSV, JSON, JSON Lines, Parquet or text file, what Label Studio, doccano, Prodigy, brat or
spaCy saved, a folder saved by datasets, a bundled corpus, or a data set on the hub; or saved explanations: a file of
--save, a file of "textlrp explain --format json", or a folder of such files. Then no model runs. The exit status is 3
if the report lacks documents."""

#: The names of options whose parameters have other names.
_OPTIONS = {
    "identity": "id",
    "targets": "target",
    "references": "reference",
    "label_map": "label-map",
    "no_why_not": "no-why-not",
}

#: Files of a saved data set, which a folder of explanations does not have.
_DATASET_FILES = ("dataset_info.json", "dataset_dict.json", "state.json")


@click.command(epilog=_EPILOG)
@click.argument("source", metavar="INPUT")
@writes("-o", "--output", default="report.html", show_default=True)
@table_options
@click.option("--pair", help="The column of the second text.")
@click.option("--split", help="The split of a data set.")
@click.option("--limit", type=click.IntRange(min=1), help="How many documents to take.  [default: all]")
@model_option
@loading_options
@click.option(
    "--target",
    "targets",
    multiple=True,
    help="A label to explain, by name or index; may be given several times, or as all.  [default: the predicted]",
)
@contrast_option
@rules_option
@reference_option
@long_text_options
@click.option(
    "--no-why-not",
    "no_why_not",
    is_flag=True,
    help="Do not explain mistakes once more, against the right label.  [default: explain each, if labels are given]",
)
@click.option("--title", help="The title of the report.  [default: the name of INPUT]")
@annotating_options
@redact_options
@click.option("--blind", is_flag=True, help="Hide the model's decision on a document until its reader has marked it.")
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    help="Keep explanations as they come, to report or export again; the same command goes on where it was stopped.",
)
def report(
    source: str,
    output: Path,
    force: bool,
    limit: int | None,
    title: str | None,
    redacted: tuple[str, ...],
    redacted_names: Path | None,
    blind: bool,
    save: Path | None,
    setup: Setup,
    setup_files: list[Path],
    **options: Any,
) -> None:
    """Explain the documents of INPUT, and write one HTML file to read, search and mark.

    It shows how often the model is right, which words decide, and every document in colors. Readers agree or disagree
    and mark the words that decide for them; "textlrp annotations" reads the files that they send back.
    """
    from textlrp.data.records import iterate_run, write_run
    from textlrp.report.redaction import Redaction
    from textlrp.report.writing import write_report

    outputs = [Output("-o", output, pages=True)]
    outputs += [Output("--save", save, run=True)] if save is not None else []
    is_run = _is_run(source)
    read = [source, rules_file(options["rules"]), options["model"], redacted_names, *setup_files]
    check_outputs(outputs, read, force=force, runs=is_run)
    redaction = Redaction.parse(redacted, redacted_names)
    if redaction is not None:
        redaction.check_file(output)

    def check(files: Sequence[Path]) -> None:
        if not force:
            check_pages(output, files[1:])

    counter = _Counter()
    with ExitStack() as stack:
        if is_run:
            given = [name for name, value in options.items() if name != "loading" and value not in (None, False, ())]
            used = [*(f"--{_OPTIONS.get(name, name)}" for name in given), *options["loading"].given]
            if used:
                raise InputError(f"{source!r} holds explanations, and {used[0]} says how to make them: leave it out")
            if save is not None:
                write_run(save, _first(iterate_run(source), limit))
            documents = _first(iterate_run(source), limit)
        else:
            documents = _explained(source, limit, save, force, stack, **options)
        documents = counter.count(documents)
        written = write_report(
            documents,
            output,
            title=title or _title(source),
            blind=blind,
            setup=setup,
            redaction=redaction,
            check=check,
        )
    if is_run:
        for sentence in counter.reading.sentences:
            say(printable(sentence))
    say_left_out([(failure.id, failure.reason) for failure in counter.failures], ", which the report lists")
    pages = f" and {len(written) - 1} pages beside it" if len(written) > 1 else ""
    number = f"{counter.records:,} document{'s' if counter.records != 1 else ''}"
    echo(f"{printable(str(output))}{pages}: {number}")
    if counter.failures:
        click.get_current_context().exit(LEFT_OUT)


@dataclass
class _Counter:
    """Counts documents with explanations, collects those without, and how labels were read."""

    records: int = 0
    failures: list[Failure] = field(default_factory=list)
    known: dict[str, None] = field(default_factory=dict)
    read_as: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def reading(self) -> LabelReading:
        """How the labels in the data were read as those of the model."""
        from textlrp.explain.label_names import LabelReading

        unknown = dict.fromkeys(name for names in self.read_as.values() for name in names if name not in self.known)
        return LabelReading(self.read_as, tuple(unknown), tuple(self.known))

    def count(self, documents: Iterable[Record | Failure]) -> Iterator[Record | Failure]:
        """Yield the documents, and count them."""
        from textlrp.data.records import Failure

        for document in documents:
            if isinstance(document, Failure):
                self.failures.append(document)
            else:
                self.records += 1
                self.known.update(dict.fromkeys(name for e in document.explanations for name in e.logits))
                self.read_as.update(document.read_as)
            yield document


def _first(documents: Iterable[Record | Failure], limit: int | None) -> Iterator[Record | Failure]:
    """Yield documents until there are ``limit`` with explanations."""
    from textlrp.data.records import Record

    for document in documents:
        yield document
        if limit is not None and isinstance(document, Record):
            limit -= 1
            if not limit:
                return


def _explained(
    source: str,
    limit: int | None,
    save: Path | None,
    anew: bool,
    stack: ExitStack,
    *,
    text: str | None,
    pair: str | None,
    label: str | None,
    label_map: str | None,
    identity: str | None,
    rationales: str | None,
    encoding: str | None,
    strict: bool,
    split: str | None,
    model: str | None,
    loading: Loading,
    targets: Sequence[str],
    references: Sequence[str],
    no_why_not: bool,
    **how: Any,
) -> Iterator[Record | Failure]:
    """Return an iterator of a table's documents with their explanations, first those of a saved run."""
    from textlrp.data.documents import read_documents
    from textlrp.data.explained_documents import (
        can_ask_why_not,
        explain_documents,
        labels_said,
        origin,
    )
    from textlrp.data.runs import Run
    from textlrp.explain.label_names import parse_label_map

    chosen, measured_from = chosen_rules(how.pop("rules"), references)
    means = None if label_map is None else parse_label_map(label_map)
    table = read_documents(
        source,
        text=text,
        pair=pair,
        label=label,
        id=identity,
        rationales=rationales,
        limit=limit,
        split=split,
        encoding=encoding,
    )
    if strict:
        table.check()
    explainer = loading.explainer(model, "--model")
    how = {**how, "long": how["long"] or "truncate", "rules": chosen, **measured_from}
    for sentence in (*labels_said(explainer, table, means), *([table.note] if table.note else [])):
        say(printable(sentence))
    why_not = not no_why_not and can_ask_why_not(explainer, table)
    run = None
    if save is not None:
        made = origin(explainer, table.documents, targets, how, means, why_not)
        run = stack.enter_context(Run(save, made, anew))
    return explain_documents(explainer, table, targets, how, run, means, why_not)


def _is_run(source: str) -> bool:
    """Return whether a file or a folder holds explanations, by its first line that is not blank."""
    from textlrp.basics.lines import read_lines
    from textlrp.data.records import SUFFIXES

    path = Path(source)
    try:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES))
            if not files or any((path / name).exists() for name in _DATASET_FILES):
                return False
            path = files[0]
        if not path.name.lower().endswith(SUFFIXES) or not path.is_file():
            return False
        lines = (line for _, line, _ in read_lines(path) if line.strip())
        first = next(lines, b"").removeprefix(b"\xef\xbb\xbf")
        try:
            values = json.loads(first)
        except ValueError:  # one object over several lines
            values = json.loads(b"\n".join([first, *lines]))
    except (OSError, ValueError, RecursionError, InputError):
        return False  # the error is raised when it is read as a table
    if not isinstance(values, dict):
        return False
    return values.get("textlrp") == "run" or "explanations" in values or {"tokens", "ledger"} <= values.keys()


def _title(source: str) -> str:
    return Path(source).name.split(".")[0] or source
