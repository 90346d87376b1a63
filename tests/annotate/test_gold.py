"""Gold: what is agreed, by majority, decided or open, and that textlrp reads it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from example_annotations import REVIEWS, TEXT, document, line, mark, marks, second, sent, written
from example_reports import reviews

from textlrp.annotate.adjudication import cases
from textlrp.annotate.annotations import Annotation, read_annotations
from textlrp.annotate.gold import Gold, make_gold
from textlrp.cli import main
from textlrp.data.documents import read_documents
from textlrp.errors import InputError
from textlrp.report.reading import SentReport
from textlrp.report.writing import write_report


def read(folder: Path, *lines: str, report: SentReport = REVIEWS, decisions: bool = False) -> tuple[Annotation, ...]:
    path = written(folder / ("decisions.jsonl" if decisions else "marks.jsonl"), *lines)
    return read_annotations([path], report, decisions=decisions)


def decision(**changes: Any) -> str:
    values = {"format": 2, "label": ..., "labels": ["POS"], "annotator": "Cleo", "adjudicated": True, "verdict": None}
    return line(**{**values, **changes})


def shown(gold: Gold) -> dict[str, Any]:
    return {
        each.document.id: (each.settled, each.labels, [(m.text, m.label) for m in each.rationales])
        for each in gold.documents
    }


def test_labels_must_be_those_of_all_and_words_of_more_than_half(tmp_path: Path) -> None:
    annotations = read(
        tmp_path,
        line(document="a", rationales=marks("truly bad")),
        second(document="a", rationales=marks("truly", "bad")),
        line(document="b", rationales=marks("Not good", "bad")),
        second(document="b", rationales=marks("bad acting")),
        line(document="c"),
        second(document="c", verdict="disagree"),
        line(document="d", verdict="unsure"),
        second(document="d"),
        line(document="e", label="POS"),
        second(document="e", label="POS", verdict="disagree"),
        line(document="f", verdict=None, rationales=marks("bad")),
        second(document="f"),
    )
    gold = make_gold(annotations, REVIEWS)
    assert shown(gold) == {
        "a": ("agreed", ("NEG",), [("truly bad", "NEG")]),
        "b": ("majority", ("NEG",), [("bad", "NEG")]),
        "f": ("agreed", ("NEG",), []),
    }
    assert gold.open == ("c", "d", "e")
    assert gold.said() == "3 documents settled (2 agreed, 1 majority), 3 open: 'c', 'd', 'e'"
    disputes = {case.marked.document.id: case.disputes for case in cases(annotations, REVIEWS) if case.disputes}
    assert disputes == {
        "b": ("different words (token F1 0.40)",),
        "c": ("different labels",),
        "d": ("Ada is unsure",),
        "e": ("Ada agrees with NEG, and gives POS as right",),
    }


def test_words_of_three_people(tmp_path: Path) -> None:
    found = make_gold(
        read(
            tmp_path,
            line(rationales=marks("good, truly bad")),
            second(rationales=marks("good, truly")),
            line(annotator="Cy", rationales=marks("bad acting")),
        ),
        REVIEWS,
    )
    assert shown(found) == {"a": ("majority", ("NEG",), [("good, truly bad", "NEG")])}
    (case,) = cases(read(tmp_path, line(rationales=marks("Not good")), second(rationales=marks("good"))), REVIEWS)
    assert [span.text for span in case.merged] == ["Not good"]
    assert [span.text for span in case.common] == ["good"]


def test_of_two_labels_words_against_one_are_for_the_other(tmp_path: Path) -> None:
    against = [{**marks("good")[0], "label": "NEG", "against": True}]
    annotations = read(
        tmp_path,
        line(format=2, labels=["POS"], verdict=None, rationales=against),
        second(format=2, labels=["POS"], verdict=None, rationales=marks("good")),
    )
    assert shown(make_gold(annotations, REVIEWS)) == {"a": ("agreed", ("POS",), [("good", "POS")])}


def test_a_decision_comes_first(tmp_path: Path) -> None:
    annotations = read(tmp_path, line(), second(verdict="disagree"), line(document="b"), second(document="b"))
    aside = {**marks("bad")[0], "label": "NEG"}
    decisions = read(
        tmp_path,
        decision(rationales=[*marks("good"), aside]),
        decision(document="b", labels=None, rationales=marks("bad")),
        decision(document="c", labels=None, comment="hard"),
        decisions=True,
    )
    gold = make_gold(annotations, REVIEWS, decisions)
    assert shown(gold) == {
        "a": ("adjudicated", ("POS",), [("good", "POS"), ("bad", "NEG")]),
        "b": ("adjudicated", ("NEG",), [("bad", "NEG")]),
    }
    assert gold.open == ("c",)
    assert gold.rows()[0] == {
        "id": "a",
        "text": TEXT,
        "label": "POS",
        "rationales": [{"start": 4, "end": 8, "label": "POS"}, {"start": 16, "end": 19, "label": "NEG"}],
        "annotators": ["Ada", "Ben"],
        "settled": "adjudicated",
    }


def test_decisions_and_annotations_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1 is a decision of an adjudicator: give its file with --decisions"):
        read(tmp_path, decision())
    with pytest.raises(InputError, match="line 1 is no decision: --decisions takes what the page to adjudicate saved"):
        read(tmp_path, line(), decisions=True)
    with pytest.raises(InputError, match="has 1 for 'adjudicated': it can be true or false"):
        read(tmp_path, decision(adjudicated=1))
    both = read(tmp_path, decision(), decision(annotator="Dan"), decisions=True)
    with pytest.raises(InputError, match=r"document 'a' is decided by 'Cleo' in .*, and by 'Dan' in .*: keep one"):
        make_gold((), REVIEWS, both)


@pytest.mark.parametrize("name", ["gold.jsonl", "gold.csv"])
def test_gold_is_read_as_a_table_with_its_reasons(tmp_path: Path, name: str) -> None:
    text = 'a "quote", =1+1\nand 😀, good'
    report = sent(document("1", text, "second one"), document("2", "fine", None))
    good = mark(text.index("good"), len(text), "good")
    aside = {**mark(0, 1, "a"), "label": "POS"}
    pair = mark(0, 6, "second", "text_pair")
    decided = read(
        tmp_path, decision(document="1", labels=["NEG"], rationales=[aside, good, pair]), report=report, decisions=True
    )
    make_gold((), report, decided).write(tmp_path / name)
    (found,) = read_documents(str(tmp_path / name)).documents
    assert (found.id, found.text, found.text_pair, found.label) == ("1", text, "second one", "NEG")
    assert [text[start:end] for start, end in found.rationales] == ["good"]


def test_no_gold_is_no_file(tmp_path: Path) -> None:
    gold = make_gold(read(tmp_path, line(verdict="unsure")), REVIEWS)
    with pytest.raises(InputError, match="no document is settled, so there is no gold to write: 0 documents settled"):
        gold.write(tmp_path / "gold.jsonl")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(reviews(), "report.html")
    identity = json.loads(Path("report.html").read_text().split('id="textlrp-data">')[1].split("</script>")[0])["id"]
    written(Path("ada.jsonl"), line(report=identity), line(report=identity, document="b"))
    written(Path("ben.jsonl"), second(report=identity), second(report=identity, document="b", verdict="unsure"))
    for name in ("gold.jsonl", "gold.csv"):
        arguments = ["annotations", "ada.jsonl", "ben.jsonl", "--report", "report.html", "--gold", name]
        for _ in range(2):  # its own file is replaced
            result = CliRunner().invoke(main, arguments)
            assert (result.exit_code, result.stdout) == (0, ""), result.output
            assert result.stderr == f"{name}: 1 document settled (1 agreed), 1 open: 'b'\n"
        assert [each.label for each in read_documents(name).documents] == ["POS"]
    for wrong, sentence in {
        "--decisions ada.jsonl": "--decisions goes with --gold",
        "--adjudicate --format json": "--adjudicate makes a page of its own: leave out --format",
        "--gold new.jsonl -o new.txt": "--gold writes a file of its own, and no comparison: leave out --format and -o",
    }.items():
        result = CliRunner().invoke(main, [*arguments[:-2], *wrong.split()])
        assert result.exit_code == 2
        assert sentence in result.stderr
