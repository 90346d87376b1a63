"""The study behind the default rules: methods against each other, on classifiers of several tasks.

    python examples/evidence.py run --data FOLDER --models FOLDER --output RUNS [--part validation] [--only NAME ...]
    python examples/evidence.py table --output RUNS [--part validation]

The folders are those of train_classifiers.py. Every classifier has a folder of its own under RUNS, so a run that was
stopped goes on where it was. ``table`` writes Markdown: the areas of every method, and how ``difference`` compares with
``attnlrp``, by which the default is chosen: on the validation parts. The test parts are scored once, afterwards.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recipes import ENCODER, RECIPES, Goal, Item, Recipe

from textlrp import Explainer
from textlrp.data.document_sets import DocumentSet
from textlrp.data.documents import InputDocument
from textlrp.evaluate.measures import PERTURBATIONS
from textlrp.evaluate.run import evaluate
from textlrp.evaluate.run_folder import read
from textlrp.evaluate.summary import Section, Table, summarize

#: Perturbations that decide. Masked areas favor a mask as the reference, so they are shown only.
DECIDING = ("delete", "zero", "replace")
PERTURB = ("mask", *DECIDING)
#: The others are compared with the first.
METHODS = (
    "attnlrp", "difference", "difference:mean", "difference:zero", "difference:documents", "cp-lrp", "ln-lrp",
    "gradient-x-input", "integrated-gradients", "integrated-gradients:100", "occlusion", "rollout", "random", "shapley",
    "lime", "beam",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One classifier: the recipe that trained it, the end of its folder's name, how many texts in how many steps."""

    recipe: str
    suffix: str = ""
    limit: int = 100
    costly: int = 30
    steps: int = 6

    @property
    def name(self) -> str:
        return self.recipe + self.suffix


STUDIES = (
    *(Study("encoder-sst", suffix) for suffix in ("", "-1", "-2")),
    Study("encoder-imdb", limit=60, costly=10, steps=4),
    *(Study(f"encoder-{name}") for name in ("news", "emotions", "topics")),
    Study("encoder-edits", limit=60, costly=10, steps=4),
    Study("encoder-pairs", steps=4),
    *(Study(name) for name in ("gpt2-words-sst", "llama-words-sst")),
    *(Study(recipe.name, limit=60 if "imdb" in recipe.name else 100) for recipe in RECIPES if recipe.pieces != ENCODER),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or write the tables of what is measured."""
    parser = argparse.ArgumentParser(description="Measure methods on many classifiers.")
    commands = parser.add_subparsers(dest="command", required=True)
    run_parser = commands.add_parser("run", help="measure; a run that was stopped goes on")
    table_parser = commands.add_parser("table", help="write the tables of what is measured, as Markdown")
    run_parser.add_argument("--data", type=Path, required=True, help="folder with the gzipped JSON lines")
    run_parser.add_argument("--models", type=Path, required=True, help="folder of the classifiers")
    run_parser.add_argument("--limit", type=int, help="the most texts of a classifier, to see that it runs")
    run_parser.add_argument("--methods", nargs="+", default=METHODS, metavar="METHOD")
    for command in (run_parser, table_parser):
        command.add_argument("--output", type=Path, required=True, help="folder of the runs")
        command.add_argument("--part", choices=("validation", "test"), default="validation")
    run_parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the classifiers")
    options = parser.parse_args(arguments)
    if options.command == "table":
        print("\n".join(tables(options.output / options.part)))
        return
    for study in [study for study in STUDIES if not options.only or study.name in options.only]:
        folder = options.models / study.name
        if not (folder / "config.json").is_file():
            print(f"{study.name}: there is no model {folder}, so it is left out", file=sys.stderr, flush=True)
            continue
        measure(study, folder, options)


def measure(study: Study, folder: Path, options: argparse.Namespace) -> None:
    """Measure one classifier."""
    (recipe,) = (recipe for recipe in RECIPES if recipe.name == study.recipe)
    documents = texts_of(recipe, options.data, options.part)
    limit = min(study.limit, options.limit or study.limit)
    output = options.output / options.part / study.name
    output.parent.mkdir(parents=True, exist_ok=True)
    evaluate(
        {study.name: partial(Explainer.from_pretrained, folder, device="cpu")},
        [documents.sample(limit)],
        tuple(options.methods),
        perturb=PERTURB,
        steps=study.steps,
        limit_costly=min(study.costly, limit),
        measures=("faithfulness",),
        folder=output,
        progress=True,
    )


def texts_of(recipe: Recipe, data: Path, part: str) -> DocumentSet:
    """Return the texts of a part with their labels, in random order."""
    task = recipe.read(data, None)
    items: list[Item] = list(getattr(task, part))
    random.Random(0).shuffle(items)
    documents = []
    for i, (text, _) in enumerate(items):
        first, second = (text, None) if isinstance(text, str) else text
        documents.append(InputDocument(str(i), first, second, None))
    labels = {str(i): named(goal, task.labels) for i, (_, goal) in enumerate(items)}
    return DocumentSet(recipe.name, tuple(documents), labels)


def named(goal: Goal, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the labels of a text."""
    return tuple(label for label, share in zip(labels, goal, strict=True) if share > 0.5)


def tables(runs: Path) -> Iterator[str]:
    """Yield lines of Markdown: the areas of each perturbation, and how the default is chosen."""
    folders = sorted(folder for folder in runs.iterdir() if (folder / "run.json").is_file()) if runs.is_dir() else []
    if not folders:
        sys.exit(f"{runs} holds no runs: `evidence.py run` makes them")
    sections: dict[str, Section] = {}
    for folder in folders:
        (sections[folder.name],) = summarize(*read(folder)).sections
    for perturb in PERTURB:
        yield from area_table(perturb, {name: table_of(section, perturb) for name, section in sections.items()})
    behind, compared = 0, 0
    for perturb in DECIDING:
        for section in sections.values():
            gain = gain_of(table_of(section, perturb), "difference")
            compared += gain is not None
            behind += gain is not None and gain[1] < 0
    yield f"`difference` is behind `attnlrp` beyond its interval in {behind} of {compared} columns that decide"
    yield f"({', '.join(DECIDING)}): the default is `{'attnlrp' if behind > compared / 4 else 'difference'}`."


def table_of(section: Section, perturb: str) -> Table:
    """Return the table of one perturbation."""
    (found,) = (table for table in section.tables if table.perturb == perturb)
    return found


def area_table(perturb: str, of_classifier: dict[str, Table]) -> Iterator[str]:
    """Yield a table of areas, a row for each method; + and - say where it is above or below the first method."""
    methods = [row.method for row in next(iter(of_classifier.values())).rows]
    yield f"### Area, words {PERTURBATIONS[perturb]}"
    yield ""
    yield "| method | " + " | ".join(of_classifier) + " |"
    yield "|---" * (len(of_classifier) + 1) + "|"
    for method in methods:
        cells = []
        for table in of_classifier.values():
            cell = next((row.cells["area"] for row in table.rows if row.method == method), None)
            gain = gain_of(table, method)
            sign = "" if gain is None or gain[0] <= 0 <= gain[1] else " +" if gain[0] > 0 else " −"
            cells.append("" if cell is None or cell.mean is None else f"{cell.mean.mean:.2f}{sign}")
        yield f"| `{method}` | " + " | ".join(cells) + " |"
    yield ""


def gain_of(table: Table, method: str) -> tuple[float, float] | None:
    """Return the interval of a method's area minus that of the first method, or None without one."""
    cell = next((row.cells["area"] for row in table.rows if row.method == method), None)
    if cell is None or cell.difference is None or not math.isfinite(cell.difference.low):
        return None
    return cell.difference.low, cell.difference.high


if __name__ == "__main__":
    main()
