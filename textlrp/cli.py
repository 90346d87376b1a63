"""The command line: parses, calls, prints; decides nothing."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textlrp import __version__
from textlrp.errors import InputError, LRPError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from textlrp.explainer import Explainer

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_EPILOG = """Colors follow the terminal: 16 million, 256, 16, or marks such as [++good] where there are none (NO_COLOR,
a pipe). TEXTLRP_BACKGROUND=light or dark tells the background where the terminal does not."""


class _Commands(click.Group):
    """Turns every error of textlrp into one sentence: exit status 2 for usage, 1 for failure."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LRPError as error:
            # A label or a file name must not command the terminal.
            message = "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(error))
            click.echo(f"Error: {message}", err=True)
            context.exit(2 if isinstance(error, InputError) else 1)


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(__version__, package_name="textlrp", message="%(prog)s %(version)s")
def main() -> None:
    """Show which words made a text classifier decide."""


@main.command(epilog=_EPILOG)
@click.argument("text", required=False)
@click.option("--file", "file", type=click.Path(path_type=Path), help="Read the text from a UTF-8 file.")
@click.option("--model", help="A model folder or a hub name. Default: the built-in classifier of English reviews.")
@click.option("--revision", help="Branch, tag or commit of a hub model.")
@click.option("--device", help="Where to run: cpu, cuda, ...  [default: cpu]")
@click.option("--dtype", help="Precision of the weights: float32, bfloat16, ...  [default: as stored]")
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
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file, whole or not at all.")
def explain(
    text: str | None,
    file: Path | None,
    model: str | None,
    revision: str | None,
    device: str | None,
    dtype: str | None,
    pair: str | None,
    target: str | None,
    contrast: str | None,
    rules: str,
    by: str,
    long: str,
    window: int | None,
    stride: int | None,
    form: str,
    output: Path | None,
) -> None:
    """Explain TEXT, a file, or standard input (TEXT is - or left out)."""
    from textlrp.rules import Rules
    from textlrp.terminal import render

    document = _read_text(text, file)
    chosen = Rules.parse(rules)
    _check_output(output)
    explainer = _load(model, "--model", revision, device, dtype)
    explanation = explainer.explain(
        document,
        pair,
        target=target,
        contrast=contrast,
        rules=chosen,
        long=long,
        window=window,
        stride=stride,
        progress=True,
    )
    if form == "json":
        _echo_json(explanation.to_json(output), output)
    else:
        _show(render(explanation, by), output)


@main.command()
@click.argument("model", required=False)
@click.option("--text", "texts", multiple=True, help="A text to try it on; may be given several times.")
@click.option("--file", "file", type=click.Path(path_type=Path), help="Read texts from a UTF-8 file, one a line.")
@click.option("--revision", help="Branch, tag or commit of a hub model.")
@click.option("--device", help="Where to run: cpu, cuda, ...  [default: cpu]")
@click.option("--dtype", help="Precision of the weights: float32, bfloat16, ...  [default: as stored]")
@click.option("--rules", multiple=True, default=("attnlrp", "cp-lrp"), show_default=True, help="May be given twice.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, and nothing else.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file, whole or not at all.")
@click.pass_context
def check(
    context: click.Context,
    model: str | None,
    texts: tuple[str, ...],
    file: Path | None,
    revision: str | None,
    device: str | None,
    dtype: str | None,
    rules: tuple[str, ...],
    as_json: bool,
    output: Path | None,
) -> None:
    """Check that MODEL, a folder or a hub name, can be explained; without MODEL, the built-in classifier.

    Some texts are explained: which operation met which rule, where the logits went, what that cost, and whether
    everything that textlrp promises holds. The exit status is 1 where it does not. An issue report should contain
    the output.
    """
    from textlrp.rules import Rules
    from textlrp.tokens import check_text

    chosen = [Rules.parse(each) for each in rules]
    documents = _read_texts(texts, file)
    for document in documents or ():
        check_text(document)
    _check_output(output)
    explainer = _load(model, "MODEL", revision, device, dtype)
    from textlrp.audit import audit

    found = audit(explainer, documents, chosen)
    if as_json:
        _echo_json(found.to_json(output), output)
    else:
        _show(found, output)
    context.exit(0 if found.passed else 1)


def _load(model: str | None, named: str, revision: str | None, device: str | None, dtype: str | None) -> Explainer:
    from textlrp.explainer import Explainer

    if model is not None:
        return Explainer.from_pretrained(model, revision=revision, device=device, dtype=dtype)
    if revision is not None or dtype is not None:
        raise InputError(f"--revision and --dtype go with {named}: the built-in classifier has one form")
    return Explainer.demo(device=device)


def _read_texts(texts: tuple[str, ...], file: Path | None) -> list[str] | None:
    """Return the texts that were given, or None where none were."""
    if file is None:
        return list(texts) or None
    lines = [line for line in _read_text(None, file).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"there is no text in {str(file)!r}: write one a line")
    return [*texts, *lines]


def _echo_json(written: str, output: Path | None) -> None:
    if output is None:
        click.echo(written.encode(), nl=False)  # JSON is UTF-8, whatever the terminal is


def _read_text(text: str | None, file: Path | None) -> str:
    if file is not None:
        if text is not None:
            raise InputError("give the text or --file, not both")
        try:
            return _decode(file.read_bytes(), repr(str(file)))
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise InputError(f"cannot read {str(file)!r}: {getattr(error, 'strerror', None) or error}") from None
    if text is not None and text != "-":
        return text
    if sys.stdin is None or (text is None and sys.stdin.isatty()):
        raise InputError("no text to explain: give it in quotes, with --file, or on standard input")
    return _decode(sys.stdin.buffer.read(), "standard input")


def _decode(raw: bytes, source: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source} is not UTF-8: byte {error.start:,} ({raw[error.start]:#04x}) cannot be read; save it as UTF-8"
        ) from None


def _check_output(output: Path | None) -> None:
    """Fail before the model runs where the result could not be written."""
    if output is None:
        return
    if output.is_dir():
        raise InputError(f"cannot write {str(output)!r}: it is a folder; name a file in it")
    if not output.parent.is_dir():
        raise InputError(f"cannot write {str(output)!r}: there is no folder {str(output.parent)!r}; make it first")
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        raise InputError(f"cannot write {str(output)!r}: permission denied")


def _show(found: RenderableType, output: Path | None) -> None:
    from io import StringIO

    from rich.console import Console

    from textlrp.files import write_whole

    if output is not None:
        buffer = StringIO()
        Console(file=buffer, color_system=None).print(found, soft_wrap=True)
        write_whole(output, buffer.getvalue())
        return
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the terminal lacks is shown as "?"
    console = Console(highlight=False)
    console.print(found, soft_wrap=not console.is_terminal)


if __name__ == "__main__":
    main()
