"""Downloads come back in: every line is checked against the report, and a wrong one is named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from example_annotations import REPORT, line, mark, sent, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textlrp.annotate.annotations import Annotation, Rationale, read_annotations
from textlrp.errors import InputError


def test_a_download_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "ada.jsonl",
        line(document="b", label="POS", rationales=[mark(0, 2, "no", "text_pair"), mark(0, 3, "yes")], blind=False),
        line(verdict="unsure", comment="?", rationales=[mark(9, 10, "😀"), mark(0, 3, "Not")]),
    )
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert read_annotations([path], REPORT) == (
        Annotation(
            "Ada",
            "a",
            "unsure",
            None,
            "?",
            (Rationale("text", 0, 3, "Not"), Rationale("text", 9, 10, "😀")),
            True,
            noon,
            f"'{path}', line 2",
        ),
        Annotation(
            "Ada",
            "b",
            "agree",
            ("POS",),
            "",
            (Rationale("text", 0, 3, "yes"), Rationale("text_pair", 0, 2, "no")),
            False,
            noon,
            f"'{path}', line 1",
        ),
    )


def test_annotators_come_as_the_files_do_and_documents_as_in_the_report(tmp_path: Path) -> None:
    files = [
        written(tmp_path / "2.jsonl", line(document="c", annotator="Ben"), line(annotator=" Ben ")),
        written(tmp_path / "1.jsonl", line(), line(document="b", annotator="")),
    ]
    found = [(each.annotator, each.document) for each in read_annotations(files, REPORT)]
    assert found == [("Ben", "a"), ("Ben", "c"), ("Ada", "a"), ("1", "b")]


def test_of_one_file_the_later_change_counts(tmp_path: Path) -> None:
    path = written(
        tmp_path / "ada.jsonl",
        line(verdict="agree", changed="2026-01-31T12:00:00Z"),
        line(verdict="disagree", changed="2026-01-31T14:00:01+02:00"),
        line(verdict="unsure", changed="2026-01-31T11:59:59"),
        line(document="b", verdict="agree", changed="2026-01-01T00:00:00Z"),
        line(document="b", verdict=None, changed="2026-01-02T00:00:00Z"),  # taken back
    )
    assert [(each.document, each.verdict) for each in read_annotations([path], REPORT)] == [("a", "disagree")]


def test_a_file_given_twice_counts_once_and_a_contradiction_is_named(tmp_path: Path) -> None:
    one = written(tmp_path / "1.jsonl", line())
    same = written(tmp_path / "2.jsonl", line(changed="2026-02-01T00:00:00Z"), line(document="b"))
    other = written(tmp_path / "3.jsonl", line(verdict="disagree"))
    assert len(read_annotations([one, one, same], REPORT)) == 2
    with pytest.raises(InputError) as caught:
        read_annotations([one, same, other], REPORT)
    assert str(caught.value) == (
        f"'Ada' says one thing of document 'a' in '{one}', line 1, and another in '{other}', line 1: if both are of "
        "one person, give the later file only; if not, change the name in one of them"
    )


def test_of_two_downloads_of_one_person_the_later_marks_count(tmp_path: Path) -> None:
    monday = written(tmp_path / "1.jsonl", line(verdict="agree"), line(document="b", verdict="agree"))
    friday = written(tmp_path / "2.jsonl", line(verdict="disagree", changed="2026-03-01T00:00:00Z"))
    for files in ([monday, friday], [friday, monday]):
        said: list[str] = []
        found = read_annotations(files, REPORT, said.append)
        assert {each.document: each.verdict for each in found} == {"a": "disagree", "b": "agree"}
        assert said == ["1 document is marked otherwise in two files of 'Ada': the later marks count"]


BAD = {
    "{": ", line 2 is not an annotation: a line of the report's download was expected",
    "[]": ", line 2 is not an annotation",
    '{"id": 1}': ", line 2 is not an annotation",
    "[" * 100_000: ", line 2 is not an annotation",
    line(format=3): ", line 2 has format 3, and this version of textlrp reads annotations of the formats 1 and 2",
    line(format=...): ", line 2 has format null",
    line(
        report="abcdef" * 9
    ): ", line 2 was made in another report, 'abcdefabcdef', and this one is '5e5e5e5e5e5e'; it",
    line(document="z"): ", line 2 is about document 'z', which is not in the report",
    line(document=["a"]): ", line 2 is about document ['a'], which is not in the report",
    line(verdict="yes"): ", line 2, document 'a' has the verdict 'yes': it can be agree, disagree, unsure, or null",
    line(verdict=[]): ", line 2, document 'a' has the verdict []",
    line(label="MEH"): ", line 2, document 'a' has the label 'MEH': the report has NEG, POS",
    line(format=2, label=..., labels="POS"): ", line 2, document 'a' has 'POS' for 'labels': it can be a list",
    line(format=2, labels=["POS", 1]): ", line 2, document 'a' has the label 1: the report has NEG, POS",
    line(rationales=[{**mark(0, 3, "Not"), "label": "x"}]): ", line 2, document 'a' has the label 'x'",
    line(rationales=[{**mark(0, 3, "Not"), "against": True}]): ", line 2, document 'a' has True for 'against': it can",
    line(blind=1): ", line 2, document 'a' has 1 for 'blind'",
    line(annotator=None): ", line 2, document 'a' has null for 'annotator'",
    line(comment=...): ", line 2, document 'a' has null for 'comment'",
    line(changed="noon"): ", line 2, document 'a' has 'noon' for 'changed'",
    line(changed=5): ", line 2, document 'a' has 5 for 'changed'",
    line(rationales="x"): ", line 2, document 'a' has 'x' for 'rationales'",
    line(rationales=[1]): ", line 2, document 'a' has [1] for 'rationales'",
    line(rationales=[mark(0, 99, "x")]): " has a mark from 0 to 99, and the text has 22 characters",
    line(rationales=[mark(3, 3, "")]): " has a mark from 3 to 3, and the text has",
    line(rationales=[mark(-1, 3, "")]): " has a mark from -1 to 3, and the text has",
    line(rationales=[mark(False, True, "N")]): " has a mark from False to True, and the text has",  # type: ignore[arg-type]
    line(rationales=[mark(0, 3, "not")]): " has a mark on 'not', and the report has 'Not' at characters 0 to 3",
    line(rationales=[mark(0, 3, "Not", "text_pair")]): " has a mark in 'text_pair', and the document has no such text",
    line(rationales=[mark(0, 3, "Not", "x")]): " has a mark in 'x', and the document has no such text",
    line(rationales=[mark(0, 3, "Not"), mark(2, 5, "t g")]): " has marks that overlap: characters 0 to 3 and 2 to 5",
}


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_a_bad_line_is_named(tmp_path: Path, bad: str) -> None:
    path = written(tmp_path / "ada.jsonl", line(document="b"), bad)
    with pytest.raises(InputError) as caught:
        read_annotations([path], REPORT)
    assert str(caught.value).startswith(f"'{path}', line 2")
    assert BAD[bad] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_download_that_broke_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ada.jsonl"
    for before, number in ((line(document="b") + "\n", 2), ("", 1)):
        path.write_text(before + line()[:-20], encoding="utf-8")
        with pytest.raises(InputError) as caught:
            read_annotations([path], REPORT)
        assert str(caught.value) == (
            f"'{path}' broke off: its last line, {number}, is not whole; download it again, or delete that line"
        )
    path.write_bytes("é".encode()[:1])
    with pytest.raises(InputError, match="line 1 is not an annotation"):
        read_annotations([path], REPORT)
    path.write_text(line(), encoding="utf-8")  # an editor may take the last newline away
    assert len(read_annotations([path], REPORT)) == 1


def test_files_without_marks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*gone.jsonl': No such file"):
        read_annotations([tmp_path / "gone.jsonl"], REPORT)
    empty = written(tmp_path / "empty.jsonl", "", line(verdict=None, comment=" \n"))
    with pytest.raises(InputError, match=r"there are no marks in '.*empty.jsonl'"):
        read_annotations([empty], REPORT)
    with pytest.raises(InputError, match="there are no marks in no file"):
        read_annotations([], REPORT)


@pytest.mark.parametrize(
    ("verdict", "label", "labels", "right"),
    [
        ("agree", None, ("NEG", "POS"), "NEG"),
        ("disagree", None, ("NEG", "POS"), "POS"),
        ("disagree", None, ("NEG", "POS", "MEH"), None),
        ("disagree", "MEH", ("NEG", "POS", "MEH"), "MEH"),
        ("unsure", None, ("NEG", "POS"), None),
        ("unsure", "POS", ("NEG", "POS"), "POS"),
        (None, None, ("NEG", "POS"), None),
        (None, "NEG", ("NEG", "POS"), "NEG"),
        ("agree", "POS", ("NEG", "POS"), None),  # a contradiction
        ("disagree", "NEG", ("NEG", "POS"), None),
    ],
)
def test_the_right_label_is_said_or_follows(
    tmp_path: Path, verdict: str | None, label: str | None, labels: tuple[str, ...], right: str | None
) -> None:
    report = sent(*REPORT.documents.values(), labels=labels)
    path = written(tmp_path / "ada.jsonl", line(verdict=verdict, label=label, comment="said"))
    (found,) = read_annotations([path], report)
    assert found.right_labels(report.documents["a"], report) == (None if right is None else (right,))


def test_marks_of_an_older_report_are_taken_where_the_text_is_the_same(tmp_path: Path) -> None:
    old = {"report": "0" * 64, "format": 2, "label": ..., "labels": None, "text": "meh", "text_pair": None}
    texts = {each.id: {"text": each.text, "text_pair": each.text_pair} for each in REPORT.documents.values()}
    path = written(
        tmp_path / "ada.jsonl",
        line(
            **{**old, **texts["a"]}, document="9", predicted=["NEG"], rationales=[mark(0, 3, "Not")], reasons=["irony"]
        ),
        line(**{**old, **texts["b"]}, document="b", predicted=["POS"]),  # the older model said POS, and Ada agreed
        line(**{**old, "text": "MEH"}, document="c", predicted=["NEG"]),
    )
    said: list[str] = []
    found = read_annotations([path], REPORT, said.append)
    assert [(each.document, each.verdict, each.labels, each.reasons) for each in found] == [
        ("a", "agree", None, ("irony",)),
        ("b", None, ("POS",), ()),
    ]
    assert said == [
        f"'{path}' was made in another report: the marks of 2 documents are taken, whose text is unchanged; the text "
        f"of another is not in this report"
    ]
    strange = written(tmp_path / "ben.jsonl", line(**{**old, "text": "never seen"}))
    with pytest.raises(InputError, match="none of its texts is in this report"):
        read_annotations([strange], REPORT)


def test_marks_say_for_which_label_they_speak(tmp_path: Path) -> None:
    for_pos = {**mark(0, 8, "Not good"), "label": "pos"}
    against = {**mark(0, 3, "Not"), "label": "POS", "against": True}
    path = written(tmp_path / "ada.jsonl", line(format=2, label=..., labels=["NEG"], rationales=[against, for_pos]))
    (found,) = read_annotations([path], REPORT)
    assert found.labels == ("NEG",)
    assert found.rationales == (
        Rationale("text", 0, 3, "Not", "POS", True),
        Rationale("text", 0, 8, "Not good", "POS"),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["textlrp", "report", "annotator", "document", "verdict", "rationales", "changed", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["start", "end"]), inner),
            max_leaves=5,
        ),
    )
)
def test_any_line_is_read_or_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = written(tmp_path / "any.jsonl", line(**changes))
    try:
        (found,) = read_annotations([path], REPORT)
    except InputError:
        return  # anything else is a traceback
    text = REPORT.documents[found.document].text
    assert all(text[each.start : each.end] == each.text for each in found.rationales)
