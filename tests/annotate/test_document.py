"""The words of an annotated document."""

from __future__ import annotations

from pathlib import Path

from example_annotations import TEXT, document, line, mark, marks, sent, written

from textlrp import Span
from textlrp.annotate.annotations import read_annotations
from textlrp.annotate.document import MarkedDocument


def test_words_that_the_model_did_not_read_count_against_it(tmp_path: Path) -> None:
    words = (Span(0, 3, "Not", 1.0), Span(3, 4, " ", 0.0))
    report = sent(document("a", TEXT, "Bad indeed", words=words))
    lines = [line(rationales=[*marks("bad"), mark(0, 3, "Bad", "text_pair")])]
    files = [written(tmp_path / "1.jsonl", *lines)]
    (annotation,) = read_annotations(files, report)
    found = MarkedDocument(report.documents["a"], [annotation], report)
    assert [word.text for word in found.words] == ["Not", "good", "truly", "bad", "acting", "Bad", "indeed"]
    assert found.votes == {"Ada": {("NEG", False): (False, False, False, True, False, True, False)}}
    assert found.scores["Ada"].model.token_f1 == 0.0
