"""``textlrp annotations``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from textlrp.basics.characters import printable
from textlrp.commands.outputs import Output, check_outputs, report_files
from textlrp.commands.shared import echo_json, show, writes

if TYPE_CHECKING:
    from textlrp.annotate.annotations import Annotation
    from textlrp.report.reading import SentReport


@click.command("annotations")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option(
    "--report",
    required=True,
    type=click.Path(path_type=Path),
    help="The report that the files were made in; of a split report, its first file.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "json", "html", "csv", "latex"]),
    help="The form of the comparison; csv and latex are its tables.  [default: terminal]",
)
@click.option("--adjudicate", is_flag=True, help="Make a page to decide where annotators disagree, and no comparison.")
@click.option(
    "--gold",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the labels and words on which annotators agree, as JSON lines or .csv, and no comparison.",
)
@click.option(
    "--decisions",
    type=click.Path(path_type=Path),
    help="What the page of --adjudicate saved, for --gold.",
)
@writes("-o", "--output")
def compare(
    files: tuple[Path, ...],
    report: Path,
    form: str | None,
    adjudicate: bool,
    gold: Path | None,
    decisions: Path | None,
    output: Path | None,
    force: bool,
) -> None:
    """Compare the marks of annotators in a report with each other, and with the model.

    FILE... are downloads of the report's page, one or more for each annotator; or what Label Studio, doccano, Prodigy,
    brat or spaCy saved of the same texts.
    """
    from textlrp.annotate.annotations import read_annotations
    from textlrp.report.reading import read_report

    if decisions is not None and gold is None:
        raise click.UsageError("--decisions goes with --gold")
    if adjudicate and form is not None:
        raise click.UsageError("--adjudicate makes a page of its own: leave out --format")
    if gold is not None and not adjudicate and (form is not None or output is not None):
        raise click.UsageError("--gold writes a file of its own, and no comparison: leave out --format and -o")
    named = (("-o", output), ("--gold", gold))
    outputs = [Output(option, path) for option, path in named if path is not None]
    check_outputs(outputs, [*files, decisions, *report_files(report)], force=force)

    def say(sentence: str) -> None:
        click.echo(printable(sentence), err=True)

    contents = read_report(report)
    annotations = read_annotations(files, contents, say)
    if adjudicate:
        from textlrp.annotate.adjudication_page import adjudication_page

        _write(adjudication_page(annotations, contents), output)
    if gold is not None:
        from textlrp.annotate.gold import make_gold

        decided = () if decisions is None else read_annotations([decisions], contents, say, decisions=True)
        settled = make_gold(annotations, contents, decided)
        settled.write(gold)
        say(f"{gold}: {settled.said()}")
    if not adjudicate and gold is None:
        _compare(annotations, contents, form, output)


def _compare(annotations: tuple[Annotation, ...], contents: SentReport, form: str | None, output: Path | None) -> None:
    from textlrp.annotate import comparison
    from textlrp.annotate.table import render

    result = comparison.compare(annotations, contents)
    if form == "json":
        echo_json(result.to_json(output), output)
    elif form == "html":
        from textlrp.annotate.page import page

        _write(page(annotations, contents, result), output)
    elif form in ("csv", "latex"):
        from textlrp.annotate import papers

        _write(papers.comma_separated(result) if form == "csv" else papers.latex(result), output)
    else:
        show(render(result), output)


def _write(written: str, output: Path | None) -> None:
    from textlrp.basics.files import write_whole

    if output is None:
        echo_json(written, None)  # UTF-8, too
    else:
        write_whole(output, written)
