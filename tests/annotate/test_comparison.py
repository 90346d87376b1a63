"""Numbers of a comparison: counted by hand, shown literally, and said where there are none."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from example_annotations import ADA, BEN, REVIEWS, TEXT, line, marks, reviewed, sent, written
from example_runs import explained
from rich.console import Console

from textlrp.annotate.annotations import read_annotations
from textlrp.annotate.comparison import Comparison, compare
from textlrp.annotate.document import Plausibility
from textlrp.annotate.table import render
from textlrp.commands.annotations import compare as command
from textlrp.data.records import Record
from textlrp.errors import InputError
from textlrp.report.reading import SentReport, read_report
from textlrp.report.writing import write_report


def compared(tmp_path: Path, *downloads: list[str], report: SentReport = REVIEWS) -> Comparison:
    files = [written(tmp_path / f"{number}.jsonl", *lines) for number, lines in enumerate(downloads)]
    return compare(read_annotations(files, report), report)


def test_all_numbers_by_hand(tmp_path: Path) -> None:
    found = compared(tmp_path, ADA, BEN)
    ada, ben = found.annotators
    assert (found.size, found.covered) == (6, ((0, 1), (1, 2), (2, 3)))
    assert ada.verdicts == {"agree": 3, "disagree": 0, "unsure": 1, "none": 0}
    assert ada.blind == {"agree": 2, "disagree": 0, "unsure": 1, "none": 0}
    assert (ada.documents, ada.rationales, ada.labeled, ada.right, ada.comments) == (4, 3, 3, 3, 1)
    assert (ben.documents, ben.rationales, ben.labeled, ben.right, ben.comments) == (4, 3, 3, 2, 0)
    # labels of a, b, c: NEG NEG NEG and NEG POS NEG; coincidences of 6 values, 5 NEG and 1 POS
    assert found.alpha_documents == 3
    assert found.alpha == pytest.approx(1 - 5 * 2 / (2 * 5 * 1))
    (labels,) = found.labels
    assert (labels.documents, labels.kappa, labels.equal) == (3, 0.0, pytest.approx(2 / 3))
    # a: {Not}{bad} and {truly bad}: token F1 1/2, IOU F1 2/3; c: {truly bad} and {Not}{acting}: 0
    (words,) = found.rationales
    assert (words.documents, words.span_f1, words.iou_f1, words.token_f1) == (2, 0.0, pytest.approx(1 / 3), 0.25)
    assert found.rationales_mean is None
    # The model's two words are bad and Not. Against Ada: a 1, 1, 1; c 1/2, 2/3, (1 + 2/3) / 2
    # Against Ben: a as Ada's c; c 1/2 (Not), 2/3 ({Not}{bad} and {Not}{acting}: 1/2), (1/2 + 2/5) / 2
    against_ada, against_ben, majority = found.rows
    assert (against_ada.against, against_ada.documents, against_ada.blind, against_ada.left_out) == ("Ada", 2, 2, 0)
    assert against_ada.model == Plausibility(0.75, pytest.approx(5 / 6), pytest.approx(11 / 12))
    assert (against_ben.documents, against_ben.left_out) == (2, 1)
    assert against_ben.model == Plausibility(
        0.5, pytest.approx((2 / 3 + 1 / 2) / 2), pytest.approx((5 / 6 + 9 / 20) / 2)
    )
    # Two of five words: 2/5; (H + (5 - H) / 4) / 5 with H = 137/60
    assert against_ben.chance is not None
    assert against_ben.chance.token_f1 == pytest.approx(0.4)
    assert against_ben.chance.auprc == pytest.approx(0.5925)
    # Both marked "bad" in a, and no common word in c
    assert (majority.against, majority.documents, majority.left_out) == (None, 1, 1)
    assert majority.model == Plausibility(1.0, 1.0, 1.0)
    assert found.everyone is not None
    assert (found.everyone.documents, found.everyone.model.token_f1) == (2, 0.625)  # type: ignore[union-attr]
    assert found.people == Plausibility(0.25, pytest.approx(1 / 3), None)
    rows = {row.id: (row.annotators, row.labels_equal, row.people_f1, row.model_f1) for row in found.documents}
    assert rows == {
        "a": (2, True, 0.5, 0.75),
        "b": (2, False, None, None),
        "c": (2, True, 0.0, 0.5),
        "d": (1, None, None, None),
        "e": (1, None, None, None),
    }
    # Ben's "good" in b speaks for POS, so against NEG: by the model, it is the strongest word against NEG.
    (against,) = found.against
    assert (against.against, against.documents, against.model) == ("Ben", 1, Plausibility(1.0, 1.0, 1.0))
    assert found.notes == (
        "Where words are marked for other labels alone, they are left out of the numbers of the model's words for the "
        "label.",
    )


def printed(found: Comparison, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False, legacy_windows=False)
    console.print(render(found))
    return [each.rstrip() for each in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_tables_literally(tmp_path: Path) -> None:
    lines = printed(compared(tmp_path, ADA, BEN))
    assert lines[:23] == EXPECTED.splitlines()
    assert all(len(each) <= 80 for each in lines)


EXPECTED = """\
2 annotators of report 5e5e5e5e5e5e of tiny: 5 of 6 documents marked (2 by 1, 3
by 2)

annotators
                                                                           model
annotator  documents  blind  agree  disagree  unsure  words  comments      right
────────────────────────────────────────────────────────────────────────────────
Ada                4      3      3         0       1      3         1     3 of 3
  blind            3      3      2         0       1      -         -          -
Ben                4      2      2         1       1      3         0     2 of 3
  blind            2      2      2         0       0      -         -          -

agreement on labels
annotators   alpha  kappa  equal  documents
───────────────────────────────────────────
all           0.00      -      -          3
Ada and Ben      -   0.00   0.67          3

agreement on words
annotators   span F1  IOU F1  token F1  documents
─────────────────────────────────────────────────
Ada and Ben     0.00    0.33      0.25          2

"""


def test_one_annotator_has_no_agreement_and_it_is_said(tmp_path: Path) -> None:
    found = compared(tmp_path, ADA)
    assert (found.alpha, found.labels, found.rationales, found.people, len(found.rows)) == (None, (), (), None, 1)
    assert found.notes == ("One annotator: there is no agreement to compute.",)
    assert not any("agreement on" in each for each in printed(found))
    assert "nan" not in found.to_json().lower()


def test_what_cannot_be_computed_is_said(tmp_path: Path) -> None:
    apart = compared(tmp_path, [line()], [line(annotator="Ben", document="b", blind=False, rationales=marks("bad"))])
    assert apart.notes == (
        "No document has labels of two annotators: there is no agreement on labels to compute.",
        "No document has words marked by two annotators: there is no agreement on words to compute.",
        "Some words were marked while the model's colors were visible: people follow what they see, so those numbers "
        "flatter the model.",
    )
    same = compared(tmp_path, [line()], [line(annotator="Ben")])
    assert same.notes == (
        "All labels given twice are the same one: alpha and kappa are not defined without a second label.",
        "No document has words marked by two annotators: there is no agreement on words to compute.",
        "No words are marked: there is nothing to compare the model's words with.",
    )
    for found in (apart, same):
        assert json.loads(found.to_json()) == json.loads(json.dumps(found.to_dict()))
        printed(found)


def test_words_for_another_label_are_no_measure(tmp_path: Path) -> None:
    report = sent(reviewed("a"), reviewed("b", target="POS"), labels=("NEG", "POS", "MEH"))
    for_pos = [{**each, "label": "POS"} for each in marks("bad")]
    lines = [
        line(verdict="disagree", rationales=marks("bad")),
        line(document="b", verdict="disagree", rationales=for_pos),
        line(document="a", annotator="Ben", rationales=for_pos),
    ]
    found = compared(tmp_path, lines, report=report)
    ada, ben, _ = found.rows
    # Who disagrees with NEG, without a word on the right label, may mark reasons for POS or for MEH.
    assert (ada.documents, ada.left_out, ada.unlabeled) == (1, 0, 1)
    assert (ben.documents, ben.left_out, ben.unlabeled) == (0, 1, 0)  # of three labels, POS is not the contrary of NEG
    assert found.against == ()
    assert found.notes[-1] == (
        "Ada did not say for which label the words in 1 document speak: they are left out of the model's numbers."
    )


def test_the_same_words_for_different_labels_are_no_agreement(tmp_path: Path) -> None:
    both = marks("bad", "Not")
    ada = [line(rationales=[{**both[0], "label": "NEG"}, {**both[1], "label": "POS"}])]
    ben = [line(annotator="Ben", rationales=[{**each, "label": "NEG"} for each in both])]
    (words,) = compared(tmp_path, ada, ben).rationales
    assert words.token_f1 == 0.5  # two sides of two marks each, and one in common


def test_several_labels_are_compared_as_sets_and_one_by_one(tmp_path: Path) -> None:
    others = {"love": tuple(replace(word, relevance=-word.relevance) for word in reviewed("a").words)}
    names = ("joy", "love", "anger")
    report = sent(
        *(reviewed(each, predicted="joy", chosen=("joy", "love"), others=others) for each in "abc"),
        labels=names,
        multi=True,
    )
    bad, good = ({**each, "label": label} for each, label in zip(marks("bad", "good"), ("joy", "love"), strict=True))
    ada = [
        line(format=2, label=..., labels=["love", "joy"], rationales=[bad, good]),
        line(format=2, label=..., document="b", verdict=None, labels=["joy"]),
        line(document="c"),
    ]
    ben = [
        line(format=2, annotator="Ben", label=..., verdict=None, labels=["joy"]),
        line(format=2, annotator="Ben", document="b", label=..., verdict=None, labels=["joy"]),
        line(format=2, annotator="Ben", document="c", label=..., verdict="disagree", labels=[]),
    ]
    found = compared(tmp_path, ada, ben, report=report)
    # Sets: {joy, love} and {joy}, {joy} twice, {joy, love} and none. MASI: 1 - 1/2 * 2/3 = 2/3, 0 and 1.
    observed = (2 / 3 + 0 + 1) / 3
    # Of 6 values, 2 are {joy, love}, 3 are {joy}, 1 is empty: 6 pairs at 2/3, 2 at 1, 3 at 1, of 15.
    expected = (6 * 2 / 3 + 2 + 3) / 15
    assert found.alpha == pytest.approx(1 - observed / expected)
    assert set(found.alpha_by_label) == set(names)
    assert found.alpha_by_label["anger"] is None  # nobody gave it
    # joy: 1 1, 1 1, 1 0: 1 - (1/3) / (5/15); love: 1 0, 0 0, 1 0: 1 - (2/3) / (8/15)
    assert found.alpha_by_label["joy"] == pytest.approx(0.0)
    assert found.alpha_by_label["love"] == pytest.approx(-0.25)
    assert found.annotators[0].right == 2  # in a and c, the sets are equal
    assert [pair.kappa for pair in found.labels] == [None]
    # "bad" is the strongest word for joy, and "good", whose relevance is turned around, the strongest for love.
    assert found.rows[0].model == Plausibility(1.0, 1.0, 1.0)
    assert found.rows[0].documents == 2
    printed(found)


def test_contradictions_are_named_and_count_for_nothing(tmp_path: Path) -> None:
    lines = [line(label="POS"), line(document="b", verdict="disagree", label="NEG"), line(document="c")]
    found = compared(tmp_path, lines, [line(annotator="Ben", document=each) for each in "abc"])
    assert [(each.annotator, each.document) for each in found.contradictions] == [("Ada", "a"), ("Ada", "b")]
    assert found.alpha_documents == 1
    assert found.annotators[0].labeled == 1
    assert found.notes[-3:] == (
        "Ada contradicts themselves in a: agrees with NEG, and gives POS as right. Ask them.",
        "Ada contradicts themselves in b: disagrees with NEG, and gives NEG as right. Ask them.",
        "Labels that are contradicted count as not known.",
    )


@pytest.fixture
def report(tmp_path: Path) -> Path:
    records = [Record(identity, (explained(TEXT),)) for identity in "ab"]
    return write_report(records, tmp_path / "report.html")[0]


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_command_shows_writes_and_refuses(report: Path, tmp_path: Path) -> None:
    identity = read_report(report).id
    ada = written(tmp_path / "ada.jsonl", line(report=identity, rationales=marks("bad")))
    ben = written(tmp_path / "ben.jsonl", line(report=identity, annotator="Ben", rationales=marks("bad")))
    shown = run(ada, ben, "--report", report)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith(f"2 annotators of report {identity[:12]}: 1 of 2 documents marked (1 by 2)\n")
    values = json.loads(run(ada, ben, "--report", report, "--format", "json").stdout)
    assert (values["report"], values["covered"], values["people"]["token_f1"]) == (identity, {"0": 1, "2": 1}, 1.0)
    for form in ("terminal", "json", "html"):
        output = tmp_path / f"out.{form}"
        assert run(ada, ben, "--report", report, "--format", form, "-o", output).stdout == ""
        assert output.read_text(encoding="utf-8")
    html = run(ada, ben, "--report", report, "--format", "html").stdout
    assert html == (tmp_path / "out.html").read_text(encoding="utf-8")
    assert run("--report", report).exit_code == run(ada).exit_code == 2
    refused = run(written(tmp_path / "old.jsonl", line()), "--report", report)
    assert isinstance(refused.exception, InputError)
    assert "was made in another report" in str(refused.exception)


def test_it_runs_without_torch(report: Path, tmp_path: Path) -> None:
    ada = written(tmp_path / "ada.jsonl", line(report=read_report(report).id, rationales=marks("bad")))
    code = (
        "import sys; from textlrp.commands.annotations import compare\n"
        "compare(sys.argv[1:], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    arguments = [ada, "--report", report, "--format", "html", "-o", tmp_path / "out.html"]
    subprocess.run([sys.executable, "-W", "error", "-c", code, *map(str, arguments)], check=True)


@pytest.mark.parametrize(("module", "library"), [("sklearn", "scikit-learn"), ("krippendorff", "krippendorff")])
def test_a_missing_library_is_one_sentence(report: Path, tmp_path: Path, module: str, library: str) -> None:
    ada = written(tmp_path / "ada.jsonl", line(report=read_report(report).id, rationales=marks("bad")))
    code = f"import sys; sys.modules[{module!r}] = None; from textlrp.cli import run; run()"
    command = [sys.executable, "-W", "error", "-c", code, "annotations", str(ada), "--report", str(report)]
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr == (
        f'Error: comparing annotations needs {library}, which is not installed: pip install "textlrp[annotate]"\n'
    )
    assert failed.stdout == ""
