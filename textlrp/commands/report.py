"""``textlrp report``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textlrp.commands.shared import check_output, load, printable
from textlrp.errors import InputError, LRPError

if TYPE_CHECKING:
    from textlrp.explainer import Explainer
    from textlrp.records import Record
    from textlrp.report import Failure
    from textlrp.sources import Source

_EPILOG = """INPUT is a CSV, TSV, JSON, JSON Lines, Parquet or text file, a folder saved by datasets, a bundled corpus,
or a data set on the hub; or explanations that are there already: what --save wrote, a file of "textlrp explain
--format json", or a folder of such files. Then no model runs."""

_LISTED = 10  # failures that are listed on standard error

#: What a data set that was saved to a folder has, and a folder of explanations has not.
_DATASET_FILES = ("dataset_info.json", "dataset_dict.json", "state.json")


@click.command(epilog=_EPILOG)
@click.argument("source", metavar="INPUT")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default="report.html", show_default=True, help="The file."
)
@click.option("--text", help="The column of the text.  [default: text, sentence, ...]")
@click.option("--pair", help="The column of the second text.")
@click.option("--label", help="The column of the right label; an empty name takes none.  [default: label, ...]")
@click.option("--id", "identity", help="The column of the id.  [default: id, or the number of the row]")
@click.option("--split", help="The split of a data set.")
@click.option("--limit", type=click.IntRange(min=1), help="How many documents to take.  [default: all]")
@click.option("--model", help="A model folder or a hub name. Default: the built-in classifier of English reviews.")
@click.option("--revision", help="Branch, tag or commit of a hub model.")
@click.option("--device", help="Where to run: cpu, cuda, ...  [default: cpu]")
@click.option("--dtype", help="Precision of the weights: float32, bfloat16, ...  [default: as stored]")
@click.option(
    "--target",
    "targets",
    multiple=True,
    help="A label to explain, by name or index; may be given several times, or as all.  [default: the predicted]",
)
@click.option("--contrast", help="Explain the difference to this label, or to the runner-up.")
@click.option("--rules", help="A preset, epsilon=1e-6, gamma=0.25, or a JSON file.  [default: attnlrp]")
@click.option(
    "--long",
    type=click.Choice(["truncate", "windows", "error"]),
    help="A text longer than the model reads is cut, read in windows, or not explained.  [default: truncate]",
)
@click.option("--window", type=int, help="How many ids are read at once.  [default: as many as the model reads]")
@click.option("--stride", type=int, help="How many ids after its predecessor a window may start.  [default: 3/4 of it]")
@click.option("--title", help="What stands above the report.  [default: the name of INPUT]")
@click.option("--blind", is_flag=True, help="Hide what the model says about a document until its reader has marked it.")
@click.option("--save", type=click.Path(path_type=Path), help="Keep the explanations, to report or export them again.")
def report(
    source: str,
    output: Path,
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
    from textlrp.records import read_run, write_run
    from textlrp.report import write_report

    check_output(output)
    check_output(save)
    failures: Sequence[Failure] = ()
    if _is_run(source):
        given = [name for name, value in options.items() if value not in (None, ())]
        if given:
            name = {"identity": "id", "targets": "target"}.get(given[0], given[0])
            raise InputError(f"{source!r} holds explanations, and --{name} says how to make them: leave it out")
        records = read_run(source)[:limit]
    else:
        records, failures = _explained(source, limit, **options)
    if save is not None:
        write_run(save, records)
    written = write_report(records, output, title=title or _title(source), blind=blind, failures=failures)
    for failure in failures[:_LISTED]:
        _say(f"not explained: {failure.id}: {failure.reason}")
    if len(failures) > _LISTED:
        _say(f"not explained: {len(failures) - _LISTED:,} more, which the report lists")
    pages = f" and {len(written) - 1} pages beside it" if len(written) > 1 else ""
    click.echo(f"{printable(str(output))}{pages}: {len(records):,} document{'s' if len(records) != 1 else ''}")


def _explained(
    source: str,
    limit: int | None,
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
    targets: Sequence[str],
    **how: Any,
) -> tuple[list[Record], list[Failure]]:
    """Return the documents of a table with their explanations, and those that cannot be explained."""
    from textlrp.records import Record
    from textlrp.report import Failure
    from textlrp.rules import Rules
    from textlrp.sources import match_labels, read_documents

    rules = how.pop("rules")
    chosen = Rules.parse("attnlrp" if rules is None else rules)
    documents = read_documents(source, text=text, pair=pair, label=label, id=identity, limit=limit, split=split)
    explainer = load(model, "--model", revision, device, dtype)
    how = {**how, "long": how["long"] or "truncate", "rules": chosen}
    records: list[Record] = []
    failures: list[Failure] = []
    found = _explain(explainer, documents, targets, how)
    for document, explanations in zip(documents, found, strict=True):
        if isinstance(explanations, LRPError):
            failures.append(Failure(document.id, str(explanations)))
        else:
            records.append(Record(document.id, explanations, document.label, document.rationales))
    if not records:
        what = "the document" if len(documents) == 1 else f"none of the {len(documents):,} documents"
        raise InputError(f"{what} can{'not' if len(documents) == 1 else ''} be explained: {failures[0].reason}")
    # Data often has 0 and 1 where the model has names.
    named = match_labels([record.label for record in records], list(records[0].explanation.logits))
    return [replace(record, label=each) for record, each in zip(records, named, strict=True)], failures


def _explain(
    explainer: Explainer, documents: Sequence[Source], targets: Sequence[str], how: dict[str, Any]
) -> list[Any]:
    """Return for each document its explanations, that of the predicted label first, or the error."""
    if len(targets) <= 1 and "all" not in targets:
        texts = [(d.text, d.text_pair) if d.text_pair is not None else d.text for d in documents]
        target = targets[0] if targets else None
        batch = explainer.explain_batch(texts, target, progress=True, errors="return", **how)
        return [each if isinstance(each, LRPError) else (each,) for each in batch]
    from textlrp.progress import Bar

    asked: Any = "all" if "all" in targets else list(dict.fromkeys(targets))
    found: list[Any] = []
    with Bar("explaining", len(documents), True) as bar:
        for document in documents:
            try:
                several = explainer.explain_targets(document.text, asked, document.text_pair, **how)
                found.append(tuple(sorted(several.values(), key=lambda e: e.target != e.predicted)))
            except LRPError as error:
                found.append(error)
            bar.advance()
    return found


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
    return isinstance(values, dict) and ("explanations" in values or {"tokens", "ledger"} <= values.keys())


def _title(source: str) -> str:
    return Path(source).name.split(".")[0] or source


def _say(line: str) -> None:
    click.echo(printable(line), err=True)
