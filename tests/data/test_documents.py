"""Documents from every table that people keep: nothing invented, nothing dropped, every fault named with its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textlrp.data import corpora
from textlrp.data.documents import InputDocument, match_labels, read_documents
from textlrp.errors import InputError

ROWS = [
    {"id": "a", "text": 'one, "two"\r\nthree', "label": "POS"},
    {"id": "b", "text": "NA", "label": "null"},
    {"id": "c", "text": " 😀 é\u2028x ", "label": None},
]
READ = [
    InputDocument("a", 'one, "two"\r\nthree', None, "POS"),
    InputDocument("b", "NA", None, "null"),
    InputDocument("c", " 😀 é\u2028x ", None, None),
]


def write_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def write_parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()
FILES = {
    "a.csv": write_csv(ROWS),
    "bom.csv": b"\xef\xbb\xbf" + write_csv(ROWS),
    "semicolons.csv": write_csv(ROWS, ";"),
    "tabs.csv": write_csv(ROWS, "\t"),
    "A.TSV": write_csv(ROWS, "\t"),
    "zipped.csv.gz": gzip.compress(write_csv(ROWS)),
    "blank-lines.csv": b"\r\n" + write_csv(ROWS) + b"\r\n\r\n",
    "a.jsonl": LINES,
    "bom.jsonl": b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\n") + b"\n\n",
    "zipped.jsonl.gz": gzip.compress(LINES),
    "lines.json": LINES,
    "list.json": json.dumps(ROWS, indent=1).encode(),
    "a.parquet": write_parquet(ROWS),
}


@pytest.mark.parametrize("name", FILES)
def test_every_form_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    assert read_documents(str(tmp_path / name)) == READ
    assert read_documents(str(tmp_path / name), limit=2) == READ[:2]
    assert read_documents(str(tmp_path / name), limit=9) == READ


def test_a_saved_data_set_gives_the_same_documents(tmp_path: Path) -> None:
    whole = datasets.Dataset.from_list(ROWS)
    whole.save_to_disk(tmp_path / "one")
    assert read_documents(str(tmp_path / "one")) == READ
    datasets.DatasetDict({"train": whole}).save_to_disk(tmp_path / "only")
    assert read_documents(str(tmp_path / "only"), limit=1) == READ[:1]
    datasets.DatasetDict({"train": whole, "test": whole.select([1])}).save_to_disk(tmp_path / "two")
    assert read_documents(str(tmp_path / "two"), split="test") == READ[1:2]
    with pytest.raises(InputError, match="two' has the splits train, test: choose one with --split"):
        read_documents(str(tmp_path / "two"))
    with pytest.raises(InputError, match="two' has no split 'dev'; its splits: train, test"):
        read_documents(str(tmp_path / "two"), split="dev")


def test_classes_have_names_where_the_data_knows_them(tmp_path: Path) -> None:
    classes = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"text": datasets.Value("string"), "label": classes, "labels": datasets.List(classes)})
    rows = {"text": ["x", "y", "z"], "label": [1, 0, -1], "labels": [[0], [1], []]}
    numbered = datasets.Dataset.from_dict(rows, features=features)
    numbered.save_to_disk(tmp_path / "saved")
    numbered.to_parquet(tmp_path / "a.parquet")
    for name in ("saved", "a.parquet"):
        assert [d.label for d in read_documents(str(tmp_path / name))] == ["good", "bad", None]
        assert [d.label for d in read_documents(str(tmp_path / name), label="labels")] == ["bad", "good", None]


def test_a_hub_name_is_loaded_and_streamed_where_a_limit_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(name: str, configuration: str | None, streaming: bool) -> Any:
        asked.append((name, configuration, streaming))
        whole = datasets.Dataset.from_list(ROWS)
        one = whole.to_iterable_dataset() if streaming else whole
        return (datasets.IterableDatasetDict if streaming else datasets.DatasetDict)({"train": one, "test": one})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read_documents("someone/reviews:en", split="test") == READ
    assert read_documents("imdb", split="train", limit=2) == READ[:2]
    assert asked == [("someone/reviews", "en", False), ("imdb", None, True)]


def test_a_missing_file_is_told_from_an_unknown_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> Any:
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'x' doesn't exist on the Hub\nor cannot be accessed")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for missing in ("gone.csv", "gone.parquet", "gone.xlsx", "./gone", "a/b/c", str(tmp_path / "x"), "what a film"):
        with pytest.raises(InputError, match=r"^there is no file '.*': check the path$"):
            read_documents(missing)
    with pytest.raises(InputError) as caught:
        read_documents("reveiws")
    assert str(caught.value) == (
        "there is no file 'reveiws', nor a bundled corpus (those are languages, news, reviews, tickets), and the hub "
        "gives no data set of that name: Dataset 'x' doesn't exist on the Hub"
    )
    with pytest.raises(InputError, match=r"^there is no file 'some/one', and the hub gives no data set of that name"):
        read_documents("some/one")


def test_a_bundled_corpus_comes_with_its_rationales() -> None:
    first = corpora.load("reviews").documents[0]
    assert read_documents("reviews", limit=1) == [
        InputDocument(first.id, first.text, None, first.label, first.rationales)
    ]
    assert len(read_documents("reviews")) == len(corpora.load("reviews"))


def test_a_text_file_has_one_text_a_line(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"\xef\xbb\xbfone, two \r\n\n  \nthree\xe2\x80\xa8four")
    assert read_documents(str(path)) == [
        InputDocument("1", "one, two ", None, None),
        InputDocument("2", "three\u2028four", None, None),
    ]


def saved(tmp_path: Path, rows: list[Any]) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def test_columns_are_found_or_chosen(tmp_path: Path) -> None:
    path = saved(tmp_path, [{"Sentence": "x", "Class": "A", "key": 7, "other": "y", "second": "B"}])
    assert read_documents(path) == [InputDocument("1", "x", None, "A")]
    chosen = read_documents(path, text="other", pair="Sentence", label="second", id="key")
    assert chosen == [InputDocument("7", "y", "x", "B")]
    assert read_documents(path, label="")[0].label is None
    path = saved(tmp_path, [{"hypothesis": "y", "premise": "x", "label": 1}])
    assert read_documents(path) == [InputDocument("1", "x", "y", "1")]
    assert read_documents(path, text="premise")[0].text_pair is None
    assert read_documents(saved(tmp_path, ["just", "texts"]))[1] == InputDocument("2", "texts", None, None)
    late = saved(tmp_path, [{"text": "x"}, {"text": "y", "label": "A"}])
    assert [document.label for document in read_documents(late)] == [None, "A"]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("POS", "POS"),
        ("NA", "NA"),
        (" ", None),
        ("", None),
        (None, None),
        (float("nan"), None),
        (0, "0"),
        (-1, "-1"),
        (1.0, "1"),
        (0.5, "0.5"),
        (True, "true"),
        (["joy"], "joy"),
        ([], None),
        ([2], "2"),
    ],
)
def test_labels_are_strings(tmp_path: Path, value: Any, read: str | None) -> None:
    assert read_documents(saved(tmp_path, [{"text": "x", "label": value}]))[0].label == read


@pytest.mark.parametrize(
    ("given_labels", "known", "named"),
    [
        (["0", None, "1"], ["NEG", "POS"], ["NEG", None, "POS"]),
        (["pos", "Neg"], ["NEG", "POS"], ["POS", "NEG"]),
        (["0", "2"], ["NEG", "POS"], ["0", "2"]),
        (["0", "POS"], ["NEG", "POS"], ["0", "POS"]),
        (["01"], ["NEG", "POS"], ["01"]),
        (["1", "0"], ["1", "0"], ["1", "0"]),
        (["a"], ["A", "a "], ["A"]),
        (["a"], ["A", "À"], ["A"]),
        (["a"], ["A", "a"], ["a"]),
        (["ss"], ["SS", "ß"], ["ss"]),
        ([None], ["NEG"], [None]),
        ([], [], []),
    ],
)
def test_labels_get_the_names_of_the_model(
    given_labels: list[str | None], known: list[str], named: list[str | None]
) -> None:
    assert match_labels(given_labels, known) == named


@pytest.mark.parametrize("value", [[[4, 5], [0, 3]], "[[0, 3], [4, 5]]"])
def test_rationales_are_read_in_order(tmp_path: Path, value: Any) -> None:
    path = saved(tmp_path, [{"text": "abc d", "rationales": value}, {"text": "x", "rationales": None}])
    assert [document.rationales for document in read_documents(path)] == [((0, 3), (4, 5)), ()]


def test_a_range_without_a_character_marks_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path, [{"text": "abc d", "rationales": [[4, 5], [2, 1], [3, 3]]}])
    assert [document.rationales for document in read_documents(path)] == [((4, 5),)]
    with pytest.raises(InputError, match=r"has the rationale \[7, 6\], and its text has 5 characters"):
        read_documents(saved(tmp_path, [{"text": "abc d", "rationales": [[7, 6]]}]))


def test_a_column_split_is_chosen_from(tmp_path: Path) -> None:
    path = saved(tmp_path, [{"text": str(i), "split": "train" if i < 3 else "test"} for i in range(6)])
    assert [document.text for document in read_documents(path, split="test", limit=2)] == ["3", "4"]
    assert len(read_documents(path)) == 6
    with pytest.raises(InputError, match="has no rows of the split 'dev'; its splits: train, test"):
        read_documents(path, split="dev")
    with pytest.raises(InputError, match="line 1: there is no column 'split', so --split cannot choose 'dev'"):
        read_documents(saved(tmp_path, ["x"]), split="dev")


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), st.sampled_from([",", ";", "\t"]))
def test_any_text_survives_a_table(tmp_path: Path, pairs: list[tuple[str, str]], delimiter: str) -> None:
    rows = [{"text": text, "label": label} for text, label in pairs]
    (tmp_path / "any.csv").write_bytes(write_csv(rows, delimiter))
    (tmp_path / "any.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "any.parquet").write_bytes(write_parquet(rows))
    for name in ("any.csv", "any.jsonl", "any.parquet"):
        assert [(d.text, d.label) for d in read_documents(str(tmp_path / name))] == pairs


def test_a_field_may_be_as_long_as_a_book_and_the_limit_of_others_stays(tmp_path: Path) -> None:
    book = "word " * 100_000
    (tmp_path / "book.csv").write_bytes(write_csv([{"text": book}]))
    before = csv.field_size_limit()
    assert read_documents(str(tmp_path / "book.csv"))[0].text == book
    assert csv.field_size_limit() == before


def test_nothing_behind_the_limit_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\none\ntwo\n\xff\n")
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "one"}\n{"text": "two"}\n{\n')
    for name in ("a.csv", "a.jsonl"):
        assert len(read_documents(str(tmp_path / name), limit=2)) == 2
        with pytest.raises(InputError):
            read_documents(str(tmp_path / name), limit=3)


BAD_FILES = {
    "latin.csv": (b"text,label\nok,A\ncaf\xe9,B\n", "{path}, line 3 is not UTF-8: its byte 4 (0xe9) cannot be read"),
    "wide.csv": ("text\nx\n".encode("utf-16"), "{path}, line 1 is not UTF-8: its byte 1 (0xff)"),
    "open.csv": (b'text,label\nok,A\n"never closed,B\nx,C\n', "{path}, line 3: the quotation marks do not fit (unexp"),
    "inside.csv": (b'text,label\nok,A\n"a" b,B\n', "{path}, line 3: the quotation marks do not fit ("),
    "short.csv": (b"text,label\nok,A\n\nonly\n", "{path}, line 4 has 1 values, and the header has 2"),
    "long.csv": (
        b'text,label\n"two\nlines",A\nx,y,z\n',
        "{path}, line 4 has 3 values, and the header has 2: put value",
    ),
    "twice.csv": (b"text,text\nx,y\n", "{path} has two columns called 'text'"),
    "none.csv": (b"a,b\nx,y\n", "{path} has no column 'text': choose one with --text; its columns are 'a', 'b'"),
    "blank.csv": (b'text,label\nok,A\n" ",B\n', "{path}, line 3: 'text' is blank, and a document needs a text"),
    "empty.csv": (b"", "{path} has no rows"),
    "header.csv": (b"text,label\n", "{path} has no rows"),
    "same.csv": (b"id,text\n1,x\n2,y\n1,z\n", "{path}, line 4: the id '1' is that of line 2 too"),
    "noid.csv": (b"id,text\n1,x\n,y\n", "{path}, line 3: the id in 'id' is ''; give each document a name"),
    "no.csv.gz": (b"text\nx\n", "{path} is not a whole gzip file ("),
    "cut.jsonl.gz": (gzip.compress(LINES)[:-9], "{path} is not a whole gzip file ("),
    "bad.jsonl": (b'{"text": "x"}\n{"text": }\n', "{path}, line 2 is not JSON: Expecting value at column 10"),
    "deep.jsonl": (b"[" * 100_000, "{path}, line 1: JSON that cannot be read ("),
    "list.jsonl": (b"[1]", "{path}, line 1: an object was expected"),
    "null.jsonl": (b'{"text": "x"}\n{"text": null}', "{path}, line 2: 'text' is missing, and a document needs a text"),
    "gap.jsonl": (b'{"text": "x"}\n{"label": "A"}', "{path}, line 2: 'text' is missing"),
    "number.jsonl": (b'{"text": 5}', "{path}, line 1: 'text' is 5, not a text"),
    "labels.jsonl": (b'{"text": "x", "labels": ["a", "b"]}', "{path}, line 1: 'labels' has 2 labels, and a document"),
    "object.jsonl": (b'{"text": "x", "label": {"a": 1}}', "{path}, line 1: 'label' is {'a': 1}, not a label"),
    "span.jsonl": (
        b'{"text": "x", "rationales": [[0, 2]]}',
        "line 1 has the rationale [0, 2], and its text has 1 char",
    ),
    "odd.jsonl": (b'{"text": "x", "rationales": [["a", 2]]}', "{path}, line 1 has the rationale ['a', 2]"),
    "words.jsonl": (b'{"text": "x", "rationales": ["x"]}', "{path}, line 1: 'rationales' is ['x'], and a list of"),
    "over.jsonl": (b'{"text": "xyz", "rationales": [[0, 2], [1, 3]]}', "[0, 2] and [1, 3], which overlap"),
    "bad.json": (b'[{"text": "x"},\n{"text": }]', "{path}, line 2 is not JSON: Expecting value at column 10"),
    "inner.json": (b'[{"text": "x"}, 5]', "{path}, entry 2: an object was expected"),
    "pretty.json": (b'{\n"text": "x"}', "{path}, line 1 is not JSON: "),
    "no.parquet": (b"text\nx\n", "cannot read {path} as Parquet: "),
    "numbers.parquet": (write_parquet([{"text": 5}]), "{path}, row 1: 'text' is 5, not a text"),
    "table.xlsx": (b"PK", "the ending of {path} is unknown: give a file that ends in .csv, .tsv"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_fault_is_one_sentence_with_its_line(tmp_path: Path, name: str) -> None:
    contents, says = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(contents)
    with pytest.raises(InputError) as caught:
        read_documents(str(path))
    assert says.replace("{path}", repr(str(path))) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, [{"text": "x", **{f"c{i}": 1 for i in range(30)}}])
    for options, says in (
        ({"text": "txt"}, "has no column 'txt': choose another with --text; its columns are 'text', 'c0'"),
        ({"text": "txt"}, "'c18' and 11 more"),
        ({"pair": "txt"}, "has no column 'txt': choose another with --pair"),
        ({"label": "txt"}, "has no column 'txt': choose another with --label"),
        ({"id": "txt"}, "has no column 'txt': choose another with --id"),
        ({"limit": 0}, "limit is a number of documents, 1 or more, not 0"),
    ):
        with pytest.raises(InputError) as caught:
            read_documents(path, **options)
        assert says in str(caught.value)


def test_bad_folders_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no data set saved by datasets' save_to_disk: give one of its files"):
        read_documents(str(tmp_path))
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(InputError, match="cannot read the data set in "):
        read_documents(str(tmp_path))
    for name in ("x" * 5000, "nul\0.csv"):
        with pytest.raises(InputError, match=r"^(cannot read|there is no file) '"):
            read_documents(name)


def test_reading_a_table_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from textlrp.data.documents import read_documents; read_documents(sys.argv[1])\n"
        "assert not {'torch', 'datasets', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, saved(tmp_path, ["x"])], check=True)
