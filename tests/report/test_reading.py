"""A report is read back, and changes to it are noticed."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from example_explanations import measured
from example_reports import explanation, reviews, sure
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.errors import InputError
from textlrp.report.data import build
from textlrp.report.reading import read_report
from textlrp.report.writing import write_report
from textlrp.results.explanation import Explanation
from textlrp.results.spans import Span


def test_what_is_sent_is_read_back(tmp_path: Path) -> None:
    records = [
        *reviews(),
        Record(
            "pair",
            (
                Explanation(
                    **{
                        **vars(explanation("A film", **sure("NEG", 0.6))),
                        "text_pair": "Dull. And",
                        "truncated_pair": (5, 9),
                        "tokens": (Span(0, 1, "A", 0.25), Span(0, 4, "Dull", -0.5, source="text_pair")),
                    }
                ),
            ),
        ),
    ]
    (path,) = write_report(records, tmp_path / "report.html")
    sent = read_report(path)
    assert (sent.id, sent.model, sent.labels) == (build(records).id, "tiny", ("NEG", "POS"))
    assert list(sent.documents) == ["a", "b", "c", "d", "pair"]
    document = sent.documents["c"]
    assert (document.id, document.text, document.text_pair) == ("c", "Not bad at all", None)
    assert (document.label, document.predicted, document.target) == ("POS", "NEG", "NEG")
    assert [(word.start, word.end, word.text) for word in document.words][:3] == [
        (0, 3, "Not"),
        (3, 4, " "),
        (4, 7, "bad"),
    ]
    assert [word.relevance for word in document.words] == pytest.approx([-1, 0, 0.9, 0, 0, 0, 0.2], abs=1e-4)
    assert [(w.source, w.text) for w in sent.documents["pair"].words] == [
        ("text", "A"),
        ("text", " "),
        ("text", "film"),
        ("text_pair", "Dull"),
        ("text_pair", "."),
    ]


def test_a_split_report_is_read_by_its_index(tmp_path: Path) -> None:
    paths = write_report(reviews(), tmp_path / "big.html", page_documents=3)
    assert [path.name for path in paths] == ["big.html", "big-001.html", "big-002.html"]
    (single,) = write_report(reviews(), tmp_path / "one.html")
    assert read_report(paths[0]) == read_report(single)
    with pytest.raises(InputError, match=r"is page 2 of a report of several: give its first file, 'big.html'"):
        read_report(paths[2])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=st.text(st.characters(codec=None), min_size=1, max_size=40),
    identity=st.text(min_size=1, max_size=9),
    label=st.none() | st.text(min_size=1, max_size=9),
    relevances=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
)
def test_any_text_comes_back(text: str, identity: str, label: str | None, relevances: list[float]) -> None:
    e = explanation(text, relevances)
    with tempfile.TemporaryDirectory() as folder:
        (path,) = write_report([Record(identity, (e,), label)], Path(folder) / "report.html", title=text)
        sent = read_report(path)
    document = sent.documents[encodable(identity)]
    assert document.text == encodable(text)
    assert document.label == (None if label is None else encodable(label))
    assert "".join(word.text for word in document.words) == encodable(text)
    strongest = max((abs(word.relevance) for word in e.words), default=0.0)
    for found, made in zip(document.words, e.words, strict=True):
        assert (found.start, found.end) == (made.start, made.end)
        assert found.relevance == pytest.approx(made.relevance, abs=max(1e-4 * strongest, 1e-300))


def changed(path: Path, old: str, new: str) -> Path:
    html = path.read_text("utf-8")
    assert old in html
    path.write_text(html.replace(old, new), "utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"text":["A wonderful', '"text":["A terrible', "do not fit its id"),
        ('"label":[1,0', '"label":[0,0', "do not fit its id"),
        ('"format":2', '"format":3', "has format 3, and this version of textlrp reads reports of format 2"),
        ('"predicted":[1', '"predicted":[9', "was changed"),
        ('"documents":{', '"papers":{', "its data are not those of a report any more"),
        ('{"format"', '["format"', "holds no data"),
        ('id="textlrp-data"', 'id="other"', "holds no data"),
    ],
)
def test_a_report_that_was_changed_is_noticed(tmp_path: Path, old: str, new: str, message: str) -> None:
    (path,) = write_report(reviews(), tmp_path / "report.html")
    with pytest.raises(InputError, match=message):
        read_report(changed(path, old, new))


def test_what_is_no_report_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none\.html': No such file"):
        read_report(tmp_path / "none.html")
    with pytest.raises(InputError, match="cannot read"):
        read_report("a\0b")
    (tmp_path / "latin.html").write_bytes(b"\xe9")
    with pytest.raises(InputError, match="it is not UTF-8"):
        read_report(tmp_path / "latin.html")
    (tmp_path / "page.html").write_text("<p>Hello")
    with pytest.raises(InputError, match="it holds no data"):
        read_report(tmp_path / "page.html")


@pytest.mark.parametrize("name", ["../secret.html", "/etc/passwd", "a/b.html", "..", "", "a\\b.html"])
def test_an_index_reads_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    index = write_report(reviews(), tmp_path / "big.html", page_documents=3)[0]
    with pytest.raises(InputError, match="is not the name of a file beside it"):
        read_report(changed(index, '"big-001.html"', json.dumps(name)))


def test_pages_that_are_missing_or_of_another_report_are_named(tmp_path: Path) -> None:
    index, first, second = write_report(reviews(), tmp_path / "big.html", page_documents=3)
    other = write_report(reviews()[::-1], tmp_path / "other.html", page_documents=3)
    first.write_bytes(other[1].read_bytes())
    with pytest.raises(InputError, match=r"'.*big-001.html' belongs to another report than '.*big.html'"):
        read_report(index)
    second.unlink()
    first.unlink()
    with pytest.raises(InputError, match=r"cannot read '.*big-001.html'"):
        read_report(index)
    with pytest.raises(InputError, match="does not list its pages"):
        read_report(changed(index, '["big-001.html","big-002.html"]', "[]"))


def test_a_report_with_references_is_read_back(tmp_path: Path) -> None:
    shorter = measured(truncated=(10, len(measured().text)), tokens=measured().tokens[:2])
    records = [*reviews(), Record("one", (measured(),)), Record("two", (measured(), replace(shorter, target="NEG")))]
    (path,) = write_report(records, tmp_path / "report.html")
    assert list(read_report(path).documents) == ["a", "b", "c", "d", "one", "two"]
    assert "rules difference, reference [MASK], textlrp 0.1.0" in path.read_text(encoding="utf-8")
