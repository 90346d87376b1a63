"""Every number that can be given as an option: accepted like Python's own, or refused with a sentence."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from consistent_explanations import consistent
from example_records import explanation
from tiny_bert import bert, fast_tokenizer

import textlrp
from textlrp import Explainer, Explanation, Ledger, Span
from textlrp.basics.options import as_real, as_whole, brief, real, whole
from textlrp.check.audit import audit
from textlrp.data import corpora
from textlrp.data.document_sets import read_document_sets
from textlrp.data.documents import read_documents
from textlrp.data.records import Record
from textlrp.data.tables import read_rows
from textlrp.errors import InputError, LRPError
from textlrp.evaluate import baselines, intervals, plausibility, rationales
from textlrp.evaluate.faithfulness import assess
from textlrp.evaluate.perturbation import Perturbed
from textlrp.evaluate.run import evaluate
from textlrp.export.formats import export
from textlrp.lrp.propagation import propagate_targets
from textlrp.render.heatmap import heatmap
from textlrp.report.writing import write_report
from textlrp.serve.server import Question

TEXT = "A wonderful, moving film, never dull. " * 2
HUGE = 10**400


class Case:
    """An option of something public.

    Attributes:
        name: how to call it.
        call: is given the value.
        good: a value that is accepted.
        none: whether None is accepted.
        kind: ``int`` where whole numbers are expected, else ``float``.
    """

    def __init__(self, name: str, call: Callable[[Any], Any], good: Any, none: bool = False, kind: type = int) -> None:
        self.name, self.call, self.good, self.none, self.kind = name, call, good, none, kind


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    tokenizer = fast_tokenizer("wordpiece")
    return Explainer(bert(len(tokenizer)), tokenizer)


@pytest.fixture(scope="module")
def cases(explainer: Explainer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    folder = tmp_path_factory.mktemp("options")
    (folder / "rows.jsonl").write_text('{"text": "A dull film", "label": "NEG"}\n' * 3)
    rows = str(folder / "rows.jsonl")
    ids = {"input_ids": torch.tensor([[2, 5, 6, 3]])}
    records = [Record("1", (consistent(explanation("a good text")),))]
    e = explainer.explain(TEXT, layers=True)
    perturbed = Perturbed(explainer, TEXT)
    corpus = read_document_sets([rows])
    values = [0.5, 0.25, -0.5]
    model = explainer.model

    def question(value: Any) -> Any:
        # What a page sends is JSON: numbers of other libraries do not come this way.
        return Question.of(json.dumps({"text": "x", "model": value}, default=str).encode(), 2)

    def evaluated(**options: Any) -> Any:
        return evaluate({"tiny": lambda: explainer}, corpus, ["random"], measures=("plausibility",), **options)

    listed = [
        Case("explain(target)", lambda n: explainer.explain(TEXT, target=n), 1, none=True),
        Case("explain(contrast)", lambda n: explainer.explain(TEXT, target=1, contrast=n), 0, none=True),
        Case("explain(window)", lambda n: explainer.explain(TEXT, window=n), 20, none=True),
        Case("explain(window) in windows", lambda n: explainer.explain(TEXT, long="windows", window=n), 12, none=True),
        Case(
            "explain(overlap)",
            lambda n: explainer.explain(TEXT, long="windows", window=12, overlap=n),
            4,
            none=True,
        ),
        Case(
            "explain(overlap) of a short text", lambda n: explainer.explain("film", long="windows", overlap=n), 4, True
        ),
        Case("explain_targets(targets)", lambda n: explainer.explain_targets(TEXT, targets=n), 1),
        Case("explain_targets([targets])", lambda n: explainer.explain_targets(TEXT, targets=[n]), 1),
        Case(
            "explain_targets(contrast)",
            lambda n: explainer.explain_targets(TEXT, targets=[1], contrast=n),
            0,
            none=True,
        ),
        Case(
            "explain_targets(threshold)",
            lambda n: explainer.explain_targets(TEXT, threshold=n),
            0.25,
            none=True,
            kind=float,
        ),
        Case("explain_targets(window)", lambda n: explainer.explain_targets(TEXT, window=n), 20, none=True),
        Case("explain_batch(target)", lambda n: explainer.explain_batch([TEXT, "film"], target=n), 1, none=True),
        Case("explain_batch([target])", lambda n: explainer.explain_batch([TEXT, "film"], target=[0, n]), 1, none=True),
        Case("explain_batch(batch_size)", lambda n: explainer.explain_batch([TEXT], batch_size=n), 2),
        Case(
            "explain_batch(contrast)", lambda n: explainer.explain_batch(["film"], target=1, contrast=n), 0, none=True
        ),
        Case("explain_batch(window)", lambda n: explainer.explain_batch([TEXT], window=n), 20, none=True),
        Case("propagate(target)", lambda n: textlrp.propagate(model, n, **ids), 1, none=True),
        Case("propagate([target])", lambda n: textlrp.propagate(model, [n], **ids), 1),
        Case("propagate(function)", lambda n: textlrp.propagate(model, lambda _: n, **ids), 1),
        Case("propagate_targets", lambda n: propagate_targets(model, [0, n], **ids), 1, none=True),
        Case("propagate(keep)", lambda n: textlrp.propagate(model, 0, keep={"bert.pooler.dense": [n]}, **ids), 1),
        Case("Epsilon", textlrp.rules.Epsilon, 0.5, kind=float),
        Case("Gamma(gamma)", textlrp.rules.Gamma, 0.5, kind=float),
        Case("Gamma(epsilon)", lambda n: textlrp.rules.Gamma(0.25, n), 0.5, kind=float),
        Case("ZPlus", textlrp.rules.ZPlus, 0.5, kind=float),
        Case("WSquare", textlrp.rules.WSquare, 0.5, kind=float),
        Case("Flat", textlrp.rules.Flat, 0.5, kind=float),
        Case("AlphaBeta(alpha)", lambda n: textlrp.rules.AlphaBeta(n, 0.5), 1.5, kind=float),
        Case("AlphaBeta(beta)", lambda n: textlrp.rules.AlphaBeta(1.5, n), 0.5, kind=float),
        Case("AlphaBeta(epsilon)", lambda n: textlrp.rules.AlphaBeta(2.0, 1.0, n), 0.5, kind=float),
        Case(
            "Rules.from_dict",
            lambda n: textlrp.Rules.from_dict({"linear": {"rule": "gamma", "gamma": n}}).to_json(),
            0.5,
            kind=float,
        ),
        Case("assess(steps)", lambda n: assess(explainer, e, steps=n, draws=2), 2),
        Case("assess(seed)", lambda n: assess(explainer, e, steps=2, draws=2, seed=n), 2),
        Case("assess(left_out)", lambda n: assess(explainer, e, steps=2, draws=2, left_out=n), 2),
        Case("assess(draws)", lambda n: assess(explainer, e, steps=2, draws=n), 2),
        Case("Perturbed(target)", lambda n: Perturbed(explainer, TEXT, target=n).original, 1, none=True),
        Case("Perturbed.outcomes", lambda n: perturbed.outcomes([[n]]), 1),
        Case("scorer(seed)", lambda n: baselines.scorer("random")(explainer, TEXT, seed=n), 2),
        Case("scorer(target)", lambda n: baselines.scorer("attnlrp")(explainer, TEXT, target=n), 1, none=True),
        Case(
            "a scorer's number", lambda n: baselines.scorer(f"integrated-gradients:{n}")(explainer, TEXT), 2, False, str
        ),
        Case("audit(repeats)", lambda n: audit(explainer, ["film"], ["attnlrp"], n), 1),
        Case("export(threshold)", lambda n: export(records, "doccano", threshold=n), 0.5, none=True, kind=float),
        Case("export(top)", lambda n: export(records, "prodigy", top=n), 2, none=True),
        Case(
            "write_report(page_documents)",
            lambda n: len(write_report(records, folder / "report.html", page_documents=n)),
            2,
        ),
        Case("write_report(page_size)", lambda n: len(write_report(records, folder / "report.html", page_size=n)), 200),
        Case("Record(rationales)", lambda n: Record("1", records[0].explanations, None, ((0, n),)).to_dict(), 3),
        Case("heatmap(most)", lambda n: len(heatmap(e, most=n).rows), 2, none=True),
        Case("read_documents(limit)", lambda n: read_documents(rows, limit=n), 2, none=True),
        Case("read_rows(limit)", lambda n: read_rows(rows, limit=n), 2, none=True),
        Case("read_document_sets(limit)", lambda n: read_document_sets([rows], limit=n), 2, none=True),
        Case("read_document_sets(seed)", lambda n: read_document_sets([rows], limit=1, seed=n), 2),
        Case("evaluate(seed)", lambda n: evaluated(seed=n).to_json(), 2),
        Case("evaluate(limit)", lambda n: evaluated(limit=n).to_json(), 2, none=True),
        Case("chosen_words", lambda n: plausibility.chosen_words(values, n), 2),
        Case("iou_f1(threshold)", lambda n: plausibility.iou_f1([(0, 2)], [(0, 1)], n), 0.5, kind=float),
        Case("random_iou_f1(draws)", lambda n: plausibility.random_iou_f1([True, False], (), n), 2),
        Case("mean_interval(values)", lambda n: intervals.mean_interval([1.0, n], draws=20), 2.5, kind=float),
        Case("mean_interval(seed)", lambda n: intervals.mean_interval(values, n, 20), 2),
        Case("mean_interval(draws)", lambda n: intervals.mean_interval(values, 0, n), 20),
        Case("mean_interval(level)", lambda n: intervals.mean_interval(values, 0, 20, n), 0.5, kind=float),
        Case("paired_p(draws)", lambda n: intervals.paired_p(values, [0.0] * 3, 0, n), 20),
        Case("a relevance", lambda n: Span(0, 1, "a", n).to_dict(), 2.5, kind=float),
        Case("a row", lambda n: Ledger({"tokens": n}, 1.0).to_dict(), 2.5, kind=float),
        Case("a question's model", question, 1),
    ]
    return {case.name: case for case in listed}


#: As many as there are above; the fixture cannot be asked before the tests are collected.
NAMES = (
    "explain(target);explain(contrast);explain(window);explain(window) in windows;explain(overlap);"
    "explain(overlap) of a short text;explain_targets(targets);explain_targets([targets]);explain_targets(contrast);"
    "explain_targets(threshold);explain_targets(window);explain_batch(target);explain_batch([target]);"
    "explain_batch(batch_size);explain_batch(contrast);explain_batch(window);propagate(target);propagate([target]);"
    "propagate(function);propagate_targets;propagate(keep);Epsilon;Gamma(gamma);Gamma(epsilon);ZPlus;WSquare;Flat;"
    "AlphaBeta(alpha);AlphaBeta(beta);AlphaBeta(epsilon);Rules.from_dict;assess(steps);assess(seed);assess(left_out);"
    "assess(draws);Perturbed(target);Perturbed.outcomes;scorer(seed);scorer(target);a scorer's number;audit(repeats);"
    "export(threshold);export(top);write_report(page_documents);write_report(page_size);Record(rationales);"
    "heatmap(most);read_documents(limit);read_rows(limit);read_document_sets(limit);read_document_sets(seed);evaluate(seed);"
    "evaluate(limit);chosen_words;iou_f1(threshold);random_iou_f1(draws);mean_interval(values);mean_interval(seed);"
    "mean_interval(draws);mean_interval(level);paired_p(draws);a relevance;a row;a question's model"
).split(";")

#: What is never accepted.
NEVER = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "numpy nan": np.float64("nan"),
    "torch infinity": torch.tensor(math.inf),
    "a complex number": 1j,
    "a list": [[1]],
    "an object": object(),
    "an array": np.array([[1, 2], [3, 4]]),
}

#: What is accepted, or refused with a sentence.
MAYBE = {
    "minus one": -1,
    "zero": 0,
    "one": 1,
    "a fraction": 1.5,
    "huge": HUGE,
    "large": 2**70,
    "a large float": 1e308,
    "true": True,
    "numpy true": np.bool_(True),
    "torch true": torch.tensor(True),
    "text": "3",
    "bytes": b"3",
}


def written(value: Any) -> str:
    """Return a result as JSON: every accepted value can be saved."""

    def plain(value: Any) -> Any:
        if isinstance(value, Explanation | Ledger | Span):
            return value.to_dict()
        if isinstance(value, torch.Tensor):
            return value.tolist()
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {
                field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.name != "met"
            }
        if isinstance(value, Mapping):
            return dict(value)
        raise TypeError(f"{type(value).__name__} cannot be saved: {value!r}")

    return json.dumps(value, default=plain, allow_nan=False)


def test_the_list_of_options_is_whole(cases: dict[str, Case]) -> None:
    assert list(cases) == NAMES


def outcome(case: Case, value: Any) -> tuple[Any, str | None]:
    """Return the result of a value, or the message that refuses it."""
    try:
        return case.call(value), None
    except LRPError as error:
        return None, str(error)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_accepted_or_refused_with_a_sentence(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    for what, value in (NEVER | MAYBE).items():
        result, message = outcome(case, value)
        if message is not None:
            assert "\n" not in message, what
            assert len(message) < 1000, what
            continue
        assert what not in NEVER, f"{name} accepts {what}"
        # A list of truth values is a mask of channels.
        assert "true" not in what or name == "propagate(keep)", f"{name} takes {what} for a number"
        written(result)


@pytest.mark.parametrize("name", NAMES)
def test_none_is_accepted_where_it_has_a_meaning(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    if case.none:
        written(case.call(None))
    else:
        with pytest.raises(LRPError):
            case.call(None)


SCALARS: dict[type, tuple[Callable[[Any], Any], ...]] = {
    int: (np.int64, np.int32, np.uint8, torch.tensor, lambda n: torch.tensor(n, dtype=torch.int32), np.array),
    float: (np.float64, np.float32, np.float16, torch.tensor, lambda n: torch.tensor(n).half(), np.array),
}


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_numpy_and_torch_are_those_of_python(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    if case.kind is str or name == "a question's model":  # text, and JSON
        return
    expected = timeless(written(case.call(case.good)))
    for kind in SCALARS[case.kind]:
        assert timeless(written(case.call(kind(case.good)))) == expected, kind


def timeless(json_text: str) -> str:
    """Return a result without seconds and their ratios."""
    return re.sub(r"\d+\.\d+(e-\d+)?", "", json_text) if "seconds" in json_text else json_text


def test_what_a_number_is() -> None:
    assert [as_whole(value) for value in (3, np.int8(3), torch.tensor(3), -1, HUGE)] == [3, 3, 3, -1, HUGE]
    not_whole = (True, np.bool_(True), torch.tensor(True), 3.0, np.float64(3), torch.tensor(3.0), "3", None, [3])
    assert [as_whole(value) for value in (*not_whole, np.array([3]), torch.tensor([3]))] == [None] * 11
    assert [as_real(value) for value in (3, 0.5, np.float32(0.5), torch.tensor(0.5).bfloat16())] == [3.0, 0.5, 0.5, 0.5]
    not_real = (True, torch.tensor(True), "3", b"3", None, math.nan, math.inf, HUGE, 1j, np.array([3.0]), torch.ones(1))
    assert [as_real(value) for value in not_real] == [None] * 11
    assert type(whole(np.int64(3), "n is")) is int
    assert type(real(np.float32(3), "x is")) is float
    assert brief(HUGE) == "a number of 1,332 bits"
    assert brief("a\nb") == "'a\\nb'"
    assert len(brief("x" * 1000)) == 120
    assert "\n" not in brief(np.eye(3))
    with pytest.raises(InputError, match=r"^n is a number from 1 to 5, not 6$"):
        whole(6, "n is a number from 1 to 5", 1, 5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: textlrp.Rules.from_dict({"linear": ["x"]}),
        lambda: textlrp.Rules.from_dict({"linear": {"rule": ["x"]}}),
        lambda: textlrp.Rules.from_dict({"linear": {"rule": "epsilon", "epsilon": [1]}}),
        lambda: textlrp.Rules.from_dict({"linear": {"rule": "epsilon", 3: 1}}),
        lambda: textlrp.Rules.from_dict({3: "x"}),
        lambda: textlrp.Rules.from_dict({"overrides": {3: {}}}),
        lambda: textlrp.Rules.from_dict({"overrides": {"x": 3}}),
        lambda: textlrp.Rules.from_dict(["linear"]),  # type: ignore[arg-type]
        lambda: textlrp.Rules.from_json('{"linear": {"rule": "epsilon", "epsilon": NaN}}'),
        lambda: textlrp.Rules.parse("epsilon=nan"),
        lambda: textlrp.Rules.parse("gamma=inf"),
        lambda: textlrp.Rules.parse("gamma=-1"),
        lambda: textlrp.Rules.parse("gamma="),
        lambda: textlrp.Rules.parse(3),  # type: ignore[arg-type]
        lambda: textlrp.Rules.preset(["attnlrp"]),  # type: ignore[arg-type]
        lambda: textlrp.Rules(overrides=5),
        lambda: textlrp.Rules(overrides=[5]),
        lambda: textlrp.Rules(linear=textlrp.rules.Epsilon),  # type: ignore[arg-type]
        lambda: baselines.scorer(3),  # type: ignore[arg-type]
        lambda: baselines.scorer("lime:" + "9" * 5000),
        lambda: baselines.scorer("integrated-gradients:1001"),
        lambda: rationales.pointing([], []),
        lambda: corpora.load("none"),
    ],
)
def test_what_makes_no_rules_and_no_method_is_said_so(call: Callable[[], Any]) -> None:
    with pytest.raises(LRPError) as caught:
        call()
    assert "\n" not in str(caught.value)


IDS = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"target": 2}, "target 2 is out of range: the model has labels 0 to 1"),
        ({"target": -1}, "target -1 is out of range"),
        (
            {"target": [0, 1, 0]},
            "target must be a label index or one index for each of the 2 documents, not \\[0, 1, 0\\]",
        ),
        ({"target": [[0], [1]]}, "target must be a label index"),
        ({"target": []}, "target must be a label index"),
        (
            {"target": HUGE},
            "target must be a label index or one index for each of the 2 documents, not a number of 1,332",
        ),
        ({"target": torch.tensor([[0, 1]])}, "target must be a label index"),
        ({"target": torch.zeros(3)}, r"weights of the logits must have shape \[2\] or \[2, 2\], not \[3\]"),
        ({"target": np.zeros((2, 3))}, r"weights of the logits must have shape"),
        ({"target": torch.tensor([math.nan, 1.0])}, "weights of the logits must be finite"),
        ({"target": torch.tensor([1j, 0])}, "target must be a label index"),
        ({"target": torch.tensor([True, False])}, "target must be a label index"),
        ({"target": "POS"}, "target must be a label index .*, not 'POS'"),
        ({"target": {0: 1}}, "target must be a label index"),
        ({"target": lambda logits: "POS"}, "target must be a label index"),
        ({"target": lambda logits: None}, "the target function returned None"),
        ({"capture": 5}, "capture is a list of paths of modules, not 5"),
        ({"keep": 5}, "keep is a mapping from paths of modules to channels or masks, not 5"),
        ({"capture": "bert"}, "capture is a list of paths of modules, not 'bert'"),
        ({"capture": [None]}, "BertForSequenceClassification has no module None"),
        ({"capture": [["bert"]]}, "BertForSequenceClassification has no module"),
        ({"capture": ["bert.none"]}, "BertForSequenceClassification has no module 'bert.none'"),
        ({"keep": {"bert.pooler": "x"}}, "keep at 'bert.pooler' is a list of channels from 0 to 15"),
        ({"keep": {"bert.pooler": [16]}}, "keep at 'bert.pooler' is a list of channels from 0 to 15"),
        ({"keep": {"bert.pooler": [0.5]}}, "keep at 'bert.pooler' is a list of channels"),
        ({"keep": {"bert.pooler": [math.nan]}}, "keep at 'bert.pooler' is a list of channels"),
        ({"keep": {"bert.pooler": object()}}, "keep at 'bert.pooler' is a list of channels"),
        ({"keep": {"bert.pooler": [HUGE]}}, "keep at 'bert.pooler' is a list of channels"),
        (
            {"special_tokens_mask": [[1, 0, 0, 1]] * 2},
            r"special_tokens_mask must have the shape of input_ids, \[2, 4\]",
        ),
        ({"special_tokens_mask": torch.ones(2)}, r"must have the shape of input_ids, \[2, 4\], not \[2\]"),
        ({"input_ids": None}, "input_ids must be a tensor of integers"),
        ({"input_ids": [[1, 2]]}, "input_ids must be a tensor of integers"),
        ({"input_ids": torch.tensor([1, 2])}, r"input_ids must be a tensor of integers .* of shape \[2\]"),
        ({"input_ids": torch.ones(2, 2)}, "input_ids must be a tensor of integers"),
        ({"input_ids": torch.ones(0, 4, dtype=torch.long)}, "input_ids must be a tensor of integers"),
        ({"model": None}, "the model must be a torch module, not None"),
        ({"rules": 3}, "rules takes the name of a preset"),
        ({"rules": ["attnlrp"]}, "rules takes the name of a preset"),
    ],
)
def test_what_cannot_be_propagated_is_said_so(explainer: Explainer, options: dict[str, Any], says: str) -> None:
    with pytest.raises(LRPError, match=says):
        textlrp.propagate(**{"model": explainer.model, "target": 0, "input_ids": IDS, **options})


@pytest.mark.parametrize("targets", [5, "ab", torch.tensor(1), lambda logits: 5, lambda logits: None])
def test_what_is_no_list_of_targets_is_said_so(explainer: Explainer, targets: Any) -> None:
    with pytest.raises(InputError, match=r"^targets is a list of targets"):
        propagate_targets(explainer.model, targets, input_ids=IDS)


def test_weights_of_numpy_are_weights(explainer: Explainer) -> None:
    propagation = textlrp.propagate(explainer.model, np.array([1.0, -1.0]), input_ids=IDS)
    expected = textlrp.propagate(explainer.model, torch.tensor([1.0, -1.0]), input_ids=IDS)
    assert torch.equal(propagation.relevance, expected.relevance)
    assert torch.equal(propagation.weights, expected.weights)


def test_what_is_kept_of_an_option_is_a_number_of_python(explainer: Explainer, tmp_path: Path) -> None:
    e = explainer.explain(TEXT, long="windows", window=np.int64(12), overlap=torch.tensor(4), target=np.int32(1))
    assert dict(e.reading) == {"long": "windows", "window": 12, "overlap": 4}
    assert [type(value) for value in e.reading.values()] == [str, int, int]
    e.to_json(tmp_path / "e.json")
    assert Explanation.from_json(tmp_path / "e.json") == e
    rules = textlrp.Rules(linear=textlrp.rules.Gamma(np.float32(0.5)))
    assert rules == textlrp.Rules(linear=textlrp.rules.Gamma(0.5))
    assert textlrp.Rules.from_json(rules.to_json()) == rules


def test_numbers_of_other_libraries_in_an_explanation_are_saved() -> None:
    plain = consistent(explanation("a good text"))
    spans = tuple(
        dataclasses.replace(span, start=np.int64(span.start), relevance=np.float64(span.relevance))
        for span in plain.tokens
    )
    rows: Any = {heading: torch.tensor(value, dtype=torch.float64) for heading, value in plain.ledger.rows.items()}
    books = dataclasses.replace(plain.ledger, rows=rows)
    made = dataclasses.replace(plain, tokens=spans, ledger=books, logit=np.float64(plain.logit))
    assert made.to_json() == plain.to_json()
    with pytest.raises(InputError, match=r"an explanation has '1.5' where a number belongs: it cannot be saved"):
        dataclasses.replace(plain, logit="1.5").to_json()  # type: ignore[arg-type]
