"""The classifiers for measuring are trained, scored and written; here in small, on made-up sets."""

from __future__ import annotations

import gzip
import importlib
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import textlrp

EXAMPLES = Path(__file__).parent.parent / "examples"
PLACES = "the plot ending cast team game market share".split()
WORDS = {
    "NEG": "dull grim stale",
    "POS": "warm bright superb",
    "Sports": "goal match coach",
    "World": "treaty vote border",
    "joy": "happy glad great",
    "grief": "loss tears alone",
}


@pytest.fixture(scope="module")
def examples() -> Iterator[dict[str, ModuleType]]:
    """The modules of the example, which stand in no package."""
    sys.path.insert(0, str(EXAMPLES))
    names = ("train_classifiers", "recipes", "training", "demo_sets", "evidence")
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(EXAMPLES))
    for name in names:
        del sys.modules[name]


def row(label: str, number: int, several: bool = False) -> dict[str, Any]:
    draw = random.Random(f"{label} {number}")
    text = " ".join(f"{draw.choice(PLACES)} is {draw.choice(WORDS[label].split())} {number}" for _ in range(6))
    split = ("train", "train", "val", "test")[number % 4]
    return {"text": text, "split": split, **({"labels": [label]} if several else {"label": label})}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    sides = [row(label, number) for number in range(48) for label in ("NEG", "POS")]
    papers = [row(label, number) for number in range(48) for label in ("Sports", "World")]
    trees = [
        r | {"sentiment": 4 * (r["label"] == "POS"), "phrases": [[0, len(r["text"]), 4], [0, 8, 2], [0, 12, 3]]}
        for r in sides
    ]
    write(folder / "sst.jsonl.gz", trees)
    write(folder / "sst_rationales.jsonl.gz", [trees[0] | {"split": "in_sst_train"}])
    write(folder / "imdb.jsonl.gz", [r for r in sides if r["split"] != "val"])
    # The originals of the edits stand in imdb, too, as they do in the real sets.
    write(
        folder / "counterfactual_movies.jsonl.gz", [sides[0], sides[1], sides[2] | {"split": "test"}, row("NEG", 998)]
    )
    write(folder / "movies.jsonl.gz", [sides[9] | {"split": "val"}])
    write(folder / "news.jsonl.gz", [r for r in papers if r["split"] != "val"])
    write(folder / "topics_multilingual.jsonl.gz", [r | {"language": "eng_Latn"} for r in papers])
    write(folder / "emotions.jsonl.gz", [row(label, n, True) for n in range(48) for label in ("joy", "grief")])
    return folder


def test_every_recipe_writes_a_model_that_is_explained(
    examples: dict[str, ModuleType], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main, recipes = examples["train_classifiers"].main, examples["recipes"].RECIPES
    given = ["--data", str(data), "--quick", "--only", "bert-sst"]
    encoder = tmp_path.parent / "encoders" / "bert-sst"
    main([*given, "--output", str(encoder.parent)])
    main(["--data", str(data), "--output", str(tmp_path), "--quick", "--encoder", str(encoder)])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(recipe.name for recipe in recipes)
    printed = capsys.readouterr().out
    for recipe in recipes:
        card = (tmp_path / recipe.name / "README.md").read_text(encoding="utf-8")
        assert "| test | " in card
        further = recipe.pieces == "encoder"
        assert f"--only {recipe.name} --seed 0{' --encoder ENCODER' * further} --quick" in card
        table = card[card.index("| part") : card.index("\n\n## Training")]
        assert table in printed
        explainer = textlrp.Explainer.from_pretrained(tmp_path / recipe.name)
        assert explainer.config.model_type == ("bert" if recipe.architecture == "encoder" else recipe.architecture)
        pair = ("the plot is dull", "and the cast is warm") if recipe.name == "encoder-pairs" else ("the plot is dull",)
        explanation = explainer.explain(*pair)
        assert explanation.ledger.balanced
        assert len([token for token in explanation.tokens if token.text]) > 3


def test_labels_have_names_and_a_text_can_have_several(examples: dict[str, ModuleType], data: Path) -> None:
    several, single = (examples["recipes"].RECIPES[i] for i in (3, 2))
    assert (several.name, single.name) == ("gpt2-emotions", "distilbert-news")
    task = several.read(data, None)
    assert (task.labels, task.several) == (("grief", "joy"), True)
    assert dict(task.train)[row("joy", 0)["text"]] == (0.0, 1.0)
    task = single.read(data, None)
    assert (task.labels, task.several) == (("Sports", "World"), False)
    assert (len(task.train), len(task.validation), len(task.test)) == (44, 4, 24)


def test_nothing_that_is_scored_is_learned_from(examples: dict[str, ModuleType], data: Path) -> None:
    reviews, sentences = examples["recipes"].reviews(data, None), examples["recipes"].sentences(data, None)
    known = {text for text, _ in reviews.train + reviews.validation}
    assert row("NEG", 0)["text"] in known  # of a training pair
    assert row("NEG", 1)["text"] not in known  # an original of a test pair
    assert row("POS", 4)["text"] not in known  # in movies' validation part
    known = {text for text, _ in sentences.train}
    assert row("POS", 0)["text"] in known
    assert row("NEG", 0)["text"] not in known  # its rationale is marked
    assert not known & {text for text, _ in sentences.validation + sentences.test}
    assert all(goal in ((0.5, 0.5), (1 - 0.8, 0.8)) for _, goal in sentences.phrases)


def test_scores(examples: dict[str, ModuleType]) -> None:
    score = examples["train_classifiers"].score
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [3.0, 0.0, 0.0], [0.0, 2.0, 1.0]])
    goals = torch.eye(3)[[0, 2, 1, 1]]
    # F1 of the labels: 2/3, 2/3, 1.
    assert score(logits, goals, several=False) == {"accuracy": 0.75, "macro F1": 0.7778}
    goals = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    # Answers are 2, 3 and 2 labels, of which 1, 1 and 1 are right, of 1, 2 and 1.
    assert score(logits, goals, several=True) == {"micro F1": 0.5455, "macro F1": 0.5778}


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_a_long_text_is_cut_between_its_special_tokens(examples: dict[str, ModuleType], kind: str) -> None:
    class Tokenizer:
        cls_token_id = 1 if kind == "bert" else None
        bos_token_id = 1 if kind == "llama" else None

    body = list(range(10, 60))
    ids = {"bert": [1, *body, 2], "llama": [1, *body], "gpt2": body}[kind]
    shorten = examples["train_classifiers"].shorten
    assert shorten(ids, 5, 52, Tokenizer) == ids
    for _ in range(50):
        found = shorten(ids, 5, 20, Tokenizer)
        inside = found[kind != "gpt2" : len(found) - (kind == "bert")]
        assert inside == list(range(inside[0], inside[0] + len(inside)))
        assert 5 <= len(inside) <= len(found) <= 20
        assert kind == "gpt2" or found[0] == 1
        assert kind != "bert" or found[-1] == 2


def test_half_of_the_pairs_have_the_same_topic(examples: dict[str, ModuleType], data: Path) -> None:
    topics = {
        text: goal
        for part in ("train", "validation", "test")
        for text, goal in getattr(examples["recipes"].news(data, None), part)
    }
    task = examples["recipes"].same_topic(data, None)
    assert task.labels == ("different", "same")
    assert {len(text) for text, _ in task.train} == {2}
    for part in (task.train, task.test):
        assert all((topics[first] == topics[second]) == (goal == (0.0, 1.0)) for (first, second), goal in part)
        assert sum(goal == (0.0, 1.0) for _, goal in part) == len(part) // 2


def test_the_inputs_of_a_pair_tell_its_texts_apart(examples: dict[str, ModuleType]) -> None:
    class Tokenizer:
        sep_token_id = 2
        model_input_names = ("input_ids", "token_type_ids", "attention_mask")

    ids = torch.tensor([[1, 7, 8, 2, 9, 2], [1, 7, 2, 0, 0, 0]])
    found = examples["train_classifiers"].inputs(ids, (ids != 0).long(), Tokenizer)
    assert found["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]]
    assert found["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]


def test_what_cannot_be_done_is_said(examples: dict[str, ModuleType], data: Path, tmp_path: Path) -> None:
    main = examples["train_classifiers"].main
    with pytest.raises(SystemExit, match="there is no folder"):
        main(["--data", str(tmp_path / "nowhere"), "--output", str(tmp_path)])
    (tmp_path / "bert-sst").mkdir()
    (tmp_path / "bert-sst" / "letters.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match="holds no model"):
        main(["--data", str(data), "--output", str(tmp_path), "--only", "bert-sst"])
    with pytest.raises(SystemExit, match="name it with --encoder"):
        main(["--data", str(data), "--output", str(tmp_path), "--only", "encoder-sst"])
    (data.parent / "empty").mkdir(exist_ok=True)
    with pytest.raises(SystemExit, match=r"sst\.jsonl\.gz is missing"):
        main(["--data", str(data.parent / "empty"), "--output", str(tmp_path / "new"), "--only", "bert-sst"])
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_the_study_measures_and_writes_its_tables(
    examples: dict[str, ModuleType], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = examples["evidence"]
    examples["train_classifiers"].main(
        ["--data", str(data), "--output", str(tmp_path / "models"), "--only", "bert-sst", "--quick"]
    )
    arguments = ["run", "--data", str(data), "--models", str(tmp_path / "models"), "--output", str(tmp_path / "runs")]
    arguments += ["--limit", "2", "--methods", "attnlrp", "difference", "random"]
    for _ in range(2):  # the second call finds everything measured
        evidence.main([*arguments, "--only", "bert-sst", "distilbert-news"])
        assert "distilbert-news: there is no model" in capsys.readouterr().err
    evidence.main(["table", "--output", str(tmp_path / "runs")])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "### Area, words masked",
        "### Area, words deleted",
        "### Area, words zeroed",
        "### Area, words replaced",
    ]
    assert lines[2:4] == ["| method | bert-sst |", "|---|---|"]
    assert [line.split("|")[1] for line in lines[4:7]] == [" `attnlrp` ", " `difference` ", " `random` "]
    behind = int(re.fullmatch(r"`difference` is behind .* in (\d) of 3 columns that decide", lines[-2])[1])
    assert lines[-1].endswith(f"the default is `{'attnlrp' if behind else 'difference'}`.")
    with pytest.raises(SystemExit, match="holds no runs"):
        evidence.main(["table", "--output", str(tmp_path / "runs"), "--part", "test"])
