"""Every example runs, as a new user runs it."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import random
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import transformers
from strict_python import STRICT
from tiny_bert import bert, fast_tokenizer

import textlrp

EXAMPLES = Path(__file__).parent.parent / "examples"
GOOD, BAD = "warm funny bright lovely superb gentle".split(), "dull slow grim clumsy stale awful".split()


def run(name: str, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*STRICT, str(EXAMPLES / name), *map(str, options)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=300)


def test_explain_reviews() -> None:
    done = run("explain_reviews.py", NO_COLOR="1")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    verdicts = [line.split()[0] for line in lines if "explained:" in line]
    assert len(verdicts) == 3
    assert verdicts == ["POS", "NEG", "POS"]
    assert sum(line.startswith("relevance") for line in lines) == 3
    assert sum(line.startswith("ledger") and "residue" in line for line in lines) == 3
    assert "[++" in done.stdout
    assert "not" in done.stdout


def sentence(words: list[str], draw: random.Random, size: int) -> str:
    return " ".join(f"the {draw.choice(['plot', 'cast', 'ending'])} is {draw.choice(words)}" for _ in range(size))


def made_up_reviews(folder: Path) -> None:
    """The three sets, a few dozen rows of each, that one look tells apart."""
    draw = random.Random(0)
    sets: dict[str, list[dict[str, Any]]] = {"imdb": [], "sst": [], "counterfactual_movies": []}
    for i in range(240):
        split, good = ("train", "train", "val", "test")[i % 4], i % 2 == 0
        words, label = (GOOD, "POS") if good else (BAD, "NEG")
        text = sentence(words, draw, 8)
        phrases = [[0, len(text), 4 if good else 0], [0, len("the plot"), 2]]
        if split != "val":
            sets["imdb"].append({"text": text, "label": label, "split": split})
        short = sentence(words, draw, 2)
        phrases = [[0, len(short), 4 if good else 0], [0, 3, 2]]
        sets["sst"].append({"text": short, "sentiment": 4 if good else 0, "split": split, "phrases": phrases})
        sets["counterfactual_movies"].append({"text": sentence(words, draw, 5), "label": label, "split": split})
    for name, rows in sets.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.mark.slow
def test_train_demo_teacher_and_classifier(tmp_path: Path) -> None:
    made_up_reviews(tmp_path)
    encoder, transfer, target = (tmp_path / name for name in ("encoder", "transfer.jsonl.gz", "model"))
    tokenizer = fast_tokenizer("wordpiece")
    bert(len(tokenizer)).save_pretrained(encoder)
    tokenizer.save_pretrained(encoder)
    given = ("--data", tmp_path, "--encoder", encoder)
    counts = ("--learn", 50, "--sentences", 20, "--made", 40)
    done = run("train_demo_teacher.py", *given, "--output", transfer, *counts)
    assert done.returncode == 0, done.stderr
    with gzip.open(transfer, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert {tuple(row) for row in rows} == {("text", "logit")}
    assert len({row["text"] for row in rows}) == len(rows) > 60
    again = run("train_demo_teacher.py", *given, "--output", transfer)
    assert again.returncode == 1
    assert "exists: remove it" in again.stderr
    done = run("train_demo_classifier.py", *given, "--transfer", transfer, "--output", target, "--quick")
    assert done.returncode == 0, done.stderr
    assert "| imdb | test |" in done.stdout
    card = (target / "README.md").read_text(encoding="utf-8")
    assert "--seed 0" in card
    assert f"{len(rows)} more texts have the labels of a teacher" in card
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["encoder", "model"]
    transformers.AutoModelForSequenceClassification.from_pretrained(target)
    assert transformers.AutoTokenizer.from_pretrained(target).model_max_length == 512
    e = textlrp.Explainer.from_pretrained(target).explain("the plot is dull")
    assert e.ledger.balanced


def test_made_texts_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    wordings = importlib.import_module("demo_wordings")
    texts = wordings.made(
        ["The plot is dull.", "It never works for me.", "I had a lovely evening there."], 400, random.Random(1)
    )
    assert len(set(texts)) == len(texts) == 400
    assert not [text for text in texts if set("{}[]|") & set(text) or text != text.strip()]
    assert wordings.negated("The plot is dull.", random.Random(0)) in (
        "The plot isn't dull.", "The plot is not dull.", "The plot is never dull."
    )  # fmt: skip
    assert wordings.negated("It never works.", random.Random(0)) == "It works."
    assert wordings.negated("A dull evening.", random.Random(0)) is None
    assert wordings.joined("The plot is dull.", "I left early.", random.Random(4)).startswith("The plot is dull")


def test_train_demo_classifier_refuses_to_replace_what_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    transfer = tmp_path / "notes.txt"
    given = ("--transfer", transfer, "--encoder", tmp_path)
    for options, words in (
        (("--output", tmp_path, *given), "holds no model"),
        (("--output", tmp_path / "new", "--data", tmp_path / "nowhere", *given), "there is no folder"),
        (("--output", tmp_path / "new", "--transfer", tmp_path / "no", "--encoder", tmp_path), "there is no file"),
    ):
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.setattr("sys.argv", ["train_demo_classifier.py", *map(str, options)])
        with pytest.raises(SystemExit, match=words):
            runpy.run_path(str(EXAMPLES / "train_demo_classifier.py"), run_name="__main__")
    done = run("train_demo_classifier.py", "--output", tmp_path / "new", "--data", tmp_path, *given)
    assert done.returncode == 1
    assert "imdb.jsonl.gz is missing" in done.stderr
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"
