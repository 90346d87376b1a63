"""Common parts of the commands: options, loading of models, reading of texts, writing of outputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

import click

from textlrp.basics import readable
from textlrp.basics.characters import printable
from textlrp.commands.outputs import RULE
from textlrp.errors import FileError, InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from textlrp.explain.explainer import Explainer
    from textlrp.rules import Rules


Command = TypeVar("Command", bound=Callable[..., Any])


def _options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Return a decorator that adds options in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _refuse_stride(context: click.Context, option: click.Parameter, value: str | None) -> None:
    from textlrp.explain.long_texts import NO_STRIDE

    if value is not None:
        raise click.UsageError(NO_STRIDE, context)


device_option = click.option("--device", help="The device to run on: cpu, cuda, ...  [default: cpu]")

#: The consent to run a model's own code; every command that loads a model has it.
trust_option = click.option(
    "--trust-remote-code",
    "trusted",
    is_flag=True,
    help="Run code in a model's own files; without this option none runs.",
)

model_option = click.option(
    "--model", help="A model folder or a hub name. Default: the built-in classifier of English reviews."
)


@dataclass(frozen=True)
class Loading:
    """How a model is loaded: the options of the command line, and those that were given by name."""

    revision: str | None = None
    device: str | None = None
    dtype: str | None = None
    trusted: bool = False
    labels: str | None = None
    template: str | None = None
    multi_label: bool = False

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        names = {"trusted": "trust-remote-code", "multi_label": "multi-label"}
        return [f"--{names.get(each.name, each.name)}" for each in fields(self) if getattr(self, each.name)]

    def explainer(self, model: str | None, option: str) -> Explainer:
        """Return the explainer of a model, or of the built-in classifier; ``option`` names the option of the model."""
        from textlrp.explain.explainer import Explainer

        if model is not None:
            return Explainer.from_pretrained(
                model,
                revision=self.revision,
                device=self.device,
                dtype=self.dtype,
                trust_remote_code=self.trusted,
                labels=None if self.labels is None else _labels(self.labels),
                template=None if self.template is None else self.template.replace("\\n", "\n"),
                multi_label=self.multi_label,
            )
        other = [name for name in self.given if name != "--device"]
        if other:
            raise InputError(f"{other[0]} goes with {option}: the built-in classifier has one form")
        return Explainer.demo(device=self.device)


def _labels(written: str) -> Any:
    """Return names of labels, or the words for each: ``'POS= positive,NEG= negative'``, or a JSON file of either."""
    from textlrp.basics.files import read_json

    if written.lower().endswith(".json"):
        return read_json(written)
    pairs = [part.partition("=") for part in written.split(",")]
    if all(sign for _, sign, _ in pairs):
        return {name.strip(): words for name, _, words in pairs}
    return written.split(",")


def loading_options(command: Command) -> Command:
    """Add the options of how a model is loaded; the command gets them as ``loading``, a :class:`Loading`."""

    @wraps(command)
    def with_loading(*args: Any, **options: Any) -> Any:
        loading = Loading(**{each.name: options.pop(each.name) for each in fields(Loading)})
        return command(*args, loading=loading, **options)

    add = _options(
        click.option("--revision", help="Branch, tag or commit of a hub model."),
        device_option,
        click.option("--dtype", help="Precision of the weights: float32, bfloat16, ...  [default: as stored]"),
        trust_option,
        click.option(
            "--labels",
            metavar="LABELS",
            help="Labels for a model that has none of its own: 'sport,politics' for one of natural-language inference, "
            "'POS= positive,NEG= negative' (the words for each) for a language model; or a JSON file.",
        ),
        click.option(
            "--template",
            metavar="TEXT",
            help="The hypothesis, 'This example is {}.', or the prompt of a language model, "
            "'Review: {text}\\nSentiment:'.",
        ),
        click.option("--multi-label", is_flag=True, help="Several of --labels can be true of a text."),
    )
    return cast("Command", add(with_loading))


contrast_option = click.option("--contrast", help="Explain the difference to this label, or to the runner-up.")
rules_option = click.option(
    "--rules",
    help="A preset (attnlrp, cp-lrp, cp-lrp-gates, ln-lrp, lrp-0, epsilon, gamma, attnlrp-positions, or difference, "
    "which measures from a reference), epsilon=1e-6, gamma=0.25, or a JSON file.  [default: attnlrp]",
)
reference_option = click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="TEXT",
    help="What --rules difference measures from: mask, mean, zero, pad, a token, or a text of as many ids; several are "
    "averaged.  [default: mask, or mean without a mask token]",
)

#: How a table of documents is read.
table_options = _options(
    click.option("--text", help="The column of the text; a.b is b inside a.  [default: text, sentence, ...]"),
    click.option(
        "--label", help="The column of the right label, or of a list; an empty name takes none.  [default: label, ...]"
    ),
    click.option(
        "--label-map",
        metavar="MAP",
        help="What labels in the data mean: 'neg=NEG,2=2 stars', or a JSON file; an empty name means none.",
    ),
    click.option(
        "--id", "identity", help="The column of the id; an empty name numbers the rows.  [default: id, or that number]"
    ),
    click.option(
        "--rationales",
        help="The column of marked words; an empty name takes none.  [default: rationales, or an annotation tool's]",
    ),
    click.option("--encoding", help="The encoding of a text file: cp1252, ...  [default: UTF-8]"),
    click.option("--strict", is_flag=True, help="Stop where a row of the table is no document, and explain nothing."),
)

#: The exit status of a command that is done, but left out rows or documents, each of which it names.
LEFT_OUT = 3

_LISTED = 10  # rows or documents that are named on standard error


def say_left_out(reasons: Sequence[tuple[str, str]], rest: str) -> None:
    """Name the first rows or documents that are left out, each with the reason; ``rest`` says where the others are."""
    for name, reason in reasons[:_LISTED]:
        click.echo(printable(f"not explained: {name}: {reason}"), err=True)
    if len(reasons) > _LISTED:
        click.echo(f"not explained: {len(reasons) - _LISTED:,} more{rest}", err=True)


#: How a text that is longer than the model reads is read.
long_text_options = _options(
    click.option(
        "--long",
        type=click.Choice(["truncate", "windows", "error"]),
        help="A text longer than the model reads is cut, read in overlapping windows, or not explained.  "
        "[default: truncate]",
    ),
    click.option(
        "--window", type=int, help="The number of ids to read at once.  [default: as many as the model reads]"
    ),
    click.option("--overlap", type=int, help="The least number of ids that windows share.  [default: a quarter]"),
    click.option("--stride", hidden=True, expose_value=False, callback=_refuse_stride),
)


redact_options = _options(
    click.option(
        "--redact",
        "redacted",
        multiple=True,
        metavar="WHAT",
        help="Hide words on the page: emails, phones, urls, numbers, texts (every word), with commas between them; or "
        "what a regular expression finds, 're:[A-Z]{2}[0-9]+'.",
    ),
    click.option(
        "--redact-names",
        "redacted_names",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Hide the names or words in a file, one a line.",
    ),
)


def chosen_rules(rules: str | None, references: Sequence[str] = ()) -> tuple[Rules, dict[str, Any]]:
    """Return the rules, and the option ``reference`` of an explainer if references are given.

    Raises:
        InputError: the rules are unknown, or take no reference.
    """
    from textlrp.rules import Rules

    chosen = Rules.parse("attnlrp" if rules is None else rules)
    if references and not chosen.difference:
        raise InputError("--reference goes with --rules difference: the other rules measure from zero")
    return chosen, ({"reference": references[0] if len(references) == 1 else list(references)} if references else {})


def read_texts(texts: tuple[str, ...], file: Path | None) -> list[str] | None:
    """Return the texts of the arguments and of the file, or None if there are none."""
    if file is None:
        return list(texts) or None
    lines = [line.rstrip("\r") for line in read_text(None, file).split("\n") if line.strip()]
    if not lines:
        raise InputError(f"there is no text in {str(file)!r}: write one a line")
    return [*texts, *lines]


def writes(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """Add the option that names the file to write, and ``--force``."""
    settings = {"type": click.Path(path_type=Path), "help": "Write to a file, whole or not at all.", **settings}

    def add(command: Command) -> Command:
        return click.option(*names, **settings)(click.option("--force", is_flag=True, help=RULE)(command))

    return add


def rules_file(rules: str | None) -> str | None:
    """Return the file of rules that are read from a file, else None."""
    return rules if rules is not None and rules.lower().endswith(".json") else None


def echo(written: str | bytes) -> None:
    """Write text or UTF-8 bytes to standard output."""
    with standard_output():
        click.echo(written, nl=isinstance(written, str))


def echo_json(written: str, output: Path | None) -> None:
    if output is None:
        echo(written.encode())  # JSON is UTF-8 in any terminal


@contextmanager
def standard_output() -> Iterator[None]:
    """Turn errors of the system while a command writes to standard output into one sentence.

    A closed pipe still raises BrokenPipeError: the program ends silently, with status 1.

    Raises:
        FileError: standard output is closed, or cannot be written to.
    """
    if sys.stdout is None:
        raise FileError("cannot write to standard output: it is closed")
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        drop(sys.stdout)
        raise FileError(f"cannot write to standard output: {error.strerror or error}") from None


def drop(stream: TextIO) -> None:
    """Discard the buffer of a stream: at exit, Python would try again to write it, and print an error."""
    with suppress(OSError):  # a stream without a file
        number, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def read_text(text: str | None, file: Path | None) -> str:
    if file is not None:
        if text is not None:
            raise InputError("give the text or --file, not both")
        try:
            readable.check(file)
            raw = file.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise InputError(f"cannot read {str(file)!r}: {getattr(error, 'strerror', None) or error}") from None
        return _decode(raw, repr(str(file)))
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


def show(result: RenderableType, output: Path | None) -> None:
    """Print a result, or write it to a file as plain text."""
    from io import StringIO

    from rich.console import Console

    from textlrp.basics.files import write_whole

    if output is not None:
        buffer = StringIO()
        Console(file=buffer, color_system=None).print(result, soft_wrap=True)
        write_whole(output, buffer.getvalue())
        return
    with standard_output():
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a character that the terminal lacks is shown as "?"
        console = Console(highlight=False)
        console.print(result, soft_wrap=not console.is_terminal)
