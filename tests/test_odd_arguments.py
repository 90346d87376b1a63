"""Whatever is given to a public function, what leaves it is an error of textlrp, a KeyError or a TypeError."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import textlrp
from textlrp import Explainer, Explanation, LRPError, Rules
from textlrp.basics.files import read_json
from textlrp.data import corpora
from textlrp.data.document_sets import read_document_sets
from textlrp.data.documents import read_documents
from textlrp.data.records import Record, read_run, write_run
from textlrp.data.tables import read_rows
from textlrp.evaluate import baselines

HUGE = 10**5000

ODD = [
    *(None, True, 0, -1, 3, 2**70, HUGE, 1.5, float("nan"), float("inf"), complex(1, 2), ...),
    *("", " ", "x", "a\nb", "\ud800", "\0", "x" * 5000, b"x"),
    *([], [1], ["a"], [None], [[1, 2]], (), ("a", "b"), {}, {"a": 1}, {1: 2}, set(), range(3)),
    *(Path("/nonexistent"), Path("/"), Path("x\0y"), object(), str, Rules()),
    *(torch.tensor([1.0, float("nan")]), torch.tensor(1), torch.tensor([]), torch.tensor(True)),
    *(np.array([1, 2]), np.array([["a"]]), np.float64(2.5), np.int64(1), np.str_("x")),
]

TEXT = "a dull film"


@dataclass(frozen=True)
class Here:
    explainer: Explainer
    explanation: Explanation
    folder: Path
    saved: dict[str, Any]

    @property
    def record(self) -> Record:
        return Record("a", (self.explanation,))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    explainer = Explainer.demo()
    e = explainer.explain(TEXT)
    saved = e.to_dict()
    del saved["digest"]  # so that a changed value is looked at for itself
    return Here(explainer, e, tmp_path_factory.mktemp("odd"), saved)


def with_option(name: str, **others: Any) -> Callable[[Here, Any], Any]:
    return lambda here, value: here.explainer.explain(**{"text": TEXT, **others, name: value})


def for_many(name: str) -> Callable[[Here, Any], Any]:
    return lambda here, value: here.explainer.explain_batch(**{"texts": [TEXT], "errors": "return", name: value})


def streamed(name: str) -> Callable[[Here, Any], Any]:
    return lambda here, value: list(here.explainer.explain_stream(**{"texts": [TEXT], name: value}))


def for_targets(name: str) -> Callable[[Here, Any], Any]:
    return lambda here, value: here.explainer.explain_targets(TEXT, **{name: value})


def loaded(name: str) -> Callable[[Here, Any], Any]:
    return lambda here, value: Explainer.demo(**{name: value})


def read(name: str) -> Callable[[Here, Any], Any]:
    return lambda here, value: read_documents("reviews", **{name: value})


def recorded(name: str) -> Callable[[Here, Any], Any]:
    return lambda here, value: Record(**{"id": "a", "explanations": (here.explanation,), name: value})


IDS = torch.tensor([[1, 5, 7]])

CALLS: dict[str, Callable[[Here, Any], Any]] = {
    **{f"explain {name}": with_option(name) for name in ("text", "text_pair", "target", "contrast", "rules", "long")},
    **{f"explain {name}": with_option(name, long="windows") for name in ("window", "overlap", "layers", "progress")},
    **{f"targets {name}": for_targets(name) for name in ("targets", "threshold", "progress")},
    **{f"batch {name}": for_many(name) for name in ("texts", "target", "batch_size", "errors", "layers", "progress")},
    **{f"stream {name}": streamed(name) for name in ("texts", "target", "batch_size", "errors")},
    "call": lambda here, value: here.explainer(value),
    "encode": lambda here, value: here.explainer.encode(value),
    "model": lambda here, value: Explainer(value, here.explainer.tokenizer),
    "tokenizer": lambda here, value: Explainer(here.explainer.model, value),
    "name": lambda here, value: Explainer(here.explainer.model, here.explainer.tokenizer, value),
    "problem_type": lambda here, value: Explainer(here.explainer.model, here.explainer.tokenizer, problem_type=value),
    "pipeline": lambda here, value: Explainer.from_pipeline(value),
    "device": loaded("device"),
    "from_pretrained": lambda here, value: None if isinstance(value, str) else Explainer.from_pretrained(value),
    "from_dict": lambda here, value: Explanation.from_dict(value),
    "from_json": lambda here, value: Explanation.from_json(value),
    "units": lambda here, value: here.explanation.units(value),
    "to_html": lambda here, value: here.explanation.to_html(by=value),
    "read_json": lambda here, value: read_json(value),
    "Rules.from_json": lambda here, value: Rules.from_json(value),
    "propagate model": lambda here, value: textlrp.propagate(value, 0, input_ids=IDS),
    "propagate target": lambda here, value: textlrp.propagate(here.explainer.model, value, input_ids=IDS),
    "propagate ids": lambda here, value: textlrp.propagate(here.explainer.model, 0, input_ids=value),
    "propagate mask": lambda here, value: textlrp.propagate(
        here.explainer.model, 0, input_ids=IDS, attention_mask=value
    ),
    "corpora.load": lambda here, value: corpora.load(value),
    "read_rows": lambda here, value: None if isinstance(value, str) else read_rows(value, None, None),
    "read_document_sets": lambda here, value: read_document_sets(value) if type(value) not in (list, tuple) else None,
    **{f"read_documents {name}": read(name) for name in ("text", "pair", "label", "id", "limit", "split")},
    **{f"Record {name}": recorded(name) for name in ("id", "explanations", "rationales")},
    "Record.from_dict": lambda here, value: Record.from_dict(value),
    "read_run": lambda here, value: read_run(value),
    "write_run": lambda here, value: write_run(here.folder / "run.jsonl", [value]),
    "scorer": lambda here, value: baselines.scorer(value),
    "scorer background": lambda here, value: baselines.scorer("difference:documents:1")(
        here.explainer, TEXT, background=value
    ),
    "scorer target": lambda here, value: baselines.scorer("gradient-x-input")(here.explainer, TEXT, target=value),
}


def check(call: Callable[[Here, Any], Any], here: Here) -> None:
    said = []
    for value in ODD:
        try:
            call(here, value)
        except (LRPError, KeyError, TypeError) as error:
            said.append(str(error))
    assert all(sentence.strip() for sentence in said)


@pytest.mark.parametrize("name", CALLS)
def test_an_odd_argument_is_taken_or_refused(here: Here, name: str) -> None:
    check(CALLS[name], here)


@pytest.mark.parametrize("key", [field.name for field in fields(Explanation)])
def test_an_odd_value_in_a_file_is_taken_or_refused(here: Here, key: str) -> None:
    check(lambda here, value: Explanation.from_dict({**here.saved, key: value}), here)
