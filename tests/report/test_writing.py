"""The file of a report: complete in itself, the same bytes each time, and safe whatever its texts say."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import hostile_strings
import pytest
from click.testing import CliRunner
from example_reports import consistent_reviews, explanation, reviews

from textlrp.commands.report import report
from textlrp.data.records import Failure, Record, read_run, write_run
from textlrp.errors import InputError
from textlrp.report.reading import read_report
from textlrp.report.writing import write_report


class Seen(HTMLParser):
    """The elements of a page, and the text outside of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.blocks:
            self.blocks[self._inside].append(data)
        else:
            self.text += data


def page(path: Path) -> Seen:
    return Seen(path.read_text("utf-8"))


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    one = write_report(reviews(), tmp_path / "one.html", title="Reviews")[0].read_bytes()
    assert write_report(reviews(), tmp_path / "two.html", title="Reviews")[0].read_bytes() == one


@pytest.mark.parametrize("options", [{}, {"blind": True}, {"page_documents": 3}, {"page_documents": 3, "blind": True}])
def test_the_policy_allows_the_blocks_of_the_page_and_nothing_else(tmp_path: Path, options: dict[str, Any]) -> None:
    for path in write_report(reviews(), tmp_path / "report.html", failures=[Failure("x", "Too long.")], **options):
        seen = page(path)
        (policy,) = [a["content"] or "" for t, a in seen.tags if a.get("http-equiv") == "Content-Security-Policy"]
        digests = [
            f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"
            for block in (seen.blocks["style"][0], seen.blocks["script"][-1])
        ]
        assert policy == (
            f"default-src 'none'; style-src {digests[0]}; script-src {digests[1]}; img-src data:; base-uri 'none'; "
            f"form-action 'none'"
        )
        assert [tag for tag, _ in seen.tags].count("script") == 2
        for tag, attributes in seen.tags:
            assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcdoc")]
            if tag == "a":
                assert re.match(r"#|\./report", attributes["href"] or "")
            assert tag != "link"


def test_identities_in_a_page_are_unique_and_names_refer_to_them(tmp_path: Path) -> None:
    for path in write_report(reviews(), tmp_path / "report.html", page_documents=3):
        seen = page(path)
        ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes in seen.tags:
            assert attributes.get("aria-labelledby") in (*ids, None)
        used = set(re.findall(r'byId\("([\w-]+)"\)', seen.blocks["script"][-1]))
        # Only in blind reports, reports with a summary, those of several pages, and those with guidelines.
        blind = {"blind-note", "peeked-note", "peek", "peek-dialog", "hide"}
        assert used - set(ids) <= {*blind, "model-summary", "guide", "guide-close", "guidelines"}


def test_the_summary_can_be_read_without_a_script(tmp_path: Path) -> None:
    (path,) = write_report(
        reviews(), tmp_path / "report.html", title="Four reviews", failures=[Failure("e", "Too long.")]
    )
    text = " ".join(page(path).text.split())
    for part in (
        "Four reviews",
        "4 documents, classified by tiny",
        "Accuracy66.7 % 2 of 3 right; for more texts like these, probably 20.8 % to 93.9 %",
        "1 document without a label in the data.",
        "wonderful",
        "1 document could not be explained and is not counted here.",
        "e Too long.",
        "this browser does not run the script of this page. The summary above needs no script.",
    ):
        assert part.replace(" ", "") in text.replace(" ", "")


def test_a_blind_report_says_nothing_of_the_model_outside_of_what_is_hidden(tmp_path: Path) -> None:
    (path,) = write_report(reviews(), tmp_path / "report.html", blind=True)
    html = path.read_text("utf-8")
    hidden = re.search(r'<div id="model-summary" hidden>.*?<section id="work"', html, re.DOTALL)
    assert hidden is not None
    assert "Accuracy" in hidden[0]
    rest = Seen(html.replace(hidden[0], "<section")).text
    assert "Accuracy" not in rest
    assert "wonderful" not in rest
    assert read_report(path) == read_report(write_report(reviews(), tmp_path / "open.html")[0])


def test_a_large_report_is_an_index_and_pages(tmp_path: Path) -> None:
    paths = write_report(reviews(), tmp_path / "a: #1.html", title="Big", page_documents=2)
    assert [path.name for path in paths] == ["a: #1.html", "a: #1-001.html", "a: #1-002.html"]
    links = [attributes["href"] for tag, attributes in page(paths[0]).tags if tag == "a"]
    assert "./a%3A%20%231-001.html" in links
    second = page(paths[2])
    assert "Documents 3 to 4" in second.text
    assert [a["href"] for t, a in second.tags if t == "a"] == [
        "#work",
        "./a%3A%20%231.html",
        "./a%3A%20%231-001.html",
        "#work",
    ]
    by_size = write_report(reviews(), tmp_path / "small.html", page_size=1)
    assert len(by_size) == 5
    with pytest.raises(InputError, match="page_documents is a number of documents, 1 or more, not 0"):
        write_report(reviews(), tmp_path / "none.html", page_documents=0)


@pytest.mark.slow
def test_hostile_strings_add_no_element_to_a_page(tmp_path: Path) -> None:
    plain = [tag for tag, _ in page(write_report([rude("x y")], tmp_path / "plain.html", title="x")[0]).tags]
    for text in hostile_strings.STRINGS:
        failures = [Failure("f", "x")]
        (path,) = write_report([rude(text)], tmp_path / "rude.html", title=text)
        seen = page(path)
        assert {tag for tag, _ in seen.tags} <= {*plain, "mark"}
        assert [tag for tag, _ in seen.tags].count("script") == 2
        assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
        (failed,) = write_report(reviews(), tmp_path / "failed.html", failures=[Failure(text, text)])
        usual = write_report(reviews(), tmp_path / "usual.html", failures=failures)[0]
        assert [tag for tag, _ in page(failed).tags] == [tag for tag, _ in page(usual).tags]


def rude(text: str) -> Record:
    return Record(text, (explanation(text, [1.0] * 99, target=text, model=text, contrast="NEG"),), text)


def test_nothing_is_written_where_a_file_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_report(reviews(), tmp_path / "none" / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_scripts_put_in_text_as_text() -> None:
    scripts = [
        path for path in (files("textlrp.render") / "templates").iterdir() if re.match(r"report.*\.js$", path.name)
    ]
    assert len(scripts) == 12
    for path in scripts:
        source = path.read_text("utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|<!--|</script", source
        )
        assert len(source.splitlines()) < 400


def run(*arguments: str) -> Any:
    return CliRunner().invoke(report, list(arguments), catch_exceptions=True)


def test_a_finished_run_is_reported_without_a_model(tmp_path: Path) -> None:
    write_run(tmp_path / "run.jsonl", consistent_reviews())
    done = run(str(tmp_path / "run.jsonl"), "-o", str(tmp_path / "report.html"), "--limit", "3")
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'report.html'}: 3 documents\n")
    assert list(read_report(tmp_path / "report.html").documents) == ["a", "b", "c"]
    assert "<title>run</title>" in (tmp_path / "report.html").read_text("utf-8")
    refused = run(str(tmp_path / "run.jsonl"), "-o", str(tmp_path / "other.html"), "--target", "POS")
    assert str(refused.exception) == (
        f"{str(tmp_path / 'run.jsonl')!r} holds explanations, and --target says how to make them: leave it out"
    )
    assert not (tmp_path / "other.html").exists()


def test_a_folder_of_explanations_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    for name, record in zip(("one", "two"), consistent_reviews(), strict=False):
        record.explanation.to_json(tmp_path / "saved" / f"{name}.json")
    done = run(str(tmp_path / "saved"), "-o", str(tmp_path / "report.html"))
    assert done.exit_code == 0
    assert list(read_report(tmp_path / "report.html").documents) == ["one", "two"]


def test_rules_without_a_name_are_none(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a fine film\n")
    done = run(str(tmp_path / "texts.txt"), "-o", str(tmp_path / "report.html"), "--rules", "")
    assert "no rules are called ''" in str(done.exception)
    assert not (tmp_path / "report.html").exists()


def test_a_table_is_explained_and_reported(tmp_path: Path) -> None:
    with (tmp_path / "table.csv").open("w", newline="") as file:
        rows = [("review", "gold"), ("A wonderful film", "POS"), ("Dull, " * 600, "NEG"), ("A dull film", "NEG")]
        csv.writer(file).writerows(rows)
    options = ["--text", "review", "--label", "gold", "--target", "all", "--long", "error", "--blind"]
    output = str(tmp_path / "report.html")
    done = run(str(tmp_path / "table.csv"), "-o", output, *options, "--save", str(tmp_path / "run.jsonl"))
    assert done.exit_code == 3, done.exception
    assert done.stdout == f"{output}: 2 documents\n"
    assert re.fullmatch(r"not explained: 2: the text takes 1,202 ids, and 512 are read at once: .*\n", done.stderr)
    records = read_run(tmp_path / "run.jsonl")
    assert [(r.id, r.label, r.predicted) for r in records] == [("1", "POS", "POS"), ("3", "NEG", "NEG")]
    assert [[e.target for e in r.explanations] for r in records] == [["POS", "NEG"], ["NEG", "POS"]]
    assert "could not be explained" in page(tmp_path / "report.html").text
    again = run(str(tmp_path / "run.jsonl"), "-o", str(tmp_path / "again.html"), "--blind")
    assert again.exit_code == 3
    assert read_report(tmp_path / "again.html") == read_report(output)


def test_labels_that_are_numbers_are_the_models(tmp_path: Path) -> None:
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), ("A wonderful film", "1"), ("A dull film", "0")])
    done = run(str(tmp_path / "table.csv"), "-o", str(tmp_path / "report.html"))
    assert done.exit_code == 0, done.exception
    sent = read_report(tmp_path / "report.html")
    assert [document.label for document in sent.documents.values()] == ["POS", "NEG"]
    assert sent.labels == ("NEG", "POS")


def test_where_nothing_can_be_explained_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("Dull, " * 600 + "\n")
    done = run(str(tmp_path / "texts.txt"), "-o", str(tmp_path / "report.html"), "--long", "error")
    assert isinstance(done.exception, InputError)
    assert str(done.exception).startswith("the document cannot be explained: the text takes")
    assert not (tmp_path / "report.html").exists()


def test_a_run_records_its_reference(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("A dull film.\nA moving story of a family.\n")
    options = [str(tmp_path / "texts.txt"), "-o", str(tmp_path / "report.html"), "--rules", "difference"]
    save = ["--save", str(tmp_path / "run.jsonl")]
    done = run(*options, "--reference", "mean", *save)
    assert done.exit_code == 0, done.exception
    assert '"reference": "mean"' in (tmp_path / "run.jsonl").read_text().splitlines()[0]
    references = [record.explanation.reference for record in read_run(tmp_path / "run.jsonl")]
    assert [reference.name for reference in references if reference is not None] == ["mean embedding"] * 2
    assert "reference mean embedding" in (tmp_path / "report.html").read_text()
    again = run(*options, "--reference", "mean", *save)
    assert again.exit_code == 0
    other = run(*options, *save)
    assert "reference" in str(other.exception)
    refused = run(*options[:3], "--reference", "mean")
    assert "--reference goes with --rules difference" in str(refused.exception)
    saved = run(str(tmp_path / "run.jsonl"), "-o", str(tmp_path / "report.html"), "--reference", "mean")
    assert "--reference says how to make them" in str(saved.exception)
