"""``textlrp export``."""

from __future__ import annotations

from pathlib import Path

import click

from textlrp.commands.outputs import Output, check_outputs
from textlrp.commands.shared import echo_json, writes
from textlrp.export.formats import FOLDERS, FORMATS

_EPILOG = """RUN is a run that a report saved (JSON lines), a file of explain --format json, or a folder of such files.
label-studio writes a folder with tasks.json and config.xml, brat a folder to copy into its data; spacy writes JSON for
displaCy, or with -o NAME.spacy a DocBin. Labels are "for" and "against" the explained label."""


@click.command(epilog=_EPILOG)
@click.argument("run")
@click.option("--to", type=click.Choice(FORMATS), required=True, help="The tool or table to write for.")
@writes("-o", "--output", help="Write to a file, or a new folder, whole or not at all.")
@click.option("--by", type=click.Choice(["token", "word", "sentence"]), default="word", show_default=True)
@click.option(
    "--threshold", type=float, help="Mark spans from this share of the strongest relevance on. [default: 0.1]"
)
@click.option("--top", type=int, metavar="N", help="Mark the N strongest spans of each explanation instead.")
@click.option("--graphemes", is_flag=True, help="For a doccano project that counts grapheme clusters as one character.")
@click.option(
    "--spreadsheet", is_flag=True, help="CSV for a spreadsheet: texts that look like formulas get a ' before."
)
def export(
    run: str,
    to: str,
    output: Path | None,
    force: bool,
    by: str,
    threshold: float | None,
    top: int | None,
    graphemes: bool,
    spreadsheet: bool,
) -> None:
    """Write the explanations of RUN for an annotation tool, or as a table."""
    from textlrp.data.records import read_run
    from textlrp.export import formats

    formats.check_output(to, output)
    outputs = [Output("-o", output)] if output is not None and to not in FOLDERS else []
    check_outputs(outputs, [run], force=force, runs=True)
    written = formats.export(
        read_run(run),
        to,
        output,
        by=by,
        threshold=threshold,
        top=top,
        graphemes=graphemes,
        spreadsheet=spreadsheet,
    )
    if written is not None:
        echo_json(written, None)
