"""Runs of evaluations: what is measured, what fails, and how a run goes on after it was killed."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from strict_python import STRICT

from textlrp import Explainer
from textlrp.commands.evaluate import evaluate
from textlrp.data.document_sets import read_document_sets
from textlrp.data.fingerprints import model_fingerprint, rules_fingerprints
from textlrp.data.short_names import method_names, short_names
from textlrp.errors import InputError, ModelError
from textlrp.evaluate import baselines, faithfulness
from textlrp.evaluate import run as evaluation
from textlrp.evaluate.measures import plausibility
from textlrp.evaluate.page import page
from textlrp.evaluate.run_folder import RESULTS, RUN, Result, read
from textlrp.evaluate.scorers import Scorer, Task
from textlrp.evaluate.table import explained, title
from textlrp.explain.label_names import read_labels
from textlrp.results.attribution import Attribution

WORDS = "a the film plot is and wonderful moving never dull bad no great".split()
METHODS = ("attnlrp", "gradient-x-input", "random")
RANDOM = baselines.scorer("random")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 14 short reviews, the first word of each marked, half of them for the right label as it turns out."""
    path = tmp_path_factory.mktemp("corpus") / "notes.jsonl"
    generator = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for i in range(14):
            words = generator.sample(WORDS, 6)
            marks = [[0, len(words[0])]]
            values = {"id": f"n{i:02}", "text": " ".join(words), "label": ("NEG", "POS")[i % 2], "rationales": marks}
            file.write(json.dumps({**values, "split": "test" if i < 12 else "val"}) + "\n")
    return path


def run(weights: Path, corpus: Path, *methods: str, **options: Any) -> Any:
    models = {"bert": lambda: Explainer.from_pretrained(weights)}
    corpora = read_document_sets([f"{corpus}:test"], limit=options.get("limit"))
    return evaluation.evaluate(models, corpora, methods or METHODS, **{"perturb": ["mask"], **options})


def test_numbers_are_those_of_the_measures(folder: Path, corpus: Path, tmp_path: Path) -> None:
    summary = run(folder, corpus, folder=tmp_path, seed=3, by="word")
    plan, found = read(tmp_path)
    assert (plan.models[0]["name"], plan.corpora[0]["name"], plan.corpora[0]["documents"]) == ("bert", "notes:test", 12)
    assert len(found) == 36
    explainer = Explainer.from_pretrained(folder)
    (documents,) = (each.documents for each in read_document_sets([f"{corpus}:test"]))
    for result in (found[0], found[-1]):
        document = next(each for each in documents if each.id == result.document)
        attribution = baselines.scorer(result.method)(explainer, document.text, seed=3)
        expected = faithfulness.assess(explainer, attribution, perturb="mask", by="word", seed=3)
        kept = faithfulness.Faithfulness.from_dict(result.faithfulness["mask"])
        assert kept.scores == pytest.approx(expected.scores)
        assert kept.morf.logits == pytest.approx(expected.morf.logits)
        assert (kept.by, kept.seed, kept.units) == ("word", 3, 6)
        assert (result.target, result.forwards) == (attribution.target, attribution.forwards)
        assert result.right is (document.label == attribution.target)
        marked = plausibility(attribution, document.rationales) if result.right else {}
        assert result.plausibility == pytest.approx(marked)
    # What people marked counts for the right label alone.
    (section,) = summary.sections
    assert 0 < section.right < section.labeled == 12
    assert section.tables[-1].documents == section.right
    assert [cost.forwards for cost in section.costs][:2] == [3, 3]


def test_the_texts_of_another_model_say_nothing(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "topics.jsonl"
    rows = [{"text": f"the plot is {word}", "label": "Sport", "rationales": [[0, 3]]} for word in WORDS[:3]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    models = {"bert": lambda: Explainer.from_pretrained(folder)}
    (section,) = evaluation.evaluate(
        models, read_document_sets([str(path)]), ["attnlrp"], measures=["plausibility"]
    ).sections
    assert (section.labeled, section.tables) == (0, ())


def failing(name: str, texts: set[str]) -> Scorer:
    def score(task: Task) -> Attribution:
        if task.text in texts:
            raise ModelError(f"{name} has\nno attention")
        return RANDOM.method(task)

    return Scorer(score)


def test_a_failure_is_noted_and_the_run_goes_on(
    folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (documents,) = (each.documents for each in read_document_sets([f"{corpus}:test"]))
    texts = {documents[0].text, documents[5].text}
    monkeypatch.setattr(baselines, "scorer", lambda name: failing(name, set() if name == "one" else texts))
    (section,) = run(folder, corpus, "one", "two", folder=tmp_path).sections
    (failed,) = section.failures
    assert (failed.method, failed.documents, failed.reason) == ("two", 2, "two has no attention")
    rows = section.tables[0].rows
    area = rows[1].cells["area"]
    assert (area.mean, area.difference) != (None, None)
    assert [rows[0].cells["area"].mean.count, area.mean.count, area.difference.count] == [12, 10, 10]  # type: ignore[union-attr]
    # The same seed: on the documents that both have, the same random scores.
    assert area.difference.mean == 0.0  # type: ignore[union-attr]
    assert area.p == 1.0


def test_a_perturbation_that_fails_is_noted_for_itself(
    folder: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def zeroed(*arguments: Any, perturb: str = "mask", **options: Any) -> Any:
        if perturb == "zero":
            raise ModelError("no table of ids")
        return faithfulness.assess(*arguments, perturb=perturb, **options)

    monkeypatch.setattr("textlrp.evaluate.measures.assess", zeroed)
    (section,) = run(folder, corpus, "attnlrp", perturb=["mask", "zero"]).sections
    assert [(each.perturb, each.documents, each.reason) for each in section.failures] == [
        ("zero", 12, "no table of ids")
    ]
    assert [table.documents for table in section.tables][:2] == [12, 0]


def numbers(result: Result, perturb: str = "mask") -> dict[str, float]:
    """What was measured, but for the time; a document that others had a part in is read in other batches."""
    kept = faithfulness.Faithfulness.from_dict(result.faithfulness[perturb])
    return {**{key: value or 0.0 for key, value in kept.scores.items()}, **result.plausibility}


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(folder: Path, corpus: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    options = ["--model", str(folder), "--corpus", f"{corpus}:test", "--perturb", "mask", "--output", str(place)]
    options += [part for method in METHODS for part in ("--method", method)]
    code = f"from textlrp.commands.evaluate import evaluate; evaluate({options!r})"
    with subprocess.Popen([*STRICT, "-c", code], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if (place / RESULTS).exists() and (place / RESULTS).read_bytes().count(b"\n") >= 3:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        assert process.wait(10) == -signal.SIGKILL
    before = (place / RESULTS).read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    assert 3 <= whole.count(b"\n") < 36
    outcome = CliRunner().invoke(evaluate, [*options, "--format", "json"], catch_exceptions=False)
    after = (place / RESULTS).read_bytes()
    assert after.startswith(whole)
    assert after.count(b"\n") == 36
    # What is there is what a run in one go finds.
    (tmp_path / "again").mkdir()
    run(folder, corpus, folder=tmp_path / "again")
    found, expected = (read(at)[1] for at in (place, tmp_path / "again"))
    assert [each.key for each in found] == [each.key for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert numbers(one) == pytest.approx(numbers(other), abs=1e-5)
        assert (one.target, one.right, one.forwards) == (other.target, other.right, other.forwards)
    shown = json.loads(outcome.stdout)
    assert shown["sections"][0]["tables"][0]["rows"][0]["cells"]["area"]["mean"]["count"] == 12
    # A finished run is shown without a model being asked, and none of its files says where it lay.
    assert str(tmp_path) not in (place / RUN).read_text(encoding="utf-8") + after.decode()
    with pytest.raises(InputError, match="seed: 0 then, 1 now"):
        CliRunner().invoke(evaluate, [*options, "--seed", "1"], catch_exceptions=False)


def test_a_run_that_goes_on_counts_no_forward_pass_twice(folder: Path, corpus: Path, tmp_path: Path) -> None:
    """Two documents by three methods, stopped behind each result, within a document and between two."""
    options = {"folder": tmp_path, "limit": 2, "perturb": ["mask", "zero"], "measures": ["faithfulness"]}
    run(folder, corpus, **options)
    whole = read(tmp_path)[1]
    lines = (tmp_path / RESULTS).read_bytes().splitlines(keepends=True)
    assert len(lines) == 6
    assert passes(whole[1]) < passes(whole[0])  # methods of one document share what the model reads
    for kept in range(1, 6):
        (tmp_path / RESULTS).write_bytes(b"".join(lines[:kept]))
        run(folder, corpus, **options)
        again = read(tmp_path)[1]
        assert [each.key for each in again] == [each.key for each in whole]
        assert [passes(each) for each in again] == [passes(each) for each in whole]
        assert [numbers(each) for each in again] == [numbers(each) for each in whole]


def passes(result: Result) -> tuple[float | None, ...]:
    """What the scores cost, and what it cost to measure them, in forward passes."""
    return (result.forwards, *(found["forwards"] for found in result.faithfulness.values()))


def test_out_of_the_box(tmp_path: Path) -> None:
    options = ["--corpus", "reviews", "--limit", "2", "--method", "cp-lrp", "--method", "random", "--perturb", "zero"]
    outcome = CliRunner().invoke(evaluate, options, catch_exceptions=False)
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("textlrp demo on reviews\n\n2 documents, ")
    assert "faithfulness, tokens zeroed, 2 documents" in outcome.stdout


def test_what_cannot_be_asked_for(folder: Path, corpus: Path, tmp_path: Path) -> None:
    def fails(*options: str) -> str:
        with pytest.raises(InputError) as raised:
            CliRunner().invoke(evaluate, ["--model", str(folder), *options], catch_exceptions=False)
        return str(raised.value)

    assert "'atnlrp'" in fails("--corpus", str(corpus), "--method", "atnlrp")
    assert "did you mean 'attnlrp'" in fails("--corpus", str(corpus), "--method", "atnlrp")
    assert (
        fails("--corpus", str(corpus), "--measures", "beauty")
        == "measures are faithfulness, plausibility, not 'beauty'"
    )
    assert "at least one each" in fails("--corpus", str(corpus), "--measures", ",")
    assert fails("--corpus", str(corpus), "--corpus", str(corpus)).endswith("is given twice: name each once")
    assert "'random' is given twice" in fails("--corpus", str(corpus), "--method", "random", "--method", "random")
    assert "its splits: test, val" in fails("--corpus", f"{corpus}:dev")
    assert "-o names a file" in fails("--corpus", str(corpus), "--output", str(corpus))


def test_corpora_by_name_file_and_split(corpus: Path, tmp_path: Path) -> None:
    both = read_document_sets([f"{corpus}:test", f"{corpus}:val", "reviews"])
    assert [each.name for each in both] == ["notes:test", "notes:val", "reviews"]
    assert [len(each.documents) for each in both[:2]] == [12, 2]
    (few,) = read_document_sets([str(corpus)], limit=5, seed=1)
    (same,) = read_document_sets([str(corpus)], limit=5, seed=1)
    (other,) = read_document_sets([str(corpus)], limit=5, seed=2)
    ids = [each.id for each in few.documents]
    assert ids == sorted(ids) == [each.id for each in same.documents] != [each.id for each in other.documents]
    assert few.fingerprint == same.fingerprint != other.fingerprint
    colon = tmp_path / "a:b.jsonl"
    colon.write_bytes(corpus.read_bytes())
    assert read_document_sets([str(colon)])[0].name == "a:b"


def test_documents_of_several_labels(tmp_path: Path) -> None:
    path = tmp_path / "several.jsonl"
    rows = [{"id": "1", "text": "x", "labels": ["pos", "odd"]}, {"id": "2", "text": "y", "labels": []}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (found,) = read_document_sets([str(path)])
    assert found.labels == {"1": ("pos", "odd"), "2": ()}
    assert found.right(read_labels(found.all_labels, ["POS", "NEG"])) == {"1": ("POS", "odd")}
    assert found.right(read_labels(found.all_labels, ["a", "b"])) == {}
    assert found.to_dict()["labeled"] == 1


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    paths = [tmp_path / "one" / "bert", tmp_path / "two" / "bert"]
    for path in paths:
        path.mkdir(parents=True)
    assert short_names([str(paths[0]), "owner/name"], "model") == ("bert", "owner/name")
    assert short_names([str(path) for path in paths], "model") == tuple(map(str, paths))
    rules = tmp_path / "mine.json"
    rules.write_text("{}", encoding="utf-8")
    assert method_names(["attnlrp", f"rules:{rules}"]) == ("attnlrp", "rules:mine")
    assert list(rules_fingerprints(["attnlrp", f"rules:{rules}"])) == [f"rules:{rules}"]
    with pytest.raises(InputError, match="cannot read"):
        rules_fingerprints([f"rules:{tmp_path / 'none.json'}"])


def test_the_fingerprint_of_a_model_is_that_of_its_weights(folder: Path, tmp_path: Path) -> None:
    import torch

    explainer = Explainer.from_pretrained(folder)
    first = model_fingerprint(explainer)
    explainer.model.save_pretrained(tmp_path / "elsewhere")
    explainer.tokenizer.save_pretrained(tmp_path / "elsewhere")
    again = Explainer.from_pretrained(tmp_path / "elsewhere")
    assert model_fingerprint(again) == first
    with torch.no_grad():
        again.model.classifier.bias[0] += 1e-6
    assert model_fingerprint(again) != first


def test_tickets_are_right_by_the_one_label_that_their_words_are_marked_for() -> None:
    (found,) = read_document_sets(["tickets"])
    assert {len(labels) for labels in found.labels.values()} == {1}
    assert len({label for labels in found.labels.values() for label in labels}) == 6


@pytest.mark.parametrize(
    ("module", "library"), [("scipy", "scipy"), ("sklearn", "scikit-learn"), ("statsmodels", "statsmodels")]
)
def test_a_missing_library_is_one_sentence_before_anything_is_measured(
    corpus: Path, tmp_path: Path, module: str, library: str
) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from textlrp.cli import run; run()"
    kept = tmp_path / "kept"
    options = ["evaluate", "--corpus", str(corpus), "--method", "random", "--output", str(kept)]
    failed = subprocess.run([*STRICT, "-c", code, *options], capture_output=True, text=True)
    assert failed.returncode == 1, failed.stderr
    assert failed.stderr == (
        f'Error: an evaluation needs {library}, which is not installed: pip install "textlrp[evaluate]"\n'
    )
    assert failed.stdout == ""
    assert not kept.exists()


def test_the_references_of_difference_rules_are_recorded(folder: Path, corpus: Path, tmp_path: Path) -> None:
    methods = ("difference", "difference:mean", "random")
    summary = run(folder, corpus, *methods, folder=tmp_path, limit=3)
    plan, found = read(tmp_path)
    assert plan.references == {"difference": "[MASK]", "difference:mean": "mean embedding"}
    assert len(found) == 9
    assert not [result for result in found if result.failures]
    assert [cost.forwards for cost in summary.sections[0].costs] == [4, 4, 1]
    sentences = explained(summary)
    assert "difference measures a text from a reference: [MASK]." in sentences
    written = page(summary)
    assert "Reference of <bdi>difference:mean</bdi>" in written
    assert run(folder, corpus, *methods, folder=tmp_path, limit=3).plan == plan


def test_the_other_documents_of_a_corpus_replace_tokens(folder: Path, corpus: Path, tmp_path: Path) -> None:
    summary = run(folder, corpus, "attnlrp", "random", perturb=["replace"], folder=tmp_path, limit=4)
    plan, found = read(tmp_path)
    assert (plan.perturb, plan.background) == (("replace",), {"documents": 200, "draws": 5})
    assert "faithfulness, tokens replaced, 4 documents" in title(summary.sections[0].tables[0], plan)
    explainer = Explainer.from_pretrained(folder)
    (documents,) = (each.documents for each in read_document_sets([f"{corpus}:test"], limit=4))
    document = next(each for each in documents if each.id == found[0].document)
    others = [each.text for each in documents if each.id != document.id]
    attribution = baselines.scorer("attnlrp")(explainer, document.text)
    expected = faithfulness.assess(explainer, attribution, perturb="replace", background=others)
    assert numbers(found[0], "replace")["area"] == pytest.approx(expected.area, abs=1e-5)
    assert numbers(found[1], "replace") != numbers(found[0], "replace")
    assert run(folder, corpus, "random", measures=["plausibility"], perturb=["replace"]).plan.background == {}


def test_the_other_documents_of_a_corpus_are_references(folder: Path, corpus: Path, tmp_path: Path) -> None:
    summary = run(folder, corpus, "difference:documents:2", measures=["faithfulness"], folder=tmp_path, limit=3)
    plan, found = read(tmp_path)
    assert plan.background == {"documents": 200}
    assert plan.references == {"difference:documents:2": "2 stretches of other documents"}
    assert [result.forwards for result in found] == [8, 8, 8]
    assert "difference:documents:2 measures a text from a reference: 2 stretches of other documents." in explained(
        summary
    )


def test_costly_methods_are_measured_on_fewer_documents(folder: Path, corpus: Path, tmp_path: Path) -> None:
    methods, options = ("random", "integrated-gradients:34", "attnlrp"), {"limit": 6, "limit_costly": 2}
    (section,) = run(folder, corpus, *methods, **options, measures=["faithfulness"], folder=tmp_path).sections
    assert [(cost.documents, cost.planned) for cost in section.costs] == [(6, 6), (2, 2), (6, 6)]
    assert (section.documents, section.available, section.missing) == (6, 12, 0)
    cells = [row.cells["area"] for row in section.tables[0].rows]
    assert [cell.difference.count for cell in cells if cell.difference] == [2, 6]
    plan, found = read(tmp_path)
    assert plan.costly == {"notes:test": ["integrated-gradients:34"]}
    # A run that goes on takes the same documents, wherever it was stopped.
    lines = (tmp_path / RESULTS).read_bytes().splitlines(keepends=True)
    assert len(lines) == 14
    for kept in (1, 4, 13):
        (tmp_path / RESULTS).write_bytes(b"".join(lines[:kept]))
        run(folder, corpus, *methods, **options, measures=["faithfulness"], folder=tmp_path)
        assert [passes(each) for each in read(tmp_path)[1]] == [passes(each) for each in found]
        assert [each.key for each in read(tmp_path)[1]] == [each.key for each in found]


def test_an_estimate_goes_before_and_changes_nothing(
    folder: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, corpus, limit=3, folder=tmp_path / "silent")
    assert capsys.readouterr().err == ""
    run(folder, corpus, limit=3, folder=tmp_path / "said", progress=True)
    cut, estimate = capsys.readouterr().err.splitlines()
    assert cut == "notes:test: 3 of 12 documents, drawn at random; --limit 0 takes all"
    assert re.fullmatch(
        r"evaluating 3 documents x 3 methods x 1 perturbation x 1 model: about \d{3} forward passes, about \d seconds?",
        estimate,
    )
    (plan, found), (other, others) = (read(tmp_path / name) for name in ("silent", "said"))
    assert plan == other
    for one, two in zip(found, others, strict=True):
        assert (numbers(one), passes(one), one.key) == (numbers(two), passes(two), two.key)
    # A finished run has nothing to estimate.
    run(folder, corpus, limit=3, folder=tmp_path / "said", progress=True)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_hundred_documents_are_taken_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--corpus", "reviews", "--method", "random", "--measures", "plausibility"]
    outcome = CliRunner().invoke(evaluate, options, catch_exceptions=False)
    assert "100 documents, drawn at random from 250, " in outcome.stdout
    assert outcome.stderr.startswith("reviews: 100 of 250 documents, drawn at random; --limit 0 takes all\n")
    outcome = CliRunner().invoke(evaluate, [*options, "--limit", "0"], catch_exceptions=False)
    assert "250 documents, " in outcome.stdout
    assert "drawn" not in outcome.output


def test_curves_have_as_many_steps_as_asked(folder: Path, corpus: Path, tmp_path: Path) -> None:
    run(folder, corpus, "attnlrp", limit=2, steps=3, measures=["faithfulness"], folder=tmp_path)
    plan, found = read(tmp_path)
    assert plan.steps == 3
    assert [len(result.faithfulness["mask"]["morf"]["shares"]) for result in found] == [4, 4]
    with pytest.raises(InputError, match="steps: 3 then, 4 now"):
        run(folder, corpus, "attnlrp", limit=2, steps=4, measures=["faithfulness"], folder=tmp_path)
    with pytest.raises(InputError, match="1 or more"):
        run(folder, corpus, "attnlrp", steps=0)
