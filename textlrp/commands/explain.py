"""``textlrp explain``."""

from __future__ import annotations

from pathlib import Path

import click

from textlrp.commands.outputs import Output, check_outputs
from textlrp.commands.shared import (
    Loading,
    chosen_rules,
    contrast_option,
    echo_json,
    loading_options,
    long_text_options,
    model_option,
    read_text,
    redact_options,
    reference_option,
    rules_file,
    rules_option,
    show,
    writes,
)
from textlrp.errors import InputError

_EPILOG = """Colors follow the terminal: 16 million, 256, 16, or marks such as [++good] where there are none (NO_COLOR,
a pipe). TEXTLRP_BACKGROUND=light or dark tells the background where the terminal does not."""


@click.command(epilog=_EPILOG)
@click.argument("text", required=False)
@click.option("--file", "file", type=click.Path(path_type=Path), help="Read the text from a UTF-8 file.")
@model_option
@loading_options
@click.option("--pair", metavar="TEXT", help="The second text of a pair: a hypothesis, a passage to rank.")
@click.option("--target", help="The label to explain, by name or index.  [default: the predicted one]")
@contrast_option
@rules_option
@reference_option
@click.option("--by", type=click.Choice(["token", "word", "sentence"]), default="word", show_default=True)
@long_text_options
@click.option("--layers", is_flag=True, help="Explain the hidden states, too: relevance by layer, word and path.")
@click.option(
    "--format", "form", type=click.Choice(["terminal", "html", "json"]), default="terminal", show_default=True
)
@redact_options
@writes("-o", "--output")
def explain(
    text: str | None,
    file: Path | None,
    model: str | None,
    loading: Loading,
    pair: str | None,
    target: str | None,
    contrast: str | None,
    rules: str | None,
    references: tuple[str, ...],
    by: str,
    long: str | None,
    window: int | None,
    overlap: int | None,
    layers: bool,
    form: str,
    redacted: tuple[str, ...],
    redacted_names: Path | None,
    output: Path | None,
    force: bool,
) -> None:
    """Explain TEXT, a file, or standard input (TEXT is - or left out)."""
    from textlrp.render.terminal import render
    from textlrp.report.redaction import Redaction

    document = read_text(text, file)
    chosen, how = chosen_rules(rules, references)
    written = [Output("-o", output)] if output is not None else []
    read = file if file is not None else "-" if text in (None, "-") else None
    check_outputs(written, [read, rules_file(rules), model, redacted_names], force=force)
    redaction = Redaction.parse(redacted, redacted_names)
    if redaction is not None:
        if form != "html":
            raise InputError("--redact goes with --format html: it hides words on a page")
        if output is not None:
            redaction.check_file(output)
    explainer = loading.explainer(model, "--model")
    explanation = explainer.explain(
        document,
        pair,
        target=target,
        contrast=contrast,
        rules=chosen,
        long=long or "truncate",
        window=window,
        overlap=overlap,
        layers=layers,
        progress=True,
        **how,
    )
    if form == "json":
        echo_json(explanation.to_json(output), output)
    elif form == "html":
        shown = explanation if redaction is None else redaction.explanation(explanation)
        echo_json(shown.to_html(output, by=by), output)
    else:
        show(render(explanation, by), output)
