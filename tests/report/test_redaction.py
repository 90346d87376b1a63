"""Redacted reports: what is hidden is in no byte of a file, and everything else stays where it was."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from browser import opened
from click.testing import CliRunner
from consistent_explanations import consistent
from example_reports import explanation, reviews

from textlrp.basics.characters import HIDDEN
from textlrp.cli import main
from textlrp.data.records import Failure, Record, write_run
from textlrp.errors import InputError
from textlrp.report.hidden_patterns import parse_hidden
from textlrp.report.reading import read_report
from textlrp.report.redaction import Redaction
from textlrp.report.writing import write_report
from textlrp.results.explanation import Explanation
from textlrp.results.prompt import Prompt
from textlrp.results.reference import Reference
from textlrp.results.spans import Span

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def hides(*written: str, names: Path | None = None) -> Redaction:
    redaction = Redaction.parse(written, names)
    assert redaction is not None
    return redaction


def listed(folder: Path, *names: str) -> Path:
    path = folder / "hidden.txt"
    path.write_text("\n".join(names) + "\n", "utf-8")
    return path


def covered(text: str, *written: str, names: Path | None = None) -> str:
    hidden = parse_hidden(written, names)
    assert hidden is not None
    found = hidden.cover(text)
    assert len(found) == len(text)
    return found.replace(HIDDEN, "#")


@pytest.mark.parametrize(
    ("what", "text", "shown"),
    [
        ("emails", "Mail ada.l+x@ex-ample.co.uk, or a@b.", "Mail ######################, or a@b."),
        ("emails", "jos\u00e9@caf\u00e9.fr <b@c.org>", "############ <#######>"),
        ("phones", "(555) 123-4567 or +49 30 1234567, room 12", "##### ######## or ### ## #######, room 12"),
        ("phones", "\u0660\u0661\u0662\u0663\u0664\u0665\u0666", "#######"),
        ("urls", "see https://x.org/a?b=1 and www.a.b", "see ################### and #######"),
        ("urls", "foo.com, foo.bar/baz (end). Well... e.g. this.", "#######, ########### (end). Well... e.g. this."),
        ("numbers", "1,234.50 in 2024, \u00bd a page and x2", "######## in ####, # a page and x#"),
        ("re:[A-Z]{2}\\d{1,2}", "AB12 ab12 XY3", "#### ab12 ###"),
        ("emails,numbers", "a@b.org 7", "####### #"),
    ],
)
def test_a_pattern_hides_what_it_is_called(what: str, text: str, shown: str) -> None:
    assert covered(text, what) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ADA LOVELACE and Ada  Lovelace", "### ######## and ###  ########"),
        ("Ada Adamant Ada_17 Canada", "Ada Adamant Ada_17 Canada"),
        ("ZUSE's zuse_2 Zuses", "####'s ####_2 Zuses"),
        ("Jos\u00e9 JOSE\u0301 jose", "#### ##### jose"),
        ("o\u2019brien \uff3a\uff35\uff33\uff25 zu\u00adse", "####### #### #####"),
        ("Stra\u00dfe STRASSE", "###### #######"),
        ("\u6211\u53eb\u738b\u5c0f\u660e\u3002", "\u6211\u53eb###\u3002"),
        ("a/b?q=ada%20lovelace%20x", "a/b?q=##############%20x"),
    ],
)
def test_names_are_whole_words_in_any_case_and_spelling_of_unicode(text: str, shown: str, tmp_path: Path) -> None:
    names = listed(tmp_path, "Ada Lovelace", "zuse", "Jos\u00e9", "O'Brien", "stra\u00dfe", "", "\u738b\u5c0f\u660e")
    assert covered(text, names=names) == shown


def test_graphemes_are_hidden_whole_and_white_space_stays() -> None:
    family = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
    assert covered(f"x{family}y", "re:\U0001f467") == "x#####y"
    assert covered("caf\u00e9 cafe\u0301s", "re:e(?=\u0301)") == "caf\u00e9 caf##s"
    assert covered("a\r\nb c", "re:(?s)a.+") == "#\r\n# #"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("mails", "--redact hides emails, phones, urls, numbers, texts, or what a regular expression finds"),
        ("re:[a", "--redact 're:\\[a' is no regular expression: "),
        ("re:", "--redact 're:' finds a text without characters: say what it hides"),
        ("re:x*", "--redact 're:x\\*' finds a text without characters: say what it hides"),
    ],
)
def test_a_bad_pattern_is_one_sentence(written: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        hides(written)
    write_run(tmp_path / "run.jsonl", [Record("a", (consistent(explanation("A film")),))])
    done = CliRunner().invoke(main, ["report", str(tmp_path / "run.jsonl"), "--redact", written])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)


def test_a_file_of_names_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read '.*none.txt': No such file or directory"):
        hides(names=tmp_path / "none.txt")
    with pytest.raises(InputError, match=r"there is no name in .*: write one a line"):
        hides(names=listed(tmp_path, " "))
    with pytest.raises(InputError, match=r"'--' in .* has no letter and no digit: names are found by their words"):
        hides(names=listed(tmp_path, "Ada", "--"))


LINK = "https://z3.example/a?b=\u00fc"
SECRETS = ("Zuse", "konrad@z3.example", "O'Brien & S\u00f8n", "+49 30 5557788", LINK, "QX-17")


def secret_records() -> list[Record]:
    reference = Reference("the text 'Zuse'", {"NEG": 0.0, "POS": 0.0}, ("Zuse",))
    prompt = Prompt("Zuse asks: {text}", (Span(0, 4, "Zuse", 0.5, piece="Zuse"),))
    text = "Dear Zuse, the machine of O'Brien & S\u00f8n failed. QX-17 came late."
    first = explanation(text, [0.1, 3.0, 0.2], reference=reference, prompt=prompt, model="/home/zuse/QX-17")
    pair = explanation("Write to konrad@z3.example", [0, 0, 2.0], text_pair="or call +49 30 5557788. Zuse")
    link = explanation("See https://z3.example/a?b=\u00fc now, ZUSE!", [0.0, -2.0, 0.1, 1.0])
    return [
        Record("zuse-1", (first, explanation(text, [1.0], "NEG", model="m")), "POS", ((5, 9),)),
        Record("QX-17", (pair,)),
        Record("plain", (link,), "NEG"),
        Record("konrad@z3.example", (explanation("All good", [1.0]),), "POS"),
    ]


FAILURES = [
    Failure("line 3", "the text is ['Zuse', 'Ostrava'], which is no text"),
    Failure("QX-17-b", "the label is {'name': 'Ostrava of the very long na..., neither a name nor a number"),
]


def places(spans: Sequence[Span]) -> list[tuple[int, int, float]]:
    return [(span.start, span.end, span.relevance) for span in spans]


def spellings(secret: str) -> set[str]:
    """A string as files may write it."""
    plain = {secret, *secret.split(), *secret.replace("-", " ").split()} - {"&", "30", "17", "+49", "QX"}
    forms = set()
    for word in plain:
        for one in (word, word.lower(), word.upper(), word.casefold()):
            forms |= {one, quote(one), quote(one, safe=""), json.dumps(one)[1:-1], html.escape(one)}
    return forms


@pytest.mark.parametrize("pages", [1, 10])
@pytest.mark.parametrize("blind", [False, True])
def test_what_is_hidden_is_in_no_byte_of_any_file(tmp_path: Path, pages: int, blind: bool) -> None:
    redaction = hides("emails,phones", "urls,re:QX-\\d+", names=listed(tmp_path, "zuse", "O'Brien & S\u00f8n"))
    title = "Zuse and O'Brien & S\u00f8n, QX-17"
    options = {"title": title, "blind": blind, "page_documents": pages, "failures": FAILURES}
    written = write_report(secret_records(), tmp_path / "r.html", redaction=redaction, **options)  # type: ignore[arg-type]
    assert len(written) == (5 if pages == 1 else 1)
    for path in written:
        lower = path.read_bytes().decode("utf-8").lower()
        for secret in (*SECRETS, "Ostrava"):
            for form in spellings(secret):
                assert form.lower() not in lower, (secret, form)
        assert "Words are hidden in this report: each \u2584 stands for one character." in path.read_text("utf-8")
    assert "Words are hidden" not in write_report(reviews(), tmp_path / "open.html")[0].read_text("utf-8")


def test_offsets_marks_and_relevances_stay(tmp_path: Path) -> None:
    names = listed(tmp_path, "zuse", "O'Brien & S\u00f8n")
    (path,) = write_report(secret_records(), tmp_path / "r.html", redaction=hides("emails", names=names))
    (open_path,) = write_report(secret_records(), tmp_path / "open.html")
    sent, opened_ = read_report(path), read_report(open_path)
    assert list(sent.documents) == ["document 1", "QX-17", "plain", "document 4"]
    for one, other in zip(sent.documents.values(), opened_.documents.values(), strict=True):
        assert places(one.words) == places(other.words)
    first = sent.documents["document 1"].text
    assert first.replace(HIDDEN, "#") == "Dear ####, the machine of ####### # ### failed. QX-17 came late."
    row = json.loads(path.read_text("utf-8").split('id="textlrp-data">')[1].split("</script>")[0])["documents"]
    assert row["rationales"][0] == [[5, 9]]


def test_an_id_that_says_what_its_own_text_hides_is_numbered() -> None:
    records = [
        Record("document 3", (explanation("A film"),)),
        Record("Ada-7", (explanation("Name: Ada"),)),
        Record("document 2", (explanation("Name: Ida"),)),
        Record("ida", (explanation("Name: Ida"),)),
    ]
    done = list(hides("re:(?<=Name: )\\w+").documents(records))
    assert [each.id for each in done] == ["document 3", "document 2", "document 3'", "document 4"]


def test_whole_texts_are_blocks_word_by_word_and_relevances_stay(tmp_path: Path) -> None:
    records = [*reviews(), Record("wonderful-film", (explanation("A wonderful film", [0, 2.0]),))]
    (path,) = write_report(records, tmp_path / "r.html", redaction=hides("texts"))
    sent = read_report(path)
    assert list(sent.documents) == ["a", "b", "c", "d", "document 5"]
    assert sent.documents["b"].text.replace(HIDDEN, "#") == "#### ## #####. ##### #####."
    assert [(w.text, w.relevance) for w in sent.documents["a"].words][2] == (HIDDEN * 9, 2.0)
    page = path.read_text("utf-8")
    for word in ("wonderful", "Dull", "really"):
        assert word not in page
    assert f'"{HIDDEN * 9}"' in sent_sentence(page)


def sent_sentence(page: str) -> str:
    """What is said of the words of the first document."""
    said = json.loads(page.split('id="textlrp-data">')[1].split("</script>")[0])["documents"]["explained"][0][0][6]
    return "".join(part if isinstance(part, str) else part[0] for part in said)


def test_hidden_words_are_not_among_the_words_that_decide(tmp_path: Path) -> None:
    e = explanation("Ada was wonderful", [3.0, 0.1, 1.0])
    (path,) = write_report([Record("1", (e,))], tmp_path / "r.html", redaction=hides(names=listed(tmp_path, "Ada")))
    page = path.read_text("utf-8")
    words = page.split("Words that decide")[1].split("</section>")[0]
    assert '<th scope="row"><bdi>wonderful</bdi></th>' in words
    assert f"<bdi>{HIDDEN}" not in words
    assert f"{HIDDEN * 3} was <mark>wonderful</mark>" in words


def test_a_label_or_a_file_that_says_what_is_hidden_is_refused(tmp_path: Path) -> None:
    names = listed(tmp_path, "pos", "ada")
    with pytest.raises(InputError, match="the label 'POS' has what --redact hides, and labels are shown: leave it out"):
        write_report(reviews(), tmp_path / "r.html", redaction=hides(names=names))
    with pytest.raises(InputError, match=r"the name of '.*ada-2.html' has what --redact hides: name another file"):
        write_report(reviews(), tmp_path / "ada-2.html", redaction=hides(names=names))
    assert write_report(reviews(), tmp_path / "r-2.html", redaction=hides("numbers"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hidden.txt", "r-2.html"]


def test_the_command_redacts_saved_runs(tmp_path: Path) -> None:
    records: list[Record | Failure] = [
        Record("1", (consistent(explanation("Ada saw a good film", [1.0])),)),
        Failure("2", "the text is 'Ada'"),
    ]
    write_run(tmp_path / "ada.jsonl", records)
    names = listed(tmp_path, "ada")
    out = tmp_path / "r.html"
    done = CliRunner().invoke(
        main, ["report", str(tmp_path / "ada.jsonl"), "--redact-names", str(names), "-o", str(out)]
    )
    assert done.exit_code == 3, done.output
    page = out.read_text("utf-8")
    assert f"<title>{HIDDEN * 3}</title>" in page
    assert "ada" not in page.split('id="textlrp-data">')[0].split("</style>")[1].lower().replace("metadata", "")
    assert read_report(out).documents["1"].text == f"{HIDDEN * 3} saw a good film"


def test_the_page_of_one_explanation_can_be_redacted(tmp_path: Path) -> None:
    out = tmp_path / "e.html"
    arguments = ["explain", "Zuse called a warm film funny.", "--redact", "re:Zuse"]
    done = CliRunner().invoke(main, [*arguments, "--layers", "--format", "html", "-o", str(out)])
    assert done.exit_code == 0, done.output
    page = out.read_text("utf-8")
    assert "zuse" not in page.lower()
    assert "Words are hidden on this page: each \u2584 stands for one character." in page
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.output) == (2, "Error: --redact goes with --format html: it hides words on a page\n")


def test_a_redacted_explanation_has_the_words_of_the_text_as_it_was() -> None:
    e: Explanation = explanation(
        "Mail a.b@c.org or \u0e01\u0e32\u0e23\u0e41\u0e1e\u0e17\u0e22\u0e4c now. Bye", [1.0, 2.0]
    )
    hidden = hides("texts").explanation(e)
    for unit in ("word", "sentence"):
        assert places(hidden.units(unit)) == places(e.units(unit))
    assert hidden.sentences[0].text.replace(HIDDEN, "#").startswith("#### ######### ## ")


def test_hidden_words_cannot_be_found_in_the_page_and_can_be_marked(browser: Browser, tmp_path: Path) -> None:
    e = explanation("Ada was wonderful", [3.0, 0.1, 1.0])
    (path,) = write_report([Record("1", (e,))], tmp_path / "r.html", redaction=hides(names=listed(tmp_path, "Ada")))
    with opened(browser, path) as (page, seen):
        assert page.locator("article .text").inner_text() == f"{HIDDEN * 3} was wonderful"
        assert page.locator("article .text [title]").first.inner_text() == HIDDEN * 3
        page.locator("#find").fill("ada")
        page.locator("#nothing").wait_for()
    assert seen.nothing
