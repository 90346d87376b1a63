"""displaCy draws marks in their colors."""

from __future__ import annotations

import json

import pytest
from example_reports import explanation

from textlrp.data.records import Record
from textlrp.export.formats import export

displacy = pytest.importorskip("spacy.displacy")


@pytest.mark.parametrize("style", ["ent", "span"])
def test_words_for_and_against_a_label_have_the_colors_of_the_report(style: str) -> None:
    record = Record("1", (explanation("good but dull", [1.0, 0.0, -1.0]),))
    entries = json.loads(export([record], "spacy"))
    assert entries[0]["colors"] == {"FOR POS": "#f08214", "AGAINST POS": "#4682dc"}
    html = displacy.render(entries, style=style, manual=True, options={"colors": entries[0]["colors"]}, jupyter=False)
    assert "#f08214" in html
    assert "#4682dc" in html
    assert "#ddd" not in html


def test_of_two_explained_labels_each_has_a_color() -> None:
    both = tuple(explanation("good", [relevance], target) for target, relevance in (("POS", 1.0), ("NEG", -1.0)))
    (entry, _) = json.loads(export([Record("1", both)], "spacy"))
    assert len(set(entry["colors"].values())) == 4
