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
from textlrp.commands.outputs import Output, check_outputs, check_pages
from textlrp.commands.shared import (
    contrast_option,
    echo,
    load,
    loading_options,
    long_text_options,
    model_option,
    rules_file,
    rules_option,
    writes,
)
from textlrp.errors import InputError

if TYPE_CHECKING:
    from textlrp.data.records import Failure, Record

_EPILOG = """INPUT is a CSV, TSV, JSON, JSON Lines, Parquet or text file, a folder saved by datasets, a bundled corpus,
or a data set on the hub; or explanations that are there already: what --save wrote, a file of "textlrp explain
--format json", or a folder of such files. Then no model runs."""

#: What options are called where Python calls them something else.
_OPTIONS = {"identity": "id", "targets": "target", "trusted": "trust-remote-code"}

_LISTED = 10  # failures that are listed on standard error

#: What a data set that was saved to a folder has, and a folder of explanations has not.
_DATASET_FILES = ("dataset_info.json", "dataset_dict.json", "state.json")


@click.command(epilog=_EPILOG)
@click.argument("source", metavar="INPUT")
@writes("-o", "--output", default="report.html", show_default=True)
@click.option("--text", help="The column of the text.  [default: text, sentence, ...]")
@click.option("--pair", help="The column of the second text.")
@click.option("--label", help="The column of the right label; an empty name takes none.  [default: label, ...]")
@click.option("--id", "identity", help="The column of the id.  [default: id, or the number of the row]")
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
@long_text_options
@click.option("--title", help="What stands above the report.  [default: the name of INPUT]")
@click.option("--blind", is_flag=True, help="Hide what the model says about a document until its reader has marked it.")
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
    blind: bool,
    save: Path | None,
    **options: Any,
) -> None:
    """Explain the documents of INPUT, and write one HTML file to read, search and mark.

    It shows how often the model is right and which words it goes by, and every document in colors. Readers agree or
    disagree and mark the words that they go by; what they send back is read by "textlrp annotations".
    """
    from textlrp.data.records import iterate_run, write_run
    from textlrp.report.writing import write_report

    outputs = [Output("-o", output, pages=True)]
    outputs += [Output("--save", save, run=True)] if save is not None else []
    is_run = _is_run(source)
    read = [source, rules_file(options["rules"]), options["model"]]
    check_outputs(outputs, read, force=force, runs=is_run)

    def check(files: Sequence[Path]) -> None:
        if not force:
            check_pages(output, files[1:])

    counted = _Counted()
    with ExitStack() as stack:
        if is_run:
            given = [name for name, value in options.items() if value not in (None, False, ())]
            if given:
                name = _OPTIONS.get(given[0], given[0])
                raise InputError(f"{source!r} holds explanations, and --{name} says how to make them: leave it out")
            if save is not None:
                write_run(save, _first(iterate_run(source), limit))
            documents = _first(iterate_run(source), limit)
        else:
            documents = _explained(source, limit, save, force, stack, **options)
        written = write_report(counted.each(documents), output, title=title or _title(source), blind=blind, check=check)
    for failure in counted.failures[:_LISTED]:
        _say(f"not explained: {failure.id}: {failure.reason}")
    if len(counted.failures) > _LISTED:
        _say(f"not explained: {len(counted.failures) - _LISTED:,} more, which the report lists")
    pages = f" and {len(written) - 1} pages beside it" if len(written) > 1 else ""
    number = f"{counted.records:,} document{'s' if counted.records != 1 else ''}"
    echo(f"{printable(str(output))}{pages}: {number}")


@dataclass
class _Counted:
    """Documents that go by: how many have explanations, and which have none."""

    records: int = 0
    failures: list[Failure] = field(default_factory=list)

    def each(self, documents: Iterable[Record | Failure]) -> Iterator[Record | Failure]:
        from textlrp.data.records import Failure

        for document in documents:
            if isinstance(document, Failure):
                self.failures.append(document)
            else:
                self.records += 1
            yield document


def _first(documents: Iterable[Record | Failure], limit: int | None) -> Iterator[Record | Failure]:
    """Yield so many documents that have explanations, and those without that stand between them."""
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
    identity: str | None,
    split: str | None,
    model: str | None,
    revision: str | None,
    device: str | None,
    dtype: str | None,
    trusted: bool,
    targets: Sequence[str],
    **how: Any,
) -> Iterator[Record | Failure]:
    """Return the documents of a table with their explanations, one by one, those that a saved run has first."""
    from textlrp.data.documents import read_documents
    from textlrp.data.explained_documents import explain_documents, origin
    from textlrp.data.runs import Run
    from textlrp.rules import Rules

    rules = how.pop("rules")
    chosen = Rules.parse("attnlrp" if rules is None else rules)
    documents = read_documents(source, text=text, pair=pair, label=label, id=identity, limit=limit, split=split)
    explainer = load(model, "--model", revision, device, dtype, trusted)
    how = {**how, "long": how["long"] or "truncate", "rules": chosen}
    run = None
    if save is not None:
        run = stack.enter_context(Run(save, origin(explainer, documents, targets, how), anew))
    return explain_documents(explainer, documents, targets, how, run)


def _is_run(source: str) -> bool:
    """Whether a file or a folder holds explanations, to tell from its first line that is not blank."""
    path = Path(source)
    try:
        if path.is_dir():
            names = sorted(each for each in path.iterdir() if each.suffix.lower() in (".json", ".jsonl"))
            if not names or any((path / name).exists() for name in _DATASET_FILES):
                return False
            path = names[0]
        if path.suffix.lower() not in (".json", ".jsonl") or not path.is_file():
            return False
        with path.open("rb") as file:
            first = next((line for line in file if line.strip()), b"").removeprefix(b"\xef\xbb\xbf")
            try:
                values = json.loads(first)
            except ValueError:  # one object over several lines
                values = json.loads(first + file.read())
    except (OSError, ValueError, RecursionError):
        return False  # what is wrong is said where it is read as a table
    if not isinstance(values, dict):
        return False
    return values.get("textlrp") == "run" or "explanations" in values or {"tokens", "ledger"} <= values.keys()


def _title(source: str) -> str:
    return Path(source).name.split(".")[0] or source


def _say(line: str) -> None:
    click.echo(printable(line), err=True)
