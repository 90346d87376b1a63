"""``textlrp serve``."""

from __future__ import annotations

import sys

import click

from textlrp.commands.shared import Loading, echo, loading_options


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    help="A model folder or a hub name; may be given several times. Default: the built-in classifier.",
)
@click.option(
    "--port", type=int, default=0, show_default="any free one", help="The port to listen on, on this machine alone."
)
@loading_options
@click.option("--open/--no-open", "opened", default=None, help="Open the page in a browser.  [default: in a terminal]")
def serve(
    models: tuple[str, ...],
    port: int,
    loading: Loading,
    opened: bool | None,
) -> None:
    """Explain texts as you type them, on a page of this machine.

    The printed address has a secret token: anyone on this machine who knows it can use the page. Ctrl-C ends it.
    """
    from textlrp.serve import server

    server.check()
    listening = server.bind(port)
    try:
        loaded = [loading.explainer(model, "--model") for model in models or (None,)]
        server.run([server.Model.of(explainer) for explainer in loaded], listening, lambda url: _say(url, opened))
    finally:
        listening.close()


def _say(address: str, opened: bool | None) -> None:
    echo(address)
    click.echo("Ctrl-C ends it.", err=True)
    if opened or (opened is None and sys.stdout.isatty()):
        import webbrowser

        webbrowser.open(address)
