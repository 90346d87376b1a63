"""The command line: parses, calls, prints; decides nothing."""

from __future__ import annotations

import sys
from typing import Any

import click

from textlrp import __version__
from textlrp.commands import check, evaluate, explain, export, report, serve
from textlrp.commands.annotations import compare
from textlrp.commands.shared import drop, printable
from textlrp.errors import FileError, InputError, LRPError

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Commands(click.Group):
    """Turns every error of textlrp into one sentence: exit status 2 for usage, 1 for failure."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LRPError as error:
            _complain(str(error))
            context.exit(2 if isinstance(error, InputError) and not isinstance(error, FileError) else 1)

    def main(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().main(*arguments, **options)
        except OSError as error:
            if error.filename is not None:
                raise
            # Standard output or standard error cannot be written to: here --help and --version end, too.
            drop(sys.stdout)
            _complain(f"cannot write what was to be shown: {error.strerror or error}")
            sys.exit(1)


def _complain(sentence: str) -> None:
    try:
        click.echo(f"Error: {printable(sentence)}", err=True)
    except OSError:  # nobody can be told, but for the exit status
        drop(sys.stderr)


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


if __name__ == "__main__":
    main()
