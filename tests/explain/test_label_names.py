"""A label means what it says: names one by one, numbers only where the whole column lets them mean one thing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from textlrp.errors import InputError
from textlrp.explain.label_names import find_name, parse_label_map, read_labels
from textlrp.explain.labels import Head, find_label

TWO = ("NEG", "POS")
THREE = ("NEG", "NEU", "POS")
STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
PLAIN = ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize(
    ("written", "known", "read"),
    [
        (["NEG", "POS"], TWO, ["NEG", "POS"]),
        (["POS ", " NEG", "pos", "Neg"], TWO, ["POS", "NEG", "POS", "NEG"]),
        (["cafe\u0301"], ("CAF\u00c9", "x"), ["CAF\u00c9"]),
        (["0", "1"], TWO, ["NEG", "POS"]),
        (["0.0", "1.0"], TWO, ["NEG", "POS"]),
        (["0", "1", "-1"], TWO, ["NEG", "POS", ""]),
        (["0.0", "1.0", "-1.0"], TWO, ["NEG", "POS", ""]),
        (["POS", "-1"], TWO, ["POS", ""]),
        (["0.0", "nan", "1.0", "<NA>"], TWO, ["NEG", "", "POS", ""]),
        (["nan", "x"], ("NaN", "x"), ["NaN", "x"]),
        (["-1", "0", "1"], ("-1", "0", "1"), ["-1", "0", "1"]),
        (["0", "2"], THREE, ["NEG", "POS"]),
        (["0"], TWO, ["NEG"]),
        (["1"], PLAIN, ["LABEL_1"]),
        (["LABEL_1", "label_0"], TWO, ["POS", "NEG"]),
        (["LABEL_1"], PLAIN, ["LABEL_1"]),
        (["1", "0"], ("1", "0"), ["1", "0"]),
        (["1.0"], ("1", "0"), ["1"]),
        (["2", "5"], STARS, ["2 stars", "5 stars"]),
        (["1", "3"], ("class 1", "class 2", "class 3"), ["class 1", "class 3"]),
        (["5 Stars"], STARS, ["5 stars"]),
    ],
)
def test_labels_are_read_in_the_models_names(written: list[str], known: tuple[str, ...], read: list[str]) -> None:
    reading = read_labels(written, known)
    assert [" ".join(reading.of([label])) for label in written] == read
    assert reading.unknown == ()


@pytest.mark.parametrize(
    ("written", "known"),
    [
        (["0", "4"], TWO),
        (["0", "1", "2"], TWO),
        (["0", "POS"], TWO),
        (["odd"], TWO),
        (["0", "0.5"], TWO),
        (["LABEL_2"], TWO),
        (["LABEL_0"], ("LABEL_1", "LABEL_2")),
        (["0"], ("LABEL_0",)),
    ],
)
def test_what_is_none_of_the_models_stays_and_is_said(written: list[str], known: tuple[str, ...]) -> None:
    reading = read_labels(written, known)
    known_too = [label for label in written if label in known]
    if known == ("LABEL_0",):  # a model of one output is not compared with an index
        assert reading.of(["0"]) == ("0",)
    assert [*reading.unknown, *known_too] == written
    assert reading.of(written) == tuple(written)
    assert "of the model's (" in reading.sentences[-1]


@pytest.mark.parametrize(
    ("written", "known", "says"),
    [
        (
            ["2", "2.0"],
            STARS,
            "the labels 2, 2.0 are numbers that can be read as 3 stars, 3 stars (counted from 0) or as 2 stars, "
            "2 stars (as numbers in the names): say which with --label-map '2=3 stars,2.0=3 stars' or "
            "'2=2 stars,2.0=2 stars'",
        ),
        (["2"], STARS, "as 3 stars (counted from 0) or as 2 stars (as numbers in the names)"),
        (
            ["0", "4"],
            STARS,
            "do not explain: if 1 star, 5 stars (counted from 0) is meant, add --label-map '0=1 star,4=5 stars'",
        ),
        (
            ["1"],
            TWO,
            "the label '1' is a number that can be read as POS (counted from 0) or as NEG (counted from 1): say which "
            "with --label-map '1=POS' or '1=NEG'",
        ),
        (["1", "2"], TWO, "if NEG, POS (counted from 1) is meant, add --label-map '1=NEG,2=POS'"),
        (["1", "2"], THREE, "as NEU, POS (counted from 0) or as NEG, NEU (counted from 1)"),
        (["-1", "0", "1"], THREE, "or as NEU, POS, NEG (counted from -1)"),
        (["-1", "1"], TWO, "can be read as POS, NEG (as -1 and 1) or as POS (counted from 0)"),
        (["0", "1"], ("1", "2"), "if 1, 2 (counted from 0) is meant"),
        (["0", "1"], ("covid-19", "none"), "if covid-19, none (counted from 0) is meant"),
        (["Pos"], ("POS", "pos"), "the label 'Pos' can be 'POS' or 'pos'"),
        (["ss"], ("SS", "ß"), "the label 'ss' can be 'SS' or 'ß'"),
    ],
)
def test_what_can_be_read_in_two_ways_is_an_error(written: list[str], known: tuple[str, ...], says: str) -> None:
    with pytest.raises(InputError) as caught:
        read_labels(written, known)
    assert says in str(caught.value)


def test_a_label_map_settles_it() -> None:
    reading = read_labels(["2", " 1", "odd"], STARS, label_map={"2": "2 stars", "1": "1 STAR", "odd": ""})
    assert [reading.of([label]) for label in ("2", " 1", "odd")] == [("2 stars",), ("1 star",), ()]
    assert reading.sentences == ("labels 2, ' 1', odd were read as 2 stars, 1 star, no label",)
    with pytest.raises(
        InputError, match="reads '9' as '9 stars', and the model has no such label: its labels are 1 star"
    ):
        read_labels(["2"], STARS, label_map={"2": "2 stars", "9": "9 stars"})
    folded = read_labels(["2.0", " Bad"], STARS, label_map={"2": "2 stars", "bad": "1 star"})
    assert folded.of(["2.0", " Bad"]) == ("2 stars", "1 star")
    rest = read_labels(["1", "0", "x"], TWO, label_map={"x": "NEG"})
    assert rest.of(["1", "0", "x"]) == ("POS", "NEG")


def test_a_label_map_is_written_or_in_a_file(tmp_path: Path) -> None:
    assert parse_label_map("neg=NEG, 2=2 stars,none=") == {"neg": "NEG", "2": "2 stars", "none": ""}
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"a, b": "NEG", "none": None}), encoding="utf-8")
    assert parse_label_map(str(path)) == {"a, b": "NEG", "none": ""}
    assert parse_label_map('{"2": "2 stars"}') == {"2": "2 stars"}
    for wrong, says in (("NEG", "'NEG' has no '='"), ("=x", "has no '='"), ("", "'' has no '='")):
        with pytest.raises(InputError, match=says):
            parse_label_map(wrong)
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(InputError, match="a label map is an object of names"):
        parse_label_map(str(path))


def test_several_labels_in_one_text() -> None:
    known = ("joy", "anger", "sad; blue")
    reading = read_labels(["joy;anger", "JOY | anger", "sad; blue", "joy#x"], known, several=True)
    assert reading.of(["joy;anger"]) == reading.of(["JOY | anger"]) == ("joy", "anger")
    assert reading.of(["sad; blue"]) == ("sad; blue",)
    assert reading.unknown == ("joy#x",)
    assert reading.sentences[0] == "labels joy;anger, JOY | anger were read as joy and anger, joy and anger"
    assert read_labels(["joy;anger"], known).unknown == ("joy;anger",)


def test_other_names_of_a_label_are_known() -> None:
    names = {"id2label": {0: "NEG", 1: "POS"}, "label2id": {"negative": 0, "positive": 1, "NEG": 1}}
    head = Head.of(SimpleNamespace(**names))
    assert head.aliases == (("negative", 0), ("positive", 1))
    assert head.read(["Positive ", "NEG"], TWO).of(["Positive ", "NEG"]) == ("POS", "NEG")
    assert find_label(TWO, "positive", head.aliases) == 1
    assert find_name("positive", TWO) is None


def test_a_target_is_read_as_labels_are() -> None:
    assert find_label(TWO, " pos ") == find_label(TWO, "LABEL_1") == find_label(TWO, "1") == 1
    assert find_label(STARS, 2) == 2
    assert find_label(("covid-19", "none"), "1") == 1
    with pytest.raises(
        InputError, match="the label '2' can be '2 stars', or '3 stars', which has this index: write its"
    ):
        find_label(STARS, "2")
    with pytest.raises(InputError, match="the label 'Pos' can be 'POS' or 'pos'"):
        find_label(("POS", "pos"), "Pos")


def test_what_was_read_is_said_in_a_sentence() -> None:
    assert read_labels(["NEG"], TWO).sentences == ()
    assert read_labels(["0", "1"], TWO).sentences == ("labels 0, 1 were read as NEG, POS",)
    assert read_labels(["x"], TWO).sentences == (
        "label x is none of the model's (NEG, POS): --label-map 'x=...' says which is meant",
    )
    many = tuple(f"name {chr(97 + i)}" for i in range(20))
    (said,) = read_labels([str(i) for i in range(20)], many).sentences
    assert said.startswith("labels 0, 1, 2, 3, 4, 5, 6, 7, ... (20 in all) were read as name a, name b")
