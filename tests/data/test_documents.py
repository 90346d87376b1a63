"""Documents from every table that people keep: nothing invented, nothing lost unsaid, every fault with its line."""

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
from textlrp.data import documents as tables
from textlrp.data.documents import DocumentTable, InputDocument
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


def read_table(path: Path | str, **options: Any) -> DocumentTable:
    return tables.read_documents(str(path), **options)


def read_documents(path: Path | str, **options: Any) -> list[InputDocument]:
    """Read a table whose rows are all documents."""
    table = read_table(path, **options)
    table.check()
    return list(table.documents)


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
        (0.0, "0"),
        ("0.0", "0.0"),
        ('["joy"]', "joy"),
        ("['joy']", "joy"),
        ("[joy]", "[joy]"),
        ({"choices": ["joy"]}, "joy"),
        ('{"choices": ["joy"]}', "joy"),
    ],
)
def test_labels_are_strings(tmp_path: Path, value: Any, read: str | None) -> None:
    assert read_documents(saved(tmp_path, [{"text": "x", "label": value}]))[0].label == read


@pytest.mark.parametrize("value", [["joy", "anger", "joy"], "['joy', 'anger']", {"choices": ["joy", "anger"]}])
def test_several_labels_are_a_list(tmp_path: Path, value: Any) -> None:
    (document,) = read_documents(saved(tmp_path, [{"text": "x", "label": value}]))
    assert (document.label, document.labels, document.given) == (None, ("joy", "anger"), ("joy", "anger"))


def test_objects_are_reasons_where_they_speak_for_the_right_label(tmp_path: Path) -> None:
    spans: list[dict[str, Any]] = [
        {"start": 8, "end": 9, "label": "joy"},
        {"start": 0, "end": 1, "label": "joy", "against": True},
        {"start": 2, "end": 3, "label": "fear"},
        {"start": 4, "end": 5, "label": "joy", "source": "text_pair"},
        {"start": 4, "end": 7},
    ]
    row = {"text": "a b c d e", "rationales": spans}
    found = read_documents(saved(tmp_path, [{**row, "label": "joy"}, {**row, "label": ["joy", "fear"]}, row]))
    assert [document.rationales for document in found] == [
        ((4, 7), (8, 9)),
        ((2, 3), (4, 7), (8, 9)),
        ((4, 7),),
    ]
    both = [{"start": 0, "end": 3, "label": "joy"}, {"start": 2, "end": 5, "label": "fear"}]
    found = read_documents(saved(tmp_path, [{"text": "a b c", "label": ["joy", "fear"], "rationales": both}]))
    assert [document.rationales for document in found] == [((0, 5),)]
    with pytest.raises(InputError, match=r"it has the rationale \[0, 6\], and its text has 5 characters"):
        read_documents(saved(tmp_path, [{"text": "a b c", "rationales": [{"start": 0, "end": 6}]}]))


@pytest.mark.parametrize("value", [[[4, 5], [0, 3]], "[[0, 3], [4, 5]]"])
def test_rationales_are_read_in_order(tmp_path: Path, value: Any) -> None:
    path = saved(tmp_path, [{"text": "abc d", "rationales": value}, {"text": "x", "rationales": None}])
    assert [document.rationales for document in read_documents(path)] == [((0, 3), (4, 5)), ()]


def test_a_range_without_a_character_marks_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path, [{"text": "abc d", "rationales": [[4, 5], [2, 1], [3, 3]]}])
    assert [document.rationales for document in read_documents(path)] == [((4, 5),)]
    with pytest.raises(InputError, match=r"has the rationale \[7, 6\], and its text has 5 characters"):
        read_documents(saved(tmp_path, [{"text": "abc d", "rationales": [[7, 6]]}]))


@pytest.mark.parametrize(
    "value", [[[1, 0], [0, 1]], "[[1, 0], [0, 1]]", [0, 1, 1], [[0, 1, 0]], [[1]], [[0, 1], [0, 1]]]
)
def test_masks_of_tokens_are_refused(tmp_path: Path, value: Any) -> None:
    path = saved(tmp_path, [{"text": "a b c", "rationales": [[0, 1]]}, {"text": "a b c", "rationales": value}])
    with pytest.raises(InputError) as caught:
        read_documents(path)
    assert "line 2: 'rationales' is [" in str(caught.value)
    assert "looks like a mask of tokens, and a list of [start, end] was expected" in str(caught.value)
    assert [document.rationales for document in read_documents(path, rationales="")] == [(), ()]
    renamed = saved(tmp_path, [{"text": "a b c", "rationales": value, "spans": [[2, 3]]}])
    assert read_documents(renamed, rationales="spans")[0].rationales == ((2, 3),)


@pytest.mark.parametrize(
    "labels",
    [[[0, 1, 0], [0, 0, 1]], [[1.0, 0.0], [0.0, 1.0]], [[True, False], [False, False]], ["[1, 0, 1]", "[0, 0, 0]"]],
)
def test_vectors_of_labels_are_refused(tmp_path: Path, labels: Any) -> None:
    path = saved(tmp_path, [{"text": "a b c", "label": label} for label in labels])
    with pytest.raises(
        InputError, match=r"line 1: 'label' is .*, which looks like a vector with a 0 or 1 for each label"
    ):
        read_documents(path)
    assert [document.given for document in read_documents(path, label="")] == [(), ()]


@pytest.mark.parametrize("labels", [[[0, 1], [2]], [[0], [1]], [[0, 2], [1, 3]], [[0, 1], []], ["[0, 1]", "1"]])
def test_lists_of_class_numbers_are_no_vectors(tmp_path: Path, labels: Any) -> None:
    path = saved(tmp_path, [{"text": "a b c", "label": label} for label in labels])
    assert len(read_documents(path)) == 2


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


WHOLE_FILES = {
    "latin.csv": (
        'text,label\nok,A\n"un café",B\n'.encode("latin-1"),
        "{path}, line 3 is not UTF-8: its byte 8 (0xe9) cannot be read; it may be cp1252, which reads "
        "'\"un café\",B': if that is right, add --encoding cp1252",
    ),
    "wide.csv": (
        "text\nx\n".encode("utf-16-le"),
        "{path} is not UTF-8, but UTF-16 without a byte order mark: add --encoding utf-16-le",
    ),
    "open.csv": (b'text,label\nok,A\n"never closed,B\nx,C\n', "{path}, line 3: a quotation mark is never closed"),
    "twice.csv": (b"text,text\nx,y\n", "{path} has two columns called 'text'"),
    "spaced.csv": (b"text, text\nx,y\n", "{path} has two columns called 'text'"),
    "none.csv": (b"a,b\nx,y\n", "{path} has no column 'text': choose one with --text; its columns are 'a', 'b'"),
    "empty.csv": (b"", "{path} has no rows"),
    "header.csv": (b"text,label\n", "{path} has no rows"),
    "blank.csv": (b"text,label\n,\n , \n", "{path}, line 2: the row is empty (and 1 more rows cannot be read)"),
    "no.csv.gz": (b"text\nx\n", "{path} is not a whole gzip file ("),
    "cut.jsonl.gz": (gzip.compress(LINES)[:-9], "{path} is not a whole gzip file ("),
    "deep.jsonl": (b"[" * 100_000, "{path}, line 1: JSON that cannot be read ("),
    "bad.json": (b'[{"text": "x"},\n{"text": }]', "{path}, line 2 is not JSON: Expecting value at column 10"),
    "values.json": (b'[["x", "A"], ["y", "B"]]', "{path} is a list of lists, without names of columns"),
    "nested.json": (b'{"doc": {"text": "x"}, "n": 1}', "its columns are 'doc', 'n'; 'doc' has 'doc.text'"),
    "no.parquet": (b"text\nx\n", "cannot read {path} as Parquet: "),
    "no.spacy": (b"text\nx\n", "{path} is no DocBin of spaCy: "),
    "table.xlsx": (b"PK", "the ending of {path} is unknown: give a file that ends in .csv, .tsv"),
}


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str) -> None:
    contents, says = WHOLE_FILES[name]
    path = tmp_path / name
    path.write_bytes(contents)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert says.replace("{path}", repr(str(path))) in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_ROWS = {
    "inside.csv": (b'text,label\nok,A\n"a" b,B\n', "line 3", "the quotation marks do not fit ("),
    "short.csv": (b"text,label\nok,A\n\nonly\n", "line 4", "it has 1 value, and the header has 2: put values that"),
    "long.csv": (b'text,label\n"two\nlines",A\nx,y,z\n', "line 4", "it has 3 values, and the header has 2: put val"),
    "blank.csv": (b'text,label\nok,A\n" ",B\n', "line 3", "the text is blank"),
    "commas.csv": (b"text,label\nok,A\n,\n", "line 3", "the row is empty"),
    "same.csv": (b"id,text\n1,x\n1,z\n", "line 3", "the id '1' is that of line 2 too"),
    "noid.csv": (b"id,text\n1,x\n,y\n", "line 3", "the id in 'id' is '', neither a name nor a number"),
    "bad.jsonl": (b'{"text": "x"}\n{"text": }\n', "line 2", "it is not JSON: Expecting value at column 10"),
    "huge.jsonl": (b'{"text": "x"}\n{"text": ' + b"9" * 5000 + b"}\n", "line 2", "it is JSON that cannot be read ("),
    "list.jsonl": (b'{"text": "x"}\n[1]', "line 2", "an object was expected, with a key for each column"),
    "null.jsonl": (b'{"text": "x"}\n{"text": null, "label": "A"}', "line 2", "the text is missing"),
    "nan.jsonl": (b'{"text": "x"}\n{"text": NaN, "label": "A"}', "line 2", "the text is missing"),
    "gap.jsonl": (b'{"text": "x"}\n{"label": "A"}', "line 2", "the text is missing"),
    "number.jsonl": (b'{"text": "x"}\n{"text": 5}', "line 2", "the text is 5, a number; --text COLUMN reads numbers"),
    "true.jsonl": (b'{"text": "x"}\n{"text": true}', "line 2", "the text is True, which is no text"),
    "object.jsonl": (b'{"text": "x"}\n{"text": "x", "label": {"a": 1}}', "line 2", "the label is {'a': 1}, neither"),
    "span.jsonl": (
        b'{"text": "x"}\n{"text": "x", "rationales": [[0, 2]]}',
        "line 2",
        "it has the rationale [0, 2], and its text has 1 char",
    ),
    "odd.jsonl": (b'{"text": "x"}\n{"text": "x", "rationales": [["a", 2]]}', "line 2", "it has the rationale ['a', 2]"),
    "words.jsonl": (b'{"text": "x"}\n{"text": "x", "rationales": ["x"]}', "line 2", "'rationales' is ['x'], and a li"),
    "over.jsonl": (b'{"text": "x"}\n{"text": "xyz", "rationales": [[0, 2], [1, 3]]}', "line 2", "which overlap"),
    "inner.json": (b'[{"text": "x"}, 5]', "entry 2", "an object was expected"),
    "pair.jsonl": (b'{"premise": "x", "hypothesis": "y"}\n{"premise": "x"}', "line 2", "the second text is missing"),
    "numbers.parquet": (write_parquet([{"text": "x"}, {"text": None}]), "row 2", "the row is empty"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_costs_a_row(tmp_path: Path, name: str) -> None:
    contents, place, says = BAD_ROWS[name]
    path = tmp_path / name
    path.write_bytes(contents)
    table = read_table(path)
    assert len(table.documents) == 1
    ((at, reason),) = [(row.place, row.reason) for row in table.skipped]
    assert at == place
    assert says in reason
    assert "\n" not in reason
    with pytest.raises(InputError) as caught:
        table.check()
    assert str(caught.value) == f"{str(path)!r}, {place}: {reason}"


def test_rows_that_are_no_documents_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("text,label\n,\n,\n,A\none,A\n,\ntwo,B\n,\nthree,A\n", encoding="utf-8")
    table = read_table(path, limit=2)
    assert [(document.id, document.text) for document in table.documents] == [("4", "one"), ("6", "two")]
    assert [row.place for row in table.skipped] == ["line 2", "line 3", "line 4", "line 6"]
    assert [document.text for document in read_table(path, limit=9).documents] == ["one", "two", "three"]


def test_numbers_mean_what_the_whole_column_lets_them_mean(tmp_path: Path) -> None:
    path = tmp_path / "sorted.csv"
    path.write_text("text,label\na,1\nb,1\nc,0\n,2\n", encoding="utf-8")
    assert read_table(path, limit=2).labels == ("1", "0", "2")
    path.write_text("text,label\na,1\nb,1\nc,0\n\xff", encoding="latin-1")
    assert read_table(path, limit=2).labels == ("1",)


def test_only_the_labels_behind_a_limit_are_read_of_a_data_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = datasets.Dataset.from_list([{"text": str(i), "label": i // 2} for i in range(6)])
    asked: list[bool] = []

    def load_dataset(name: str, configuration: str | None, streaming: bool) -> Any:
        stream = whole.to_iterable_dataset()
        asked.append(streaming)
        return datasets.IterableDatasetDict({"train": stream})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read_table("someone/numbers", limit=2).labels == ("0", "1", "2")
    assert asked == [True, True]
    whole.save_to_disk(tmp_path / "saved")
    whole.to_parquet(tmp_path / "a.parquet")
    for name in ("saved", "a.parquet"):
        assert read_table(tmp_path / name, limit=2).labels == ("0", "1", "2")


def test_numbers_are_texts_if_the_column_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, [{"text": 5}, {"text": 1.5}, {"text": True}])
    with pytest.raises(InputError, match=r"line 1: the text is 5, a number; .* \(and 2 more rows cannot be read\)"):
        read_table(path)
    table = read_table(path, text="text")
    assert [document.text for document in table.documents] == ["5", "1.5"]
    assert [row.reason for row in table.skipped] == ["the text is True, which is no text"]


def test_an_empty_name_numbers_the_rows(tmp_path: Path) -> None:
    path = saved(tmp_path, [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}, {"id": 7.0, "text": "z"}])
    assert [document.id for document in read_table(path).documents] == ["a", "7"]
    assert [document.id for document in read_documents(path, id="")] == ["1", "2", "3"]


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
