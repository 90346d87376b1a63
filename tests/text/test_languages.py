"""Words and sentences in twenty languages, by every kind of tokenizer: they tile the text, and no relevance is lost."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import language_texts
import pytest
from tiny_bert import bert

from textlrp import Explainer, Explanation, Span

DATA = Path(__file__).parents[3] / "shared" / "data" / "topics_multilingual.jsonl.gz"


def tiles(spans: tuple[Span, ...], text: str) -> bool:
    return "".join(span.text for span in spans) == text and all(
        text[span.start : span.end] == span.text for span in spans
    )


def adds_up(e: Explanation) -> None:
    assert e.ledger.balanced
    tokens = math.fsum(span.relevance for span in e.tokens if not span.special)
    assert tokens == pytest.approx(e.ledger["tokens"], abs=1e-12)
    scale = e.ledger.scale
    for spans in (e.words, e.sentences):
        assert tiles(spans, e.text)
        assert not any(span.special for span in spans)
        assert abs(math.fsum(span.relevance for span in spans) - tokens) <= 1e-12 * scale
    starts = {span.start for span in e.words}
    assert {span.start for span in e.sentences} <= starts


def explainer(kind: str, texts: list[str], size: int) -> Explainer:
    tokenizer = language_texts.train(kind, texts, size)
    return Explainer(bert(len(tokenizer), max_position_embeddings=1024), tokenizer)


@pytest.fixture(scope="module", params=language_texts.KINDS)
def small(request: pytest.FixtureRequest) -> Explainer:
    return explainer(request.param, list(language_texts.TEXTS.values()), 700)


@pytest.mark.parametrize("language", language_texts.TEXTS)
def test_words_and_sentences_tile_the_text(small: Explainer, language: str) -> None:
    e = small.explain(language_texts.TEXTS[language])
    adds_up(e)
    assert 2 <= len([s for s in e.sentences if s.text.strip()]) <= 4 or language in ("tha_Thai", "eng_Latn")


@pytest.mark.parametrize("kind", language_texts.KINDS)
def test_all_languages_of_a_real_set(kind: str) -> None:
    if not DATA.is_file():
        pytest.skip("topics_multilingual.jsonl.gz is not there: real texts in twenty languages")
    rows: list[dict[str, Any]] = list(map(json.loads, gzip.decompress(DATA.read_bytes()).splitlines()))
    train = [row["text"] for row in rows if row["split"] == "train"]
    languages = {row["language"] for row in rows}
    assert languages == set(language_texts.TEXTS)
    tested = [row["text"] for language in sorted(languages) for row in rows if row["language"] == language][::100]
    of = explainer(kind, train[::5], 8000)
    for e in of.explain_batch(tested):
        adds_up(e)
