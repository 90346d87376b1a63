"""``textlrp annotations``."""

from __future__ import annotations

from pathlib import Path

import click

from textlrp.basics.characters import printable
from textlrp.commands.outputs import Output, check_outputs, report_files
from textlrp.commands.shared import echo_json, show, writes


@click.command("annotations")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option(
    "--report",
    required=True,
    type=click.Path(path_type=Path),
    help="The report that the files were made in; of a split report, its first file.",
)
@click.option(
    "--format", "form", type=click.Choice(["terminal", "json", "html"]), default="terminal", show_default=True
)
@writes("-o", "--output")
def compare(files: tuple[Path, ...], report: Path, form: str, output: Path | None, force: bool) -> None:
    """Compare the marks of annotators in a report with each other, and with the model.

    FILE... are downloads of the report's page, one or more for each annotator; or what Label Studio, doccano, Prodigy,
    brat or spaCy saved of the same texts.
    """
    from textlrp.annotate import comparison
    from textlrp.annotate.annotations import read_annotations
    from textlrp.annotate.table import render
    from textlrp.basics.files import write_whole
    from textlrp.report.reading import read_report

    outputs = [Output("-o", output)] if output is not None else []
    check_outputs(outputs, [*files, *report_files(report)], force=force)
    contents = read_report(report)
    annotations = read_annotations(files, contents, lambda sentence: click.echo(printable(sentence), err=True))
    result = comparison.compare(annotations, contents)
    if form == "json":
        echo_json(result.to_json(output), output)
    elif form == "html":
        from textlrp.annotate.page import page

        written = page(annotations, contents, result)
        if output is None:
            echo_json(written, None)  # UTF-8, too
        else:
            write_whole(output, written)
    else:
        show(render(result), output)
