import dataclasses
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textlrp.data import corpora
from textlrp.errors import CorpusError

GOOD = {"id": "a", "text": "Not bad at all.", "label": "POS", "rationales": [[0, 14]]}


@pytest.fixture(scope="module")
def reviews():
    return corpora.load("reviews")


def line(**changes):
    """A good line with these keys changed; a key set to ... is left out."""
    return json.dumps({key: value for key, value in {**GOOD, **changes}.items() if value is not ...})


# Reading


def test_a_packaged_corpus_comes_before_the_checkout(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "textlrp"
    for folder, text in ((package / "_corpora", "installed"), (package.parent / "corpora", "checked out")):
        (folder / "tiny").mkdir(parents=True)
        (folder / "tiny" / "tiny.jsonl").write_text(line(text=text, rationales=[]))
        (folder / "tiny" / "README.md").write_text(f"# {text}")
        (folder / "tiny" / "notes.jsonl").write_text("not a corpus")
    monkeypatch.setattr(corpora, "__file__", str(package / "data" / "corpora.py"))
    assert corpora.names() == ("tiny",)
    assert corpora.load("tiny").documents[0].text == "installed"
    assert corpora.load("tiny").card == "# installed"
    (package / "_corpora").rename(package / "elsewhere")
    assert corpora.load("tiny").documents[0].text == "checked out"


def test_reading_needs_no_torch():
    code = "import sys; from textlrp.data import corpora; corpora.load('reviews'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


def test_corpora_are_frozen(reviews):
    with pytest.raises(dataclasses.FrozenInstanceError):
        reviews.name = "mine"
    with pytest.raises(dataclasses.FrozenInstanceError):
        reviews.documents[0].text = "mine"
    assert len({*reviews}) == len(reviews)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".JSONL.GZ"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_of_your_own(tmp_path, suffix, kind):
    path = tmp_path / f"my.own{suffix}"
    second = line(id="b", label=None, rationales=[[8, 14], [0, 3]], domain="food", tags=["mixed"], source={"any": 1})
    contents = f"\ufeff{line(domain=None, tags=None)}\r\n\n{second}".encode()
    path.write_bytes(gzip.compress(contents) if suffix.lower().endswith("gz") else contents)
    corpus = corpora.load(kind(path))
    assert corpus == corpora.Corpus(
        "my.own",
        (
            corpora.Document("a", "Not bad at all.", "POS", ((0, 14),)),
            corpora.Document("b", "Not bad at all.", None, ((0, 3), (8, 14)), "food", ("mixed",)),
        ),
    )
    assert corpus.labels == ("POS",)
    assert corpus.card == ""
    assert [document.id for document in corpus] == ["a", "b"]


def test_several_labels_and_a_language(tmp_path):
    path = tmp_path / "several.jsonl"
    lines = [
        line(labels=["POS", "food"], language="en"),
        line(id="b", label=..., labels=["travel", "food"], language=None),
        line(id="c", label=None, labels=[]),
        line(id="d", labels=None),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    corpus = corpora.load(path)
    assert [(document.label, document.labels, document.language) for document in corpus] == [
        ("POS", ("POS", "food"), "en"),
        (None, ("travel", "food"), None),
        (None, (), None),
        ("POS", (), None),
    ]
    assert corpus.labels == ("POS", "food", "travel")


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)


@st.composite
def documents(draw):
    text = draw(TEXTS)
    borders = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    spans = tuple(zip(borders[::2], borders[1::2], strict=False))
    label, domain = draw(st.none() | TEXTS), draw(st.none() | TEXTS)
    tags, labels = draw(st.lists(st.text("abc é"), max_size=3)), draw(st.lists(TEXTS, max_size=3, unique=True))
    language = draw(st.sampled_from([None, "en", "pt-BR"]))
    return corpora.Document(draw(TEXTS), text, label, spans, domain, tuple(tags), tuple(labels), language)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    st.lists(documents(), min_size=1, max_size=4, unique_by=lambda document: document.id), st.booleans(), st.booleans()
)
def test_what_is_written_is_what_is_read(tmp_path, written, ascii_only, zipped):
    lines = [json.dumps(dataclasses.asdict(document), ensure_ascii=ascii_only) for document in written]
    path = tmp_path / ("round.jsonl.gz" if zipped else "round.jsonl")
    contents = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(contents) if zipped else contents)
    assert corpora.load(path).documents == tuple(written)


# What bad input gets

BAD_LINES = {
    "{": "{path}, line 2: not JSON (Expecting property name enclosed in double quotes at column 2); write one whole",
    "[" * 100_000: "{path}, line 2: JSON that Python cannot read (",
    '{"id": ' + "9" * 5000 + "}": "{path}, line 2: JSON that Python cannot read (Exceeds the limit",
    "[1, 2]": "{path}, line 2: [1, 2] is JSON, but not an object; write one object on each line.",
    line(id=...): "{path}, line 2: the key 'id' is missing; add it.",
    line(id="b", text=...): "{path}, line 2, document 'b': the key 'text' is missing; add it.",
    line(id="b", label=...): "{path}, line 2, document 'b': the key 'label' is missing; add it.",
    line(id="b", rationales=...): "{path}, line 2, document 'b': the key 'rationales' is missing; add it.",
    line(id=7): "{path}, line 2: 'id' is 7; make it a string that is not blank.",
    line(id=""): "{path}, line 2: 'id' is \"\"; make it a string that is not blank.",
    line(id="b", text=" \n"): "{path}, line 2, document 'b': 'text' is \" \\n\"; make it a string that is not blank.",
    line(id="b", text=["x" * 99]): "'text' is [\"" + "x" * 55 + "...; make it a string that is not blank.",
    line(id="b", text=None): "{path}, line 2, document 'b': 'text' is null; make it a string that is not blank.",
    line(id="b", text="\ud83d"): "{path}, line 2, document 'b': 'text' holds half of a surrogate pair; write the whole",
    line(id="\ud83d"): "{path}, line 2, document '\\ud83d': 'id' holds half of a surrogate pair; write the whole",
    line(id="b", label=1): "'label' is 1; make it a string that is not blank, or null.",
    line(id="b", domain=" "): "'domain' is \" \"; make it a string that is not blank, or null.",
    line(id="b", language=["en"]): "'language' is [\"en\"]; make it a string that is not blank, or null.",
    line(id="b", labels="food"): "document 'b': 'labels' is \"food\"; make it a list of strings that are not blank.",
    line(id="b", labels=["food", 1]): "'labels' is [\"food\", 1]; make it a list of strings that are not blank.",
    line(id="b", labels=["food", " "]): '\'labels\' is ["food", " "]; make it a list of strings that are not blank.',
    line(id="b", labels=["a", "b", "a"]): "document 'b': 'labels' has \"a\" twice; name each label once.",
    line(id="b", labels=["\ud83d"]): "document 'b': 'labels' holds half of a surrogate pair; write the whole",
    line(id="b", tags="irony"): "'tags' is \"irony\"; make it a list of strings.",
    line(id="b", tags=""): "'tags' is \"\"; make it a list of strings.",
    line(id="b", tags=[1]): "'tags' is [1]; make it a list of strings.",
    line(id="b", rationales={}): "'rationales' is {}; make it a list of [start, end] pairs.",
    line(id="b", rationales=None): "'rationales' is null; make it a list of [start, end] pairs.",
    line(id="b", rationales=[5]): "the rationale 5 is not [start, end]; write two integers.",
    line(id="b", rationales=[[1, 2, 3]]): "the rationale [1, 2, 3] is not [start, end]; write two integers.",
    line(id="b", rationales=[[0, 3.0]]): "the rationale [0, 3.0] is not [start, end]; write two integers.",
    line(id="b", rationales=[[False, True]]): "the rationale [false, true] is not [start, end]; write two integers.",
    line(id="b", rationales=[[0, 16]]): "the rationale [0, 16] is out of range; keep 0 <= start < end <= 15.",
    line(id="b", rationales=[[-1, 2]]): "the rationale [-1, 2] is out of range; keep 0 <= start < end <= 15.",
    line(id="b", rationales=[[3, 10**99]]): "is out of range; keep 0 <= start < end <= 15.",
    line(id="b", rationales=[[5, 3]]): "the rationale [5, 3] is out of range; keep 0 <= start < end <= 15.",
    line(id="b", rationales=[[4, 4]]): "document 'b': the rationale [4, 4] is empty; keep 0 <= start < end <= 15.",
    line(id="b", rationales=[[4, 8], [0, 5]]): "document 'b': the rationales [0, 5] and [4, 8] overlap; merge them.",
    line(id="b", rationales=[[0, 5], [0, 5]]): "document 'b': the rationales [0, 5] and [0, 5] overlap; merge them.",
    line(): "{path}, line 2, document 'a': line 1 has the same id; give each its own.",
}


@pytest.mark.parametrize(("bad", "says"), BAD_LINES.items(), ids=range(len(BAD_LINES)))
def test_a_bad_line_is_named(tmp_path, bad, says):
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{line()}\n{bad}\n", encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        corpora.load(path)
    message = str(caught.value)
    assert says.replace("{path}", str(path)) in message
    assert message.startswith(f"{path}, line 2")
    assert message.endswith(".")
    assert "\n" not in message
    message.encode("utf-8")


@pytest.mark.parametrize(
    ("name", "contents", "says"),
    [
        ("empty.jsonl", b"", "{path} has no documents; write one JSON object a line."),
        ("blank.jsonl", b"\n \r\n", "{path} has no documents; write one JSON object a line."),
        ("empty.jsonl.gz", gzip.compress(b"", mtime=0), "{path} has no documents; write one JSON object a line."),
        (
            "latin.jsonl",
            b'\n{"id": "caf\xe9"}',
            "{path}, line 2: byte 12 of the line (0xe9) is not UTF-8; save the file as",
        ),
        (
            "wide.jsonl",
            line().encode("utf-16"),
            "{path}, line 1: byte 1 of the line (0xff) is not UTF-8; save the file as",
        ),
        (
            "plain.jsonl.gz",
            line().encode(),
            "{path} is not a whole gzip file (Not a gzipped file (b'{\"')); compress it",
        ),
        ("cut.jsonl.gz", gzip.compress(line().encode(), mtime=0)[:-9], "{path} is not a whole gzip file ("),
        ("data.csv", b"id,text\n", "{path} cannot be read as a corpus: give a file that ends in .jsonl or .jsonl.gz."),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_a_bad_file_is_named(tmp_path, name, contents, says, kind):
    path = tmp_path / name
    path.write_bytes(contents)
    with pytest.raises(CorpusError, match=re.escape(says.replace("{path}", str(path)))):
        corpora.load(kind(path))


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(CorpusError, match=r"^There is no file .*gone\.jsonl; check the path\.$"):
        corpora.load(tmp_path / "gone.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(CorpusError, match=r"folder\.jsonl cannot be read: Is a directory; give another file\.$"):
        corpora.load(tmp_path / "folder.jsonl")
    with pytest.raises(CorpusError, match=r"cannot be read as a corpus: give a file that ends in"):
        corpora.load(tmp_path)
    with pytest.raises(CorpusError, match=r"cannot be read: .*null.*; give another file\.$"):
        corpora.load("null\0byte.jsonl")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("reveiws", "No corpus is called 'reveiws' (bundled: {names}); write 'reviews' if you meant that."),
        ("Reviews", "No corpus is called 'Reviews' (bundled: {names}); write 'reviews' if you meant that."),
        ("q", "No corpus is called 'q' (bundled: {names}); write one of those or the path of a .jsonl file."),
        ("data.csv", "No corpus is called 'data.csv' (bundled: {names}); write one of those or the path of a .jsonl"),
        ("", "No corpus is called '' (bundled: {names}); write one of those or the path of a .jsonl file."),
        ("Never again. " * 50, "(bundled: {names}); write one of those or the path of a .jsonl file."),
    ],
)
def test_an_unknown_name_gets_a_hint(name, says):
    with pytest.raises(CorpusError, match=re.escape(says.replace("{names}", ", ".join(corpora.names())))):
        corpora.load(name)
