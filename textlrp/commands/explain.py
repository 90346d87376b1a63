"""``textlrp explain``."""

from __future__ import annotations

from pathlib import Path

import click

from textlrp.commands.outputs import Output, check_outputs
from textlrp.commands.shared import echo_json, load, read_text, rules_file, show, trust_option, writes

_EPILOG = """Colors follow the terminal: 16 million, 256, 16, or marks such as [++good] where there are none (NO_COLOR,
a pipe). TEXTLRP_BACKGROUND=light or dark tells the background where the terminal does not."""


@click.command(epilog=_EPILOG)
@click.argument("text", required=False)
@click.option("--file", "file", type=click.Path(path_type=Path), help="Read the text from a UTF-8 file.")
@click.option("--model", help="A model folder or a hub name. Default: the built-in classifier of English reviews.")
@click.option("--revision", help="Branch, tag or commit of a hub model.")
@click.option("--device", help="Where to run: cpu, cuda, ...  [default: cpu]")
@click.option("--dtype", help="Precision of the weights: float32, bfloat16, ...  [default: as stored]")
@trust_option
@click.option("--pair", metavar="TEXT", help="The second text of a pair: a hypothesis, a passage to rank.")
@click.option("--target", help="The label to explain, by name or index.  [default: the predicted one]")
@click.option("--contrast", help="Explain the difference to this label, or to the runner-up.")
@click.option(
    "--rules",
    default="attnlrp",
    show_default=True,
    help="A preset, epsilon=1e-6, gamma=0.25, or a JSON file.",
)
@click.option("--by", type=click.Choice(["token", "word", "sentence"]), default="word", show_default=True)
@click.option(
    "--long",
    type=click.Choice(["truncate", "windows", "error"]),
    default="truncate",
    show_default=True,
    help="A text longer than the model reads is cut, read in overlapping windows, or an error.",
)
@click.option("--window", type=int, help="How many ids are read at once.  [default: as many as the model reads]")
@click.option("--stride", type=int, help="How many ids after its predecessor a window may start.  [default: 3/4 of it]")
@click.option("--layers", is_flag=True, help="Look between the layers, too: relevance by layer, word and path.")
@click.option(
    "--format", "form", type=click.Choice(["terminal", "html", "json"]), default="terminal", show_default=True
)
@writes("-o", "--output")
def explain(
    text: str | None,
    file: Path | None,
    model: str | None,
    revision: str | None,
    device: str | None,
    dtype: str | None,
    trusted: bool,
    pair: str | None,
    target: str | None,
    contrast: str | None,
    rules: str,
    by: str,
    long: str,
    window: int | None,
    stride: int | None,
    layers: bool,
    form: str,
    output: Path | None,
    force: bool,
) -> None:
    """Explain TEXT, a file, or standard input (TEXT is - or left out)."""
    from textlrp.render.terminal import render
    from textlrp.rules import Rules

    document = read_text(text, file)
    chosen = Rules.parse(rules)
    written = [Output("-o", output)] if output is not None else []
    read = file if file is not None else "-" if text in (None, "-") else None
    check_outputs(written, [read, rules_file(rules), model], force=force)
    explainer = load(model, "--model", revision, device, dtype, trusted)
    explanation = explainer.explain(
        document,
        pair,
        target=target,
        contrast=contrast,
        rules=chosen,
        long=long,
        window=window,
        stride=stride,
        layers=layers,
        progress=True,
    )
    if form == "json":
        echo_json(explanation.to_json(output), output)
    elif form == "html":
        echo_json(explanation.to_html(output, by=by), output)
    else:
        show(render(explanation, by), output)
