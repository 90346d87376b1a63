"""Reports and evaluations of tables as people have them: what was read as what is said, what is left out is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import transformers
from click.testing import CliRunner

from textlrp.cli import main
from textlrp.data.records import Failure, Record, read_kept, read_run
from textlrp.explain.explainer import Explainer
from textlrp.report.reading import read_report

GOOD, BAD = "A warm and funny film.", "A dull, noisy film."


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, list(map(str, arguments)))


def accuracy(page: Path) -> str | None:
    heading = "<dt>(?:Accuracy|All labels right)</dt>"
    found = re.search(heading + r"<dd>(.*?)</dd><dd class=\"small\"[^>]*>(.*?) right", page.read_text("utf-8"))
    return f"{found[1]}, {found[2]}" if found else None


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """A model whose labels are five numbers of stars."""
    return _with(folder, tmp_path_factory.mktemp("stars"), [f"{i + 1} star{'s' * (i > 0)}" for i in range(5)])


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """A model that gives a text several labels."""
    names = ["joy", "anger", "fear"]
    return _with(folder, tmp_path_factory.mktemp("several"), names, problem_type="multi_label_classification")


def _with(folder: Path, path: Path, names: list[str], **changes: Any) -> Path:
    explainer = Explainer.from_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(folder, id2label=dict(enumerate(names)), **changes)
    config.label2id = {name: i for i, name in enumerate(names)}
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(path)
    explainer.tokenizer.save_pretrained(path)
    return path


def predicted(model: Path, *texts: str) -> list[str]:
    explainer = Explainer.from_pretrained(model)
    return [explainer.explain(text).predicted for text in texts]


@pytest.mark.parametrize(
    ("rows", "says", "right"),
    [
        ("{good},POS \n{bad}, NEG\n", "labels 'POS ', ' NEG' were read as POS, NEG\n", "100.0 %, 2 of 2"),
        ("{good},pos\n{bad},NEG\n", "label pos was read as POS\n", "100.0 %, 2 of 2"),
        ("{good},1.0\n{bad},0.0\n{bad},\n", "labels 1.0, 0.0 were read as POS, NEG\n", "100.0 %, 2 of 2"),
        ("{good},0\n{bad},0\n{bad},-1\n", "labels 0, -1 were read as NEG, no label\n", "50.0 %, 1 of 2"),
        ("{good},POS\n{bad},odd\n", "label odd is none of the model's (NEG, POS): --label-map ", "50.0 %, 1 of 2"),
        ("{good},5\n{bad},9\n", "labels 5, 9 are none of the model's (NEG, POS): --label-map ", None),
    ],
)
def test_labels_are_read_and_said(tmp_path: Path, rows: str, says: str, right: str | None) -> None:
    table, page, saved = (tmp_path / name for name in ("table.csv", "report.html", "run.jsonl"))
    lines = rows.format(good=f'"{GOOD}"', bad=f'"{BAD}"')
    table.write_text(f"text,label\n{lines}", encoding="utf-8")
    done = run("report", table, "-o", page, "--save", saved)
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith(says)
    assert accuracy(page) == right
    if "read as" in says:
        shown = says.strip().replace("'", "&#39;")
        assert f"In the data, {shown}." in page.read_text("utf-8")
        first = lines.splitlines()[0].rpartition(",")[2]
        assert read_run(saved)[0].given == (first,)
    alone = run("report", saved, "-o", tmp_path / "alone.html")
    assert (alone.exit_code, alone.stderr) == (0, done.stderr)
    assert accuracy(tmp_path / "alone.html") == right


def test_numbers_beside_names_with_numbers(tmp_path: Path, stars: Path) -> None:
    table, page = tmp_path / "table.csv", tmp_path / "report.html"
    (one,) = predicted(stars, GOOD)
    table.write_text(f"text,label\n{GOOD},2\n{GOOD},2\n", encoding="utf-8")
    done = run("report", table, "--model", stars, "-o", page)
    assert (done.exit_code, page.exists()) == (2, False)
    assert "3 stars, 3 stars" not in done.stderr
    assert "can be read as 3 stars (counted from 0) or as 2 stars (as numbers in the names): say which" in done.stderr
    done = run("report", table, "--model", stars, "-o", page, "--label-map", f"2={one}")
    assert (done.exit_code, accuracy(page)) == (0, "100.0 %, 2 of 2")
    assert done.stderr == f"label 2 was read as {one}\n"
    table.write_text(f"text,label\n{GOOD},2\n{GOOD},2\n{GOOD},5\n", encoding="utf-8")
    for limit in (1, 2, 3):  # what is behind the limit tells what the numbers mean
        done = run("report", table, "--model", stars, "-o", page, "--limit", limit)
        assert (done.exit_code, done.stderr) == (0, "labels 2, 5 were read as 2 stars, 5 stars\n")
        given = [document.label for document in read_report(page).documents.values()]
        assert given == ["2 stars", "2 stars", "5 stars"][:limit]


def test_lists_of_labels_are_right_where_they_are_those_predicted(tmp_path: Path, several: Path) -> None:
    table, page, saved = (tmp_path / name for name in ("table.jsonl", "report.html", "run.jsonl"))
    (one,) = predicted(several, GOOD)
    other, third = [name for name in ("joy", "anger", "fear") if name != one]
    rows = [[one, other], [other.upper(), third], [one], f"{other}; {one}", []]
    table.write_text("".join(json.dumps({"text": GOOD, "labels": row}) + "\n" for row in rows), encoding="utf-8")
    done = run("report", table, "--model", several, "-o", page, "--save", saved)
    assert done.exit_code == 0, done.output
    chosen = set(Explainer.from_pretrained(several).explain(GOOD).predicted_labels)
    right = sum(set(row) == chosen for row in ([one, other], [other, third], [one], [other, one]))
    assert accuracy(page) == f"{25.0 * right} %, {right} of 4"
    assert f"{other.upper()}" in done.stderr
    records = read_run(saved)
    assert [record.right for record in records] == [(one, other), (other, third), (one,), (other, one), ()]
    assert records[1].given == (other.upper(), third)
    assert [document.label for document in read_report(page).documents.values()] == [None, None, one, None, None]
    single = run("report", table, "-o", tmp_path / "single.html")
    assert single.exit_code == 0
    assert "2 documents have several labels, and the model gives one: that is neither right nor wrong" in single.stderr
    assert [document.label for document in read_report(tmp_path / "single.html").documents.values()][:2] == [None] * 2


ROWS = f'id,text,label\n1,"{GOOD}",POS\n2,,POS\n,,\n1,"{BAD}",NEG\n5,"{BAD}",NEG,x\nline 3,"{BAD}",NEG\n'


def test_a_bad_row_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    table, page, saved = (tmp_path / name for name in ("table.csv", "report.html", "run.jsonl"))
    table.write_text(ROWS, encoding="utf-8")
    done = run("report", table, "-o", page, "--save", saved)
    assert done.exit_code == 3
    assert done.stdout == f"{page}: 2 documents\n"
    assert done.stderr.splitlines() == [
        "not explained: line 3 of the table: the text is blank",
        "not explained: line 4: the row is empty",
        "not explained: line 5: the id '1' is that of line 2 too",
        "not explained: line 6: it has 4 values, and the header has 3: put values that contain ',' in quotation marks",
    ]
    assert "4 documents could not be explained" in page.read_text("utf-8")
    kinds = [type(document) for document in read_kept(saved)]
    assert (kinds.count(Failure), kinds.count(Record)) == (4, 2)
    before = saved.read_bytes()
    again = run("report", table, "-o", page, "--save", saved)
    assert (again.exit_code, again.stderr, saved.read_bytes()) == (3, done.stderr, before)


def test_a_strict_report_stops_at_a_bad_row(tmp_path: Path) -> None:
    table, page = tmp_path / "table.csv", tmp_path / "report.html"
    table.write_text(ROWS, encoding="utf-8")
    done = run("report", table, "-o", page, "--strict")
    assert (done.exit_code, page.exists()) == (2, False)
    assert done.stderr == f"Error: {str(table)!r}, line 3: the text is blank (and 3 more rows cannot be read)\n"


def test_the_encoding_and_columns_of_a_table(tmp_path: Path) -> None:
    table, page = tmp_path / "table.csv", tmp_path / "report.html"
    table.write_bytes("id,text,rationales\na,Un café,x\na,Un thé,y\n".encode("cp1252"))
    done = run("report", table, "-o", page)
    assert done.exit_code == 2
    assert "add --encoding cp1252" in done.stderr
    options = ["--encoding", "cp1252", "--id", "", "--rationales", ""]
    assert run("report", table, "-o", page, *options).exit_code == 0
    assert [(d.id, d.text) for d in read_report(page).documents.values()] == [("1", "Un café"), ("2", "Un thé")]


def test_an_evaluation_reads_labels_and_rows_alike(tmp_path: Path, stars: Path) -> None:
    table, folder = tmp_path / "table.csv", tmp_path / "run"
    table.write_text(f'text,label\n{GOOD},pos\n,neg\n"{BAD}",neg\n', encoding="utf-8")
    quick = ["--method", "random", "--perturb", "mask", "--measures", "faithfulness"]
    done = run("evaluate", "--corpus", table, *quick, "--output", folder)
    assert done.exit_code == 3, done.output
    assert "not explained: table, line 3: the text is blank\n" in done.stderr
    assert "table: labels pos, neg were read as POS, NEG\n" in done.stderr
    assert "100.0 % of 2 labels right" in " ".join(done.stdout.split())
    plan = json.loads((folder / "run.json").read_text("utf-8"))
    assert plan["readings"] == ["table: labels pos, neg were read as POS, NEG"]
    strict = run("evaluate", "--corpus", table, *quick, "--strict")
    assert strict.exit_code == 2
    assert "Error: table, line 3: the text is blank; without --strict, the other rows are measured" in strict.stderr
    table.write_text(f"text,label\n{GOOD},2\n{GOOD},3\n", encoding="utf-8")
    unclear = run("evaluate", "--corpus", table, *quick, "--model", stars)
    assert unclear.exit_code == 2
    assert "say which with --label-map '2=3 stars,3=4 stars' or '2=2 stars,3=3 stars'" in unclear.stderr
    (one,) = predicted(stars, GOOD)
    settled = run("evaluate", "--corpus", table, *quick, "--model", stars, "--label-map", f"2={one},3={one}")
    assert settled.exit_code == 0, settled.output
    assert "100.0 % of 2 labels right" in " ".join(settled.stdout.split())


def test_a_target_that_can_be_two_labels(stars: Path) -> None:
    done = run("explain", GOOD, "--model", stars, "--target", "2")
    assert done.exit_code == 2
    assert "the label '2' can be '2 stars', or '3 stars', which has this index: write its name" in done.stderr
    assert run("explain", GOOD, "--model", stars, "--target", "2 STARS").exit_code == 0
