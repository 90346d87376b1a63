"""Invisible characters and those that control a terminal are visible in every output; those that scripts need stay."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from example_annotations import document, line, sent, written
from example_evaluations import plan, results
from example_records import explanation
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from textlrp.annotate import table as comparison_table
from textlrp.annotate.annotations import read_annotations
from textlrp.annotate.comparison import compare
from textlrp.basics.characters import Printable, printable
from textlrp.check.audit import Audit, AuditedText, Preset
from textlrp.check.checks import Check
from textlrp.check.table import AuditView
from textlrp.cli import main
from textlrp.evaluate import table as evaluation_table
from textlrp.evaluate.summary import summarize
from textlrp.render import terminal
from textlrp.render.format import named
from textlrp.render.terminal_layers import layer_lines
from textlrp.results.layers import Layer
from textlrp.results.ledger import Ledger

#: Between Latin letters, of all control and format characters of Unicode these alone stay.
STAYING = (
    *(0x0600, 0x0601, 0x0602, 0x0603, 0x0604, 0x0605, 0x06DD, 0x0890, 0x0891, 0x08E2),  # Arabic numbers, years, pages
    *(0x070F, 0x110BD, 0x110CD),  # the Syriac mark of abbreviation, Kaithi numbers
    *(0x200C, 0x200D),  # joiners
    *range(0x13430, 0x13440),  # the layout of hieroglyphs
)

#: What a script needs stays with letters of that script: a text each, which is shown as it is.
NEEDED = {
    "Persian with a non-joiner": "می\u200cخواهم",
    "Devanagari with a joiner": "क्\u200dष",
    "Hebrew with a direction mark": "\u200fשלום (א)\u200e",
    "Arabic letter mark": "نص\u061c (1)",
    "Khmer with zero-width spaces": "ខ្ញុំ\u200bទៅ\u200bផ្ទះ",
    "Thai with zero-width spaces": "ฉัน\u200bไป",
    "Mongolian vowel separator": "ᠬᠠᠷ\u180eᠠ",
    "a family": "👩\u200d👧\u200d👦",
    "a flag": "🏳\ufe0f\u200d🌈",
    "a heart": "❤\ufe0f and ☎\ufe0e",
    "an ideographic variation": "葛\U000e0100城",
    "an accent": "e\u0301 q\u0307\u0323",
    "shorthand": "𛰀\U0001bca0𛰁",
    "music": "𝄞\U0001d173𝅘𝅥𝅮\U0001d174",
    "an emoji newer than some Pythons": "\U0001fae8",
    "joiners that join without a ligature": "ل\u200d\u200c\u200dا",
}

#: What is shown in another way, with what stands for it.
ESCAPED = [
    ("\u202eevil\u202c", "\\u202eevil\\u202c"),
    ("\u202aa\u202bb\u202dc", "\\u202aa\\u202bb\\u202dc"),
    ("\u2066a\u2067b\u2068c\u2069", "\\u2066a\\u2067b\\u2068c\\u2069"),
    ("שלום \u202e\u2067", "שלום \\u202e\\u2067"),
    ("pass\u200bword", "pass\\u200bword"),
    ("a\u200fb\u200ec\u061cd", "a\\u200fb\\u200ec\\u061cd"),
    ("so\u00adft", "so\\xadft"),
    ("\ufeffmark", "\\ufeffmark"),
    ("a\u2060b\u2061c\u2064d\u2065", "a\\u2060b\\u2061c\\u2064d\\u2065"),
    ("a\u180eb", "a\\u180eb"),
    ("\ufff9a\ufffab\ufffb", "\\ufff9a\\ufffab\\ufffb"),
    ("🏴\U000e0067\U000e007f", "🏴\\U000e0067\\U000e007f"),
    ("\u3164\uffa0", "\\u3164\\uffa0"),
    ("x\ufe0f\ufe01\U000e0155", "x\ufe0f\\ufe01\\U000e0155"),
    ("\ufe0fx \ufe0f", "\\ufe0fx \\ufe0f"),
    ("a\u200d\u200c\u200d\u200c\u200d", "a\u200d\u200c\u200d\\u200c\\u200d"),
    ("\ud83d!", "\\ud83d!"),
    ("\x1b[2J\x07\x7f\x00", "␛[2J␇␡␀"),
    ("\x9b2J\x85", "\\x9b2J\\x85"),
    ("\u2028\u2029", "\\u2028\\u2029"),
    ("\ue000\U0010fffd", "\\ue000\\U0010fffd"),
    ("\u0378\ufdd0\uffff", "\\u0378\\ufdd0\\uffff"),
]


def test_of_all_controls_and_format_characters_these_alone_stay() -> None:
    every = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf")]
    assert len(every) > 200
    staying = {char for char in every if printable(f"a{char}b") == f"a{char}b"}
    assert staying == {chr(code) for code in STAYING if unicodedata.category(chr(code)) == "Cf"}
    for char in set(every) - staying:
        shown = printable(f"a{char}b")
        assert (shown[0], shown[-1]) == ("a", "b")
        assert shown.isprintable()
        assert len(shown) > 2


@pytest.mark.parametrize("text", NEEDED.values(), ids=NEEDED)
def test_what_a_script_needs_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(("text", "shown"), ESCAPED, ids=[shown for _, shown in ESCAPED])
def test_what_is_unseen_or_turns_the_text_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_line_feeds_and_tabs_stay_where_they_are_kept() -> None:
    assert printable("a\r\nb\rc\nd\te", "\n\t") == "a\nb␍c\nd\te"
    assert printable("a\r\nb\rc\nd\te") == "a␍␊b␍c␊d␉e"
    assert named("a\nb\tc\u202e") == "a b c\\u202e"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.data())
def test_pieces_are_the_whole(text: str, data: Any) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=4).map(sorted))
    cuts = [0, *(cut for cut in cuts if text[cut - 1 : cut + 1] != "\r\n"), len(text)]
    whole = Printable(text)
    pieces = [piece for start, end in pairwise(cuts) for piece, _ in whole.pieces(start, end)]
    assert "".join(pieces) == printable(text, "\n\t")
    assert not set(printable(text)) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\x1b\x9b\n")


# Every output


EVIL = "no \u202eevil\u202c \u2067x\u2069 \U000e0041\x1b]0;owned\x07\x9b2J"
BAD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\ud800-\udfff]")
SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")


def clean(written: str) -> bool:
    return not BAD.search(SEQUENCE.sub("", written))


def evil() -> Any:
    text = f"{EVIL} {EVIL}"
    tokens = explanation(text).tokens
    layer = Layer(
        f"block {EVIL}", tuple(1.0 for _ in tokens), Ledger({"tokens": float(len(tokens))}, len(tokens) + 0.0)
    )
    e = explanation(text, target=EVIL, contrast=EVIL + "2", predicted=EVIL, model=EVIL, rules=EVIL)
    return replace(e, layers=(layer, layer))


@pytest.mark.parametrize("color", ["truecolor", None])
@pytest.mark.parametrize("by", ["token", "word", "sentence"])
def test_an_explanation_shows_nothing_unseen(color: str | None, by: str) -> None:
    file = io.StringIO()
    options: dict[str, Any] = {"color_system": color, "force_terminal": True} if color else {"color_system": None}
    Console(file=file, width=80, highlight=False, legacy_windows=False, **options).print(terminal.render(evil(), by))
    written = file.getvalue()
    assert clean(written)
    assert "\\u202eevil" in SEQUENCE.sub("", written)
    assert max(map(cell_len, SEQUENCE.sub("", written).splitlines())) <= 80


def test_the_map_of_layers_stays_aligned() -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    lines = [line.plain for line in layer_lines(evil(), "word", console, 80)]
    start = lines.index("", 1) + 1
    rows = [line for line in lines[start + 1 : -1] if line]
    assert rows
    assert {line[20] for line in rows} == {" "}  # the words have 20 columns
    assert all(clean(line) for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "film", "--target", EVIL],
        ["explain", "film", "--model", EVIL],
        ["explain", "film", EVIL],
        ["explain", "film", "--rules", EVIL],
        ["explain", "film", "--format", EVIL],
        ["explain", "--file", EVIL],
        [f"--{EVIL}"],
        [EVIL],
        ["report", EVIL],
        ["annotations", EVIL, "--report", EVIL],
        ["export", EVIL, "--to", "csv"],
        ["evaluate", "--corpus", EVIL],
        ["evaluate", "--corpus", "reviews", "--method", EVIL],
    ],
    ids=lambda arguments: " ".join(arguments).replace(EVIL, "EVIL"),
)
def test_an_error_shows_nothing_unseen(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, [each.replace("\x00", "") for each in arguments])
    assert result.exit_code in (1, 2)
    assert "Error: " in result.stderr
    assert clean(result.output)


def shown(result: Any, width: int = 80) -> str:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, highlight=False, legacy_windows=False).print(result)
    return file.getvalue()


def test_an_evaluation_shows_nothing_unseen() -> None:
    renamed = {"one": f"rules:{EVIL}.json", "two": "rules:[/]\u202e.json", "tiny": EVIL, "notes": f"notes {EVIL}"}
    planned = plan(
        methods=(renamed["one"], renamed["two"]),
        models=({**plan().models[0], "name": EVIL},),
        corpora=({**plan().corpora[0], "name": renamed["notes"]},),
        machine={"device": EVIL, "threads": 2},
    )
    changed = [
        replace(
            result,
            method=renamed[result.method],
            model=EVIL,
            corpus=renamed["notes"],
            document=f"{result.document} {EVIL}",
            failures=dict.fromkeys(result.failures, EVIL),
            faithfulness={kind: {**value, "replacement": "[/]\u202e"} for kind, value in result.faithfulness.items()},
        )
        for result in results()
    ]
    written = shown(evaluation_table.render(summarize(planned, changed)), 200)
    assert clean(written)
    assert "rules:[/]\\u202e.json" in written
    assert "faithfulness, tokens masked ([/]\\u202e), 4 documents" in written


def test_a_comparison_shows_nothing_unseen(tmp_path: Path) -> None:
    report = replace(sent(document("a", "Not good.")), id=EVIL, model=EVIL)
    files = [
        written(tmp_path / f"{name}.jsonl", line(annotator=f"{name} {EVIL}", report=EVIL)) for name in ("Ada", "Ben")
    ]
    page = shown(comparison_table.render(compare(read_annotations(files, report), report)))
    assert clean(page)
    assert "\\u202eevil" in page


def test_an_audit_shows_nothing_unseen() -> None:
    books = Ledger({"tokens": 1.0}, 1.0)
    audit = Audit(
        *(
            EVIL,
            EVIL,
            EVIL,
            (EVIL,),
            2,
            EVIL,
            EVIL,
            12,
            2,
            EVIL,
            "cpu",
            EVIL,
            EVIL,
            {"textlrp": EVIL, "platform": EVIL},
        ),
        (AuditedText(EVIL, EVIL, 3, None),),
        (Preset(EVIL, ((EVIL, EVIL, 3),), (books,), pinned_by=(EVIL,)),),
        (Check("ledger balance", False, 1.0, 0.5, EVIL),),
        EVIL,
    )
    assert clean(shown(AuditView(audit), 300))
    assert max(map(cell_len, shown(AuditView(audit)).splitlines())) <= 80


def test_a_document_that_is_not_explained_is_named_with_nothing_unseen(tmp_path: Path) -> None:
    path, output = tmp_path / "rows.jsonl", tmp_path / "\u202eevil.html"
    rows = [{"id": EVIL, "text": "\u200b"}, {"id": "b", "text": "a good film"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    result = CliRunner().invoke(main, ["report", str(path), "-o", str(output)])
    assert result.exit_code == 3, result.output
    assert result.stderr.startswith("not explained: no \\u202eevil\\u202c ")
    assert "\\u202eevil.html: 1 document" in result.stdout
    assert clean(result.output)
