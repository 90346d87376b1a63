"""The page that shows annotations side by side, in Chromium: nothing runs, all is shown as it was typed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import complaints, contrasts, opened, scrolls_sideways
from example_annotations import ADA, BEN, REVIEWS, document, line, mark, sent, written
from hostile_strings import STRINGS

from textlrp import Span
from textlrp.annotate.annotations import Annotation, read_annotations
from textlrp.annotate.comparison import compare
from textlrp.annotate.page import page
from textlrp.basics.characters import encodable
from textlrp.render.format import shown
from textlrp.report.reading import SentReport

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def html(path: Path, report: SentReport, *downloads: list[str]) -> str:
    files = [written(path / f"{number}.jsonl", *lines) for number, lines in enumerate(downloads)]
    found: tuple[Annotation, ...] = read_annotations(files, report)
    return page(found, report, compare(found, report))


def saved(path: Path, report: SentReport, *downloads: list[str]) -> Path:
    place = path / "side.html"
    place.write_text(html(path, report, *downloads), encoding="utf-8")
    return place


def test_the_same_input_gives_the_same_bytes_and_a_strict_policy(tmp_path: Path) -> None:
    one = html(tmp_path, REVIEWS, ADA, BEN)
    assert one == html(tmp_path, REVIEWS, ADA, BEN)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', one)
    assert policy is not None
    assert re.fullmatch(
        r"default-src &#39;none&#39;; style-src &#39;sha256-[\w+/=]+&#39;; img-src data:; base-uri &#39;none&#39;; "
        r"form-action &#39;none&#39;",
        policy[1],
    )
    assert not re.search(r"<script|\sstyle=|\son\w+=|https?://", one)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1400])
def test_it_reads_well_at_every_width(browser: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    with opened(browser, saved(tmp_path, REVIEWS, ADA, BEN), width=width, dark=dark) as (shown_page, seen):
        assert complaints(shown_page) == []
        assert not scrolls_sideways(shown_page)
        selector = ".text span, mark, h4 span, article header p, .small, th, td, .comment, strong"
        ratios = contrasts(shown_page, selector)
        assert len(ratios) > 50
        assert [each for each in ratios if each[1] < 4.5] == []
        assert seen.nothing


def test_everyone_has_the_text_and_the_marks_of_their_own(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, saved(tmp_path, REVIEWS, ADA, BEN)) as (shown_page, seen):
        first = shown_page.locator("article").first
        first.scroll_into_view_if_needed()  # what is far from the view has no layout
        shown_page.wait_for_timeout(300)
        assert first.locator("h4").all_inner_texts() == ["Model says NEG", "Ada agrees, blind", "Ben agrees, blind"]
        assert first.locator(".text").all_text_contents() == ["Not good, truly bad acting."] * 3
        assert first.locator(".model .text span").all_text_contents() == ["Not", "good", ",", "bad"]
        assert first.locator(".person").nth(0).locator("mark").all_text_contents() == ["Not", "bad"]
        assert first.locator(".person").nth(1).locator("mark").all_text_contents() == ["truly bad"]
        assert shown_page.locator("article").count() == 5
        second = shown_page.locator("article").nth(1)
        assert second.locator("header strong").inner_text() == "different labels"
        assert second.locator(".comment").inner_text() == "odd"
        assert second.locator(".person").nth(0).locator(".small").inner_text() == "No words marked."
        shown_page.get_by_role("link", name="b").click()
        assert shown_page.url.endswith("#document-2")
        assert shown_page.locator("tbody tr").count() == 4 + 2 + 1 + 5 + 3 + 1
        assert seen.nothing


def hostile_report() -> tuple[SentReport, list[list[str]]]:
    strings = [text for text in dict.fromkeys(map(encodable, STRINGS)) if text.strip()]
    documents, lines = [], []
    for i, text in enumerate(strings):
        words = (Span(0, len(text), text, 1.0),)
        documents.append(document(text, text, text, predicted=text, words=words, label=text))
        for annotator in (strings[i % 20], strings[(i + 1) % 20]):
            rationales = [mark(0, len(text), text), mark(0, len(text), text, "text_pair")]
            values: dict[str, Any] = {"verdict": "disagree", "label": text, "comment": text, "rationales": rationales}
            lines.append(line(annotator=annotator, document=text, **values))
    return sent(*documents, labels=tuple(strings)), [lines]


def test_hostile_strings_are_shown_as_typed_and_run_nothing(browser: Browser, tmp_path: Path) -> None:
    report, downloads = hostile_report()
    assert len(report.documents) > 200
    with opened(browser, saved(tmp_path, report, *downloads), width=360) as (shown_page, seen):
        shown_page.wait_for_timeout(200)
        found = json.loads(
            shown_page.evaluate(
                """() => JSON.stringify([...document.querySelectorAll("article")].map(article => [
                  article.querySelector("h3").textContent,
                  ...[...article.querySelectorAll(".text, .person h4 > bdi, .comment, .person h4 span bdi")]
                    .map(each => each.textContent)]))"""
            )
        )
        names = [text.strip() for text in report.labels[:20]]
        assert len(found) == len(report.documents)
        for i, (text, texts) in enumerate(zip(report.labels, found, strict=True)):
            typed = shown(text)
            people = [(names[i % 20], i % 20), (names[(i + 1) % 20], (i + 1) % 20)]
            expected = [typed, typed, typed]
            # A person who is named first in the file comes first.
            for name, _ in sorted(people, key=lambda each: each[1]):
                expected += [shown(name), typed, typed, typed, shown(text.strip())]
            assert texts == expected
        assert not scrolls_sideways(shown_page)
        assert shown_page.title() == "Annotations"
        assert complaints(shown_page) == []
        assert seen.nothing


def test_halves_of_characters_and_what_was_not_read_are_shown(browser: Browser, tmp_path: Path) -> None:
    text = "read 👩‍👧 and not read"
    words = (Span(0, 4, "read", 1.0), Span(4, 5, " ", 0.0), Span(5, 8, text[5:8], -1.0), Span(8, 12, " and", 0.1))
    report = sent(document("a", text, words=words), document("b", "שלום עולם", words=(Span(0, 4, "שלום", 1.0),)))
    lines = [
        line(comment="half \ud83d", rationales=[mark(5, 8, text[5:8])]),
        line(document="b", rationales=[mark(0, 4, "שלום")]),
    ]
    with opened(browser, saved(tmp_path, report, lines)) as (shown_page, seen):
        article = shown_page.locator("article").first
        assert article.locator(".unread").text_content() == " not read"
        assert article.locator(".n10").text_content() == "👩‍👧"
        assert article.locator("mark").text_content() == "👩‍👧"
        assert article.locator(".comment").inner_text() == "half \ufffd"
        assert shown_page.locator("article").nth(1).locator("mark").text_content() == "שלום"
        assert seen.nothing
