"""The command line: the group of commands, and its error messages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from textlrp.basics.characters import printable
from textlrp.basics.version import __version__
from textlrp.commands import check, evaluate, explain, export, interrupts, report, serve
from textlrp.commands.annotations import compare
from textlrp.commands.shared import drop
from textlrp.errors import FileError, InputError, LRPError, ran_out

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Commands(click.Group):
    """Turns every error into one sentence that a terminal can show: exit status 2 for usage, 1 for failure."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        with _printed():
            return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            with _printed():
                return super().invoke(context)
        except KeyboardInterrupt:
            context.exit(interrupts.STATUS)
        except LRPError as error:
            _complain(str(error))
            context.exit(2 if isinstance(error, InputError) and not isinstance(error, FileError) else 1)
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            _complain("there is not enough memory: give a smaller file or shorter texts, or fewer of them with --limit")
            context.exit(1)

    def main(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().main(*arguments, **options)
        except OSError as error:
            if error.filename is not None:
                raise
            # Standard output or standard error cannot be written to, maybe by --help or --version.
            drop(sys.stdout)
            _complain(f"cannot write the output: {error.strerror or error}")
            sys.exit(1)


def _complain(sentence: str) -> None:
    try:
        click.echo(f"Error: {printable(sentence)}", err=True)
    except OSError:  # only the exit status is left to report the error
        drop(sys.stderr)


@contextmanager
def _printed() -> Iterator[None]:
    """Replace control characters in click's messages, which repeat arguments such as file names."""
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = printable(error.message, "\n")  # the attribute is typed as final
        raise


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(__version__, package_name="textlrp", message="%(prog)s %(version)s")
def main() -> None:
    """Show which words made a text classifier decide."""


for command in (
    explain.explain,
    report.report,
    compare,
    export.export,
    serve.serve,
    evaluate.evaluate,
    check.check,
):
    main.add_command(command)


def run() -> None:
    """Run the command line in a process of its own."""
    interrupts.run(main)


if __name__ == "__main__":
    run()
