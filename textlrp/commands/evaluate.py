"""``textlrp evaluate``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from textlrp.basics.characters import printable
from textlrp.commands import interrupts
from textlrp.commands.outputs import Output, check_outputs
from textlrp.commands.shared import (
    LEFT_OUT,
    Loading,
    device_option,
    echo_json,
    rules_file,
    say_left_out,
    show,
    table_options,
    trust_option,
    writes,
)
from textlrp.errors import InputError
from textlrp.evaluate.run_folder import RESULTS, RUN
from textlrp.explain.progress import say, watched

if TYPE_CHECKING:
    from textlrp.evaluate.run import EvaluationStopped
    from textlrp.evaluate.summary import Summary

_EPILOG = """A corpus is the name of a bundled one, or a file, folder or data set as "textlrp report" takes them, with
:SPLIT behind it where it has several. A method is a preset of rules (difference may have a reference behind it:
difference:mask, :pad, :mean, :zero or :documents), rules:FILE.json, or one of random, attention, rollout,
gradient-norm, gradient-x-input, integrated-gradients[:STEPS], occlusion, beam[:WIDTH] (for texts of up to 24 tokens),
lime and shapley. --model, --corpus, --method and --perturb may be given several times.
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--model", "models", multiple=True, help="A model folder or a hub name.  [default: the built-in classifier]"
)
@click.option("--corpus", "corpora", multiple=True, help="The documents to measure on; needed, except with --read.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="A method to compare; the others are compared with the first.  [default: attnlrp, cp-lrp, gradient-x-input, "
    "integrated-gradients, rollout, occlusion, random]",
)
@click.option(
    "--perturb",
    multiple=True,
    type=click.Choice(["mask", "delete", "zero", "replace"]),
    help="How tokens are removed; replace puts tokens of other documents there.  [default: mask and zero, since a "
    "table of a single way misleads]",
)
@click.option(
    "--by",
    type=click.Choice(["token", "word"]),
    default="token",
    show_default=True,
    help="The unit that is removed at a time.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="The most steps in which the tokens are removed; a text of fewer gets one for each.",
)
@click.option(
    "--measures",
    default="faithfulness,plausibility",
    show_default=True,
    help="Plausibility is measured where words are marked as reasons for the predicted label.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="How many random documents to take of each corpus; 0 takes all.",
)
@click.option(
    "--limit-costly",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="How many of these for methods that take more than 100 forward passes a document; 0 takes all.",
)
@table_options
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed of all random numbers."
)
@device_option
@trust_option
@click.option(
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Save results here at once; the same command continues a stopped run.",
)
@click.option(
    "--read",
    "kept",
    is_flag=True,
    help="Show the run in --output DIR, finished or not, even while it goes on; no model runs.",
)
@click.option(
    "--format", "form", type=click.Choice(["terminal", "json", "html"]), default="terminal", show_default=True
)
@writes("-o", "output", metavar="FILE")
def evaluate(
    models: tuple[str, ...],
    corpora: tuple[str, ...],
    methods: tuple[str, ...],
    perturb: tuple[str, ...],
    by: str,
    steps: int,
    measures: str,
    limit: int,
    limit_costly: int,
    text: str | None,
    label: str | None,
    label_map: str | None,
    identity: str | None,
    rationales: str | None,
    encoding: str | None,
    strict: bool,
    seed: int,
    device: str | None,
    trusted: bool,
    folder: Path | None,
    kept: bool,
    form: str,
    output: Path | None,
    force: bool,
) -> None:
    """Measure how faithful methods are to the model, and how well they agree with people.

    Every method explains the predicted label of every document. Faithfulness: tokens are removed by their relevance,
    and the model reads the rest. Plausibility: the relevance is compared with the words that people marked. The table
    has intervals, tests and costs.
    """
    if kept:
        _show(_kept(folder, output, force), form, output)
        return
    if not corpora:
        raise click.UsageError("Missing option '--corpus'.")
    from textlrp.data.document_sets import read_document_sets
    from textlrp.data.short_names import short_names
    from textlrp.evaluate import run
    from textlrp.explain.explainer import DEMO_NAME
    from textlrp.explain.label_names import parse_label_map

    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"--output is a folder, and {str(folder)!r} is a file; -o names a file for the table")
    places = [] if folder is None else [folder, folder / RUN, folder / RESULTS]
    outputs = [Output("--output", path, kept=True) for path in places]
    outputs += [Output("-o", output)] if output is not None else []
    check_outputs(outputs, _read(models, corpora, methods), force=force)
    means = None if label_map is None else parse_label_map(label_map)
    document_sets = read_document_sets(
        corpora, text=text, label=label, id=identity, rationales=rationales, encoding=encoding
    )
    left_out = [(f"{each.name}, {row.place}", row.reason) for each in document_sets for row in each.skipped]
    if left_out and strict:
        raise InputError(f"{left_out[0][0]}: {left_out[0][1]}; without --strict, the other rows are measured")
    say_left_out(left_out, "")
    for each in document_sets:
        if each.note:
            say(printable(f"{each.name}: {each.note}"))
    loading = Loading(device=device, trusted=trusted)
    named = zip(short_names(models, "model"), models, strict=True)
    loaders = {name: partial(loading.explainer, model, "--model") for name, model in named}
    with interrupts.patient(), watched(lambda done, total: interrupts.check()):
        try:
            evaluation = run.evaluate(
                loaders or {DEMO_NAME: partial(loading.explainer, None, "--model")},
                document_sets,
                methods or run.METHODS,
                perturb=perturb or run.PERTURB,
                by=by,
                steps=steps,
                measures=tuple(measures.replace(",", " ").split()),
                limit=limit or None,
                limit_costly=limit_costly or None,
                label_map=means,
                seed=seed,
                folder=folder,
                progress=True,
            )
        except run.EvaluationStopped as stopped:
            _show_part(stopped, form, output, folder)
            raise
    _show(evaluation, form, output)
    if left_out:
        click.get_current_context().exit(LEFT_OUT)


def _show(evaluation: Summary, form: str, output: Path | None) -> None:
    """Print the tables, or write them to a file."""
    from textlrp.basics.files import write_whole

    if form == "json":
        echo_json(evaluation.to_json(output), output)
    elif form == "html":
        from textlrp.evaluate.page import page

        written = page(evaluation)
        if output is not None:
            write_whole(output, written)
        echo_json(written, output)
    else:
        from textlrp.evaluate.table import render

        show(render(evaluation), output)


def _show_part(stopped: EvaluationStopped, form: str, output: Path | None, folder: Path | None) -> None:
    """Print what a stopped evaluation has measured, and how to go on; a file is for a whole one."""
    if not stopped.results:
        return
    evaluation = stopped.summary()
    _show(evaluation, form if output is None else "terminal", None)
    measured, documents = (
        sum(getattr(section, name) for section in evaluation.sections) for name in ("measured", "documents")
    )
    on = "a run with --output DIR goes on where it was stopped"
    if folder is not None:
        on = f"the same command goes on, and --output {shlex.quote(str(folder))} --read shows the tables again"
    unwritten = "" if output is None else f"{str(output)!r} is not written; "
    say(printable(f"{measured:,} of {documents:,} documents are measured; {unwritten}{on}"))


def _kept(folder: Path | None, output: Path | None, force: bool) -> Summary:
    """Return the tables of the run in a folder."""
    from textlrp.evaluate.run_folder import read
    from textlrp.evaluate.summary import summarize

    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in ("folder", "kept", "form", "output", "force"):
            raise InputError(
                f"--read shows a run as it was begun, and {parameter.opts[0]} says how to make one: leave it out"
            )
    if folder is None:
        raise InputError("--read shows the run in a folder: name it with --output")
    outputs = [Output("-o", output)] if output is not None else []
    check_outputs(outputs, [folder / RUN, folder / RESULTS], force=force)
    return summarize(*read(folder))


def _read(models: Sequence[str], corpora: Sequence[str], methods: Sequence[str]) -> list[str | None]:
    """Return the names that may be files or folders to read."""
    rules = [rules_file(method.removeprefix("rules:")) for method in methods]
    return [*models, *corpora, *(corpus.rpartition(":")[0] or None for corpus in corpora), *rules]
