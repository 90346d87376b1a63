"""Set methods against people: the words that annotators marked, the sign of rated phrases, edits that flip a label.

    python examples/measure_against_people.py --data FOLDER --model FOLDER [--limit 100] [--methods attnlrp cp-lrp ...]

FOLDER holds ``sst.jsonl.gz`` (``phrases``), ``sst_rationales.jsonl.gz`` (``annotators``) and
``counterfactual_movies.jsonl.gz`` (``pair``); the model tells NEG from POS. Means over texts, with 95 % bootstrap
intervals. It needs ``pip install "textlrp[evaluate]"``.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textlrp import Explainer
from textlrp.errors import LRPError
from textlrp.evaluate.baselines import scorer
from textlrp.evaluate.intervals import mean_interval
from textlrp.evaluate.plausibility import marked_words
from textlrp.evaluate.rationales import agreement, ceiling, chance, counterfactual, phrases, signed, words
from textlrp.results.attribution import Attribution

METHODS = ["attnlrp", "cp-lrp", "ln-lrp", "lrp-path", "gradient-x-input", "integrated-gradients", "rollout", "random"]
NAMES = {"POS": "positive", "NEG": "negative"}


def main(line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="default: the built-in classifier")
    parser.add_argument("--limit", type=int, default=100, help="texts of each kind")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    asked = parser.parse_args(line)
    explainer = Explainer.demo() if asked.model is None else Explainer.from_pretrained(asked.model)
    rated = [row for row in rows(asked.data / "sst.jsonl.gz") if row["split"] == "test"][: asked.limit]
    marked = rows(asked.data / "sst_rationales.jsonl.gz")[: asked.limit]
    edited = pairs(rows(asked.data / "counterfactual_movies.jsonl.gz"))[: asked.limit]
    people = [(row, votes) for row in marked if len(votes := votes_on(explainer, row)) > 1]
    print(f"{len(rated)} rated sentences, {len(people)} marked ones, {len(edited)} pairs; {explainer.name}\n")
    print("| method | sign of phrases, ranking | token F1 | AUPRC | pointing | relevance on edited words |")
    print("|---|---|---|---|---|---|")
    for name in asked.methods:
        print(f"| `{name}` | {' | '.join(measured(explainer, name, rated, people, edited))} |", flush=True)
    share = [each.chance for row, other in edited if (each := compared(explainer, "random", row, other))]
    for label, measure, last in (("a person against the others", ceiling, ""), ("chance", chance, interval(share))):
        found = [each for _, votes in people if (each := measure(votes)) is not None]
        shown = [interval([getattr(each, key) for each in found]) for key in ("token_f1", "auprc", "pointing")]
        print(f"| {label} | | {' | '.join(shown)} | {last} |")


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(each) for each in file]


def pairs(found: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    """Return the texts of the test part, each with its edited twin."""
    test = [row for row in found if row["split"] == "test"]
    by_pair: dict[str, list[dict[str, Any]]] = {}
    for row in test:
        by_pair.setdefault(row["pair"], []).append(row)
    return [(one, other["text"]) for pair in by_pair.values() for one in pair for other in pair if one is not other]


def score(explainer: Explainer, name: str, text: str, target: str, contrast: str | None = None) -> Attribution | None:
    """Return what a method makes of a text, or None where it cannot."""
    try:
        return scorer(name)(explainer, text, target=target, contrast=contrast)
    except LRPError:
        return None


def compared(explainer: Explainer, name: str, row: dict[str, Any], other: str) -> Any:
    """Return how much of a method's relevance is on the words that an edit changed."""
    found = score(explainer, name, row["text"], row["label"])
    return None if found is None else counterfactual(found, other)


def votes_on(explainer: Explainer, row: dict[str, Any]) -> list[tuple[bool, ...]]:
    """Return for each annotator who gave the text its label which words are marked."""
    counted = words(explainer.explain(row["text"], target=row["label"]))
    return [
        marked_words(counted, [(start, end, "text") for start, end in person["rationales"]])
        for person in row["annotators"]
        if person["label"] == NAMES.get(row["label"]) and person["rationales"]
    ]


def measured(explainer: Explainer, name: str, rated: Any, people: Any, edited: Any) -> list[str]:
    """Return the cells of a method's row."""
    signs = []
    for row in rated:
        found = score(explainer, name, row["text"], "POS", "NEG")
        signs += [] if found is None else phrases(found, row["phrases"])
    ranking = signed(signs).ranking
    agreed = []
    for row, votes in people:
        found = score(explainer, name, row["text"], row["label"])
        if found is not None:
            agreed.append(agreement([word.relevance for word in words(found)], votes))
    agreed = [each for each in agreed if each is not None]
    shares = [each.positive for row, other in edited if (each := compared(explainer, name, row, other)) is not None]
    cells = ["–" if ranking is None else f"{ranking:.2f}"]
    cells += [interval([getattr(each, key) for each in agreed]) for key in ("token_f1", "auprc", "pointing")]
    return [*cells, interval([share for share in shares if share is not None])]


def interval(values: Sequence[float]) -> str:
    """Return a mean with its interval."""
    if not values:
        return "–"
    found = mean_interval(values)
    return f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f})"


if __name__ == "__main__":
    main()
