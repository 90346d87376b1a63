"""The report in Chromium: what is listed, how it is found, how it looks, and what it does not let happen."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostile_strings
import pytest
from browser import complaints, contrasts, opened, scrolls_sideways
from example_explanations import measured
from example_reports import explanation, reviews, sure

from textlrp.data.records import Failure, Record
from textlrp.report.reading import read_report
from textlrp.report.writing import write_report
from textlrp.results.explanation import Explanation

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    return write_report(reviews(), folder / "report.html", title="Reviews", failures=[Failure("e", "Too long.")])[0]


def listed(page: Page) -> list[str]:
    return page.locator("article h3").all_inner_texts()


def choose(page: Page, name: str, value: str) -> None:
    page.locator("#more").evaluate("e => e.open = true")
    page.locator(f"#filter [name={name}]").select_option(value)


def colors(page: Page, document: int = 0) -> list[list[str]]:
    """The words of a document that have a color, with their class and title."""
    found: list[list[str]] = (
        page.locator("article")
        .nth(document)
        .locator(".text")
        .evaluate_all(
            "all => all.flatMap(b => [...b.querySelectorAll('[title]')]).map(s => [s.innerText, s.className, s.title])"
        )
    )
    return found


def test_a_list_of_labels_is_right_if_one_of_them_is_predicted(browser: Browser, tmp_path: Path) -> None:
    e = (explanation("A wonderful film", [0.0, 2.0, 0.5], **sure("POS", 0.95)),)
    records = [Record("a", e, None, labels=("NEG", "POS")), Record("b", e, None, labels=("NEG", "odd")), Record("c", e)]
    (page_path,) = write_report(records, tmp_path / "report.html")
    with opened(browser, page_path) as (page, seen):
        assert page.locator(".said").all_inner_texts() == [
            "POS 95.0\u00a0%\nright, given NEG, POS",
            "POS 95.0\u00a0%\nwrong, given NEG, odd",
            "POS 95.0\u00a0%",
        ]
        assert "50.0 %" in page.locator(".figures").inner_text().replace("\u00a0", " ")
        assert page.locator(".confusion").count() == 0
        for name, value, expected in (("given", "0", ["a", "b"]), ("given", "1", ["a"]), ("given", "2", ["b"])):
            choose(page, name, value)
            assert listed(page) == expected
        choose(page, "given", "")
        for value, expected in (("right", ["a"]), ("wrong", ["b"])):
            choose(page, "outcome", value)
            assert listed(page) == expected
    assert seen.nothing


def test_documents_stand_as_they_were_written_in_their_colors(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        assert listed(page) == ["a", "b", "c", "d"]
        assert page.locator(".text").all_inner_texts() == [record.text for record in reviews()]
        assert page.locator(".said").all_inner_texts() == [
            "POS 95.0\u00a0%\nright, given POS",
            "NEG 85.0\u00a0%\nright, given NEG",
            "NEG 55.0\u00a0%\nwrong, given POS",
            "POS 75.0\u00a0%",
        ]
        assert colors(page) == [["wonderful", "p10", "+2.00"], ["film", "p3", "+0.500"]]
        assert colors(page, 2) == [["Not", "n5", "−1.00"], ["bad", "p5", "+0.900"], ["all", "p1", "+0.200"]]
        assert (
            page.locator("article .aloud").nth(2).text_content()
            == "Strongest words: Not −1.00, bad +0.900, all +0.200."
        )
    assert seen.nothing


def test_filters_the_search_and_the_order(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        choose(page, "outcome", "wrong")
        assert listed(page) == ["c"]
        assert page.locator("#count").inner_text() == "1 of 4 documents"
        page.locator("#clear").click()
        choose(page, "predicted", "1")
        assert listed(page) == ["a", "d"]
        choose(page, "given", "1")
        assert listed(page) == ["a"]
        page.locator("#clear").click()
        page.locator("[name=from]").fill("60")
        page.locator("[name=to]").fill("90")
        assert listed(page) == ["b", "d"]
        page.locator("#clear").click()
        for order, expected in {
            "wrong": "cabd",
            "confidence": "abdc",
            "unsure": "cdba",
            "relevance": "abcd",
            "length": "dbac",
            "short": "cabd",
        }.items():
            choose(page, "sort", order)
            assert "".join(listed(page)) == expected, order
        choose(page, "sort", "order")
        page.locator("#find").fill('AT "never again"')
        page.locator("#count", has_text="1 of 4").wait_for()
        assert listed(page) == ["b"]
        assert page.evaluate("CSS.highlights.get('found').size") == 2
        page.locator("#find").fill("nowhere")
        page.locator("#nothing").wait_for()
        assert listed(page) == []
    assert seen.nothing


def test_the_address_says_what_is_listed_and_leads_to_a_document(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        choose(page, "predicted", "0")
        choose(page, "sort", "unsure")
        assert page.evaluate("location.hash") == "#predicted=0&sort=unsure"
        page.reload()
        assert listed(page) == ["c", "b"]
        page.locator("article h3 a").last.click()
        assert page.evaluate("location.hash") == "#doc=b&predicted=0&sort=unsure"
        assert listed(page) == ["c", "b"]
        page.goto(path.as_uri() + "#doc=d&predicted=0")  # it is not among these: all are listed
        page.reload()
        page.locator("article.current").wait_for()
        assert page.locator("article.current h3").inner_text() == "d"
        assert len(listed(page)) == 4
        page.goto(path.as_uri() + "#doc=nobody&sort=bogus&from=999&view=7")
        page.reload()
        assert page.locator("#toast").inner_text() == "There is no document “nobody” here."
        assert listed(page) == ["a", "b", "c", "d"]
    assert seen.nothing


def test_colors_by_sentence_and_without_weak_words(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        page.locator("#more > summary").click()
        assert colors(page, 1) == [["Dull", "p8", "+1.50"], ["Never", "p4", "+0.800"]]
        page.locator("[name=scale][value=own]").check()
        assert colors(page, 1) == [["Dull", "p10", "+1.50"], ["Never", "p6", "+0.800"]]
        page.locator("[name=threshold]").fill("30")
        assert colors(page) == [["wonderful", "p10", "+2.00"]]
        assert page.locator("#shown-threshold").inner_text() == "30\u00a0%"
        page.locator("[name=threshold]").fill("5")
        page.locator("[name=by][value=sentence]").check()
        assert colors(page, 1) == [["Dull at times.", "p10", "+1.60"], ["Never again.", "p5", "+0.800"]]
    assert seen.nothing


def test_several_targets_can_be_switched(browser: Browser, tmp_path: Path) -> None:
    said = sure("POS", 0.9)
    both = [explanation("good film", [r], **{**said, "target": t}) for t, r in (("NEG", -1.0), ("POS", 2.0))]
    records = [Record("1", tuple(both)), Record("2", (explanation("dull", [1.0], **said),))]
    (path,) = write_report(records, tmp_path / "report.html")
    with opened(browser, path) as (page, seen):
        assert colors(page) == [["good", "p8", "+2.00"]]
        choose(page, "view", "0")
        assert colors(page) == [["good", "n4", "−1.00"]]
        one = page.locator("article").first.locator(".viewing")
        assert one.locator("[aria-pressed=true]").all_inner_texts() == ["NEG"]
        one.get_by_role("button", name="POS").click()  # for this document alone
        assert colors(page) == [["good", "p8", "+2.00"]]
        assert page.locator("[name=view]").input_value() == "0"
        assert colors(page, 1) == []
        assert "not explained for the label chosen above" in page.locator(".said").nth(1).inner_text()
        assert page.locator("[name=given]").is_hidden()
    assert seen.nothing


def test_both_labels_of_a_contrast_are_named(browser: Browser, tmp_path: Path) -> None:
    e = explanation("good film", [1.0], **{**sure("POS", 0.9), "contrast": "NEG"})
    (path,) = write_report([Record("1", (e,))], tmp_path / "report.html")
    with opened(browser, path) as (page, seen):
        assert "why POS and not NEG" in page.locator(".said").first.inner_text()
    assert seen.nothing


def test_no_label_is_predicted_where_a_text_may_have_several_and_none_is_likely(
    browser: Browser, tmp_path: Path
) -> None:
    rude: dict[str, Any] = {"target": "rude", "predicted": "rude", "multi_label": True}
    none = {**rude, "logits": {"rude": -0.8, "spam": -3.0}, "probabilities": {"rude": 0.31, "spam": 0.047}}
    some = {**rude, "logits": {"rude": 0.8, "spam": -3.0}, "probabilities": {"rude": 0.69, "spam": 0.047}}
    records = [Record(str(i), (explanation("you fool", [0.0, 1.0], **said),)) for i, said in enumerate((none, some))]
    (path,) = write_report(records, tmp_path / "report.html")
    with opened(browser, path) as (page, seen):
        first, second = page.locator(".said .predicted").all_inner_texts()
        assert first == "no label"
        assert "the highest is rude 31.0\u00a0%" in page.locator(".said").first.inner_text()
        assert second == "rude 69.0\u00a0%"
        assert "1 document has no label: none reaches 50 %." in page.locator("#model-summary").inner_text()
    assert seen.nothing


def test_keys_go_from_document_to_document(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        current = page.locator("article.current h3")
        for key, expected in (("j", "a"), ("j", "b"), ("j", "c"), ("k", "b")):
            page.keyboard.press(key)
            assert current.inner_text() == expected
        assert page.evaluate("location.hash") == "#doc=b"
        assert page.evaluate("document.activeElement.className") == "document current"
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "find"
        page.keyboard.type("j?")
        assert page.locator("#find").input_value() == "j?"
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.locator("#single-keys").uncheck()
        page.keyboard.press("Escape")
        page.locator("h1").click()
        page.keyboard.press("?")
        assert page.locator("#help").is_hidden()
    assert seen.nothing


def test_ten_thousand_documents_are_listed_a_few_at_a_time(browser: Browser, tmp_path: Path) -> None:
    e = explanation(
        "A wonderful film that is a little long and very quiet", [0.0, 2.0, 0.5, -1.0, 0.3], **sure("POS", 0.9)
    )
    other = explanation("Short " * 60, [1.0], **sure("NEG", 0.8))
    records = [Record(f"n{i}", (other if i % 7 == 0 else e,), "POS") for i in range(10_000)]
    (path,) = write_report(records, tmp_path / "report.html")
    with opened(browser, path) as (page, seen):
        page.locator("article").first.wait_for()
        assert page.locator("article").count() < 100
        page.goto(path.as_uri() + "#doc=n6543")
        page.locator("article.current").wait_for()
        page.wait_for_timeout(300)
        at = page.locator("article.current").bounding_box()
        bar = page.locator("#bar").bounding_box()
        assert at is not None
        assert bar is not None
        assert 0 <= at["y"] - (bar["y"] + bar["height"]) < 40
        assert page.locator("article.current").get_attribute("aria-posinset") == "6544"
        # What comes in above the view on the way up must not push the text away.
        for _ in range(15):
            page.keyboard.press("k")
        page.wait_for_timeout(200)
        box = page.locator("article.current").bounding_box()
        assert box is not None
        assert page.locator("article.current h3").inner_text() == "n6528"
        assert 0 <= box["y"] - (bar["y"] + bar["height"]) < 40
        assert page.locator("article").count() < 200
    assert seen.nothing


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (1400, True), (360, False), (360, True)])
def test_anyone_can_read_it_and_nothing_sticks_out(browser: Browser, path: Path, width: int, dark: bool) -> None:
    with opened(browser, path, width=width, dark=dark) as (page, seen):
        page.locator("article").first.wait_for()
        page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
        assert complaints(page) == []
        assert not scrolls_sideways(page)
        assert min(ratio for _, ratio in contrasts(page, ".text, .text span, button, .said *")) >= 4.5
        page.evaluate("document.getElementById('name-dialog').showModal()")
        assert complaints(page) == []
    assert seen.nothing


def test_many_labels_are_chosen_from_a_list_and_wide_tables_scroll_alone(browser: Browser, tmp_path: Path) -> None:
    labels = [f"a rather long label {i}" for i in range(11)]
    records = []
    for i in range(22):
        logits = {label: float(n == i % 11) for n, label in enumerate(labels)}
        e = explanation("x", [1.0], labels[i % 11], predicted=labels[i % 11], logits=logits, probabilities={})
        records.append(Record(str(i), (e,), labels[i * i % 11]))
    (path,) = write_report(records, tmp_path / "report.html")
    with opened(browser, path, width=360) as (page, seen):
        assert page.locator(".confusion tbody tr").count() == 6  # as many as there are squares
        assert not scrolls_sideways(page)
        assert complaints(page) == []
        assert page.locator(".said").first.inner_text().startswith("a rather long label 0 +2.50")
        assert page.locator("article select").first.locator("option").count() == 12
    assert seen.nothing


def test_the_summary_is_there_without_scripts(browser: Browser, path: Path) -> None:
    with opened(browser, path, java_script_enabled=False) as (page, seen):
        assert page.locator(".figures dd").nth(2).inner_text() == "66.7 %"
        assert page.locator("noscript p").is_visible()
        assert page.locator("#app").is_hidden()
    assert seen.nothing


def test_what_is_listed_is_printed(browser: Browser, path: Path) -> None:
    with opened(browser, path) as (page, seen):
        choose(page, "predicted", "1")
        page.emulate_media(media="print")
        page.wait_for_timeout(100)
        assert page.locator("article:visible").count() == 2
        assert page.locator(".marking:visible, #bar:visible").count() == 0
        assert (
            page.locator(".text .p10").first.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(240, 130, 20)"
        )
        assert page.pdf()[:5] == b"%PDF-"
    assert seen.nothing


def test_an_index_leads_to_the_page_of_a_document(browser: Browser, tmp_path: Path) -> None:
    index = write_report(reviews(), tmp_path / "big report.html", page_documents=3, title="Big")[0]
    with opened(browser, index) as (page, seen):
        page.goto(index.as_uri() + "#doc=d")
        page.locator("article.current").wait_for()
        assert page.url.endswith("big%20report-002.html#doc=d")
        page.keyboard.press("u")
        page.locator("#name-field").fill("Ada")
        page.keyboard.press("Enter")
        page.locator("#progress", has_text="1 of 1 marked").wait_for()
        page.locator(".kicker a").click()
        page.locator("#progress", has_text="1 of 4 marked").wait_for()
        assert page.locator("#page-2").inner_text() == "1 marked"
        assert complaints(page) == []
        with page.expect_download() as download:
            page.locator("#download").click()
        assert json.loads(download.value.path().read_text())["document"] == "d"
    assert seen.nothing


def test_hostile_strings_are_shown_as_typed_and_run_nothing(browser: Browser, tmp_path: Path) -> None:
    records = []
    for i, text in enumerate(hostile_strings.STRINGS):
        e = explanation(
            text, [1.0, -0.5], target=text, predicted=text, logits={text: 1.0}, probabilities={text: 0.7}, model=text
        )
        records.append(Record(text, (e,), hostile_strings.STRINGS[i - 1]))
    (path,) = write_report(
        records,
        tmp_path / "report.html",
        title=hostile_strings.STRINGS[0],
        failures=[Failure(t, t) for t in hostile_strings.STRINGS],
    )
    with opened(browser, path, width=360) as (page, seen):
        shown: list[dict[str, Any]] = []
        for start in range(0, len(records), 16):
            page.evaluate("i => document.querySelectorAll('.chunk')[i].scrollIntoView()", start // 16)
            page.locator(f"article[aria-posinset='{min(start + 16, len(records))}']").wait_for()
            shown += page.evaluate(
                """first => [...document.querySelectorAll('article')].map(a => ({
                  place: Number(a.getAttribute('aria-posinset')), id: a.querySelector('h3').textContent,
                  text: a.querySelector('.text').textContent, said: a.querySelector('.predicted bdi').textContent,
                })).filter(a => a.place > first && a.place <= first + 16)""",
                start,
            )
        for i, text in enumerate(hostile_strings.STRINGS):
            whole = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
            assert shown[i]["id"] == shown[i]["said"] == whole
            assert plain(shown[i]["text"]) == plain(whole)
        assert not scrolls_sideways(page)
        page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
        page.locator("[name=find]").fill("<script>")
        page.locator("#count", has_text=" of ").wait_for()
        assert page.evaluate("document.title") != "hacked"
    assert seen.nothing


def plain(text: str) -> str:
    """Without the characters for which a picture is shown."""
    return "".join(
        char for char in text if char.isprintable() and not "\u2400" <= char <= "\u2421" and char != "\ufffd"
    )


def test_what_the_words_add_to_the_reference_stands_under_the_verdict(browser: Browser, tmp_path: Path) -> None:
    shorter = measured(truncated=(10, len(measured().text)), tokens=measured().tokens[:2], contrast="NEG")
    records = [*reviews()[:1], Record("one", (measured(),)), Record("two", (measured(), shorter))]
    (path,) = write_report(records, tmp_path / "report.html")
    says = "Without its words the model would say POS \u22120.50. The words add +1.75, above all "
    with opened(browser, path) as (page, seen):
        first, second, third = page.locator("article header .cut").all_inner_texts()
        assert first.startswith('The words add +2.50 to the score, above all "wonderful" and "film"; nothing speaks ')
        assert second.startswith(says)
        assert second == third
        assert page.locator("article .text").nth(2).inner_text() == measured().text
        assert complaints(page) == []
    assert seen.nothing
    (path,) = write_report(records, tmp_path / "blind.html", blind=True)
    with opened(browser, path) as (page, seen):
        assert page.locator("article header .cut:visible").count() == 0


def test_a_document_may_have_several_labels_or_none(browser: Browser, tmp_path: Path) -> None:
    def several(text: str, shares: dict[str, float], target: str) -> Explanation:
        logits = {label: math.log(share / (1 - share)) for label, share in shares.items()}
        top = max(logits, key=logits.__getitem__)
        values = {"logits": logits, "probabilities": shares, "predicted": top, "multi_label": True}
        return explanation(text, [1.0 if target == "joy" else -1.0], target, **values)

    both, none = {"joy": 0.9, "love": 0.8, "anger": 0.1}, {"joy": 0.2, "love": 0.1, "anger": 0.3}
    records = [
        Record("1", tuple(several("dear me", both, label) for label in ("joy", "love")), labels=("joy", "love")),
        Record("2", (several("meh", none, "anger"),), "joy"),
    ]
    (path,) = write_report(records, tmp_path / "report.html")
    with opened(browser, path) as (page, seen):
        said = page.locator(".said")
        assert said.first.inner_text().replace("\n", " ") == "joy 90.0\u00a0%, love right, given joy, love"
        assert said.nth(1).inner_text().startswith("no label")
        assert "the highest is anger 30.0\u00a0%" in said.nth(1).inner_text()
        assert page.locator(".figures dt").all_inner_texts()[1:3] == ["All labels right", "Labels (F1)"]
        page.locator("article").first.locator(".viewing").get_by_role("button", name="love").click()
        assert colors(page) == [["dear", "n4", "−1.00"]]
        choose(page, "outcome", "wrong")
        assert page.locator("article h3").all_inner_texts() == ["2"]
        choose(page, "outcome", "")
        page.locator("#name").click()
        page.locator("#name-field").fill("Ada")
        page.keyboard.press("Enter")
        labels = page.locator("article").first.get_by_role("group", name="Right labels")
        labels.get_by_role("button", name="love").click()
        labels.get_by_role("button", name="joy").click()
        page.locator("article").first.get_by_role("button", name="Agree", exact=True).click()
        assert page.locator("article").first.locator(".question").is_hidden()
        labels.get_by_role("button", name="love").click()
        assert (
            "You agree with joy, love, and give joy as the right label" in page.locator(".question").first.inner_text()
        )
        assert complaints(page) == []
        with page.expect_download() as started:
            page.locator("#download").click()
        assert json.loads(started.value.path().read_text("utf-8"))["labels"] == ["joy"]
    document = read_report(path).documents["1"]
    assert (document.chosen, list(document.others)) == (("joy", "love"), ["love"])
    assert read_report(path).multi
    assert seen.nothing
