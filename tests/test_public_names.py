"""What users of the package rely on: its names, the signatures of the explainer, and errors of its own."""

from __future__ import annotations

import inspect
import subprocess
from typing import Any

import pytest
import torch
from strict_python import STRICT

import textlrp
from textlrp import Explainer, Explanation, InputError, LRPError
from textlrp.errors import ModelError
from textlrp.explain.long_texts import NO_STRIDE

METHODS = ("explain", "explain_targets", "explain_batch", "explain_stream")


@pytest.fixture(scope="module")
def demo() -> Explainer:
    return Explainer.demo()


def test_every_public_name_is_listed_and_there() -> None:
    assert set(textlrp.__all__) | {"__version__"} == set(dir(textlrp))
    assert all(getattr(textlrp, name) is not None for name in dir(textlrp))
    with pytest.raises(AttributeError, match="no attribute 'explainers'"):
        _ = textlrp.explainers


def test_names_are_loaded_when_they_are_asked_for() -> None:
    code = (
        "import sys, textlrp; dir(textlrp)\n"
        "loaded = {'torch', 'transformers', 'pandas', 'pyarrow', 'datasets', 'rich'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "assert [getattr(textlrp, name) for name in textlrp.__all__] and 'torch' in sys.modules"
    )
    subprocess.run([*STRICT, "-c", code], check=True)


def test_the_methods_of_the_explainer_are_one_family() -> None:
    orders = {}
    for name in METHODS:
        parameters = list(inspect.signature(getattr(Explainer, name)).parameters.values())[1:]
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert positional == (["text", "text_pair"] if name in METHODS[:2] else ["texts"])
        orders[name] = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        assert len(positional) + len(orders[name]) == len(parameters)
    one, several, batch, stream = (orders[name] for name in METHODS)
    assert batch == stream
    assert [name for name in batch if name not in ("batch_size", "errors")] == one
    assert [name for name in several if name != "threshold"] == ["targets", *one[1:]]


@pytest.mark.parametrize("name", METHODS)
def test_stride_is_refused_with_a_sentence(demo: Explainer, name: str) -> None:
    with pytest.raises(InputError) as caught:
        getattr(demo, name)("a text", long="windows", stride=3)
    assert str(caught.value) == NO_STRIDE


def test_neighboring_windows_share_the_overlap(demo: Explainer) -> None:
    text = "a dull and lifeless film " * 20
    count = len(demo.encode(text).input_ids) - 2  # [CLS] and [SEP]
    for overlap in (0, 5, 29):
        e = demo.explain(text, long="windows", window=32, overlap=overlap)
        assert e.windows == -(-(count - 30) // (30 - overlap)) + 1
        assert e.reading == {"long": "windows", "window": 32, "overlap": overlap}
        assert Explanation.from_dict(e.to_dict()) == e


def test_the_explainer_is_called_like_a_pipeline(demo: Explainer) -> None:
    text, other = "a wonderful film", "a dull film"
    assert demo(text, target="NEG") == demo.explain(text, target="NEG")
    assert demo([text, other], target=["NEG", "POS"]) == demo.explain_batch([text, other], target=["NEG", "POS"])
    assert demo(text, other) == demo({"text": text, "text_pair": other}) == demo.explain(text, other)
    for wrong in (None, 3, b"bytes", {"texts": text}):
        with pytest.raises(InputError):
            demo(wrong)


@pytest.mark.parametrize("long", ["truncate", "windows"])
def test_layers_are_those_of_each_label_and_of_each_text(demo: Explainer, long: str) -> None:
    texts, how = ["a dull, lifeless film. " * 4, "what a wonderful film"], {"long": long, "window": 16, "layers": True}
    alone: dict[str, Explanation] = {label: demo.explain(texts[0], target=label, **how) for label in demo.labels}  # type: ignore[arg-type]
    several = demo.explain_targets(texts[0], **how)  # type: ignore[arg-type]
    together = demo.explain_batch(texts, target=demo.labels, **how)  # type: ignore[arg-type]
    for label, e in [*several.items(), (demo.labels[0], together[0])]:
        assert len(e.layers) == len(alone[label].layers) > 1
        for layer, other in zip(e.layers, alone[label].layers, strict=True):
            assert layer.name == other.name
            assert layer.relevance == pytest.approx(other.relevance, abs=1e-5)


def test_an_explanation_takes_keywords_only() -> None:
    kinds = {p.kind for p in inspect.signature(Explanation).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


def test_an_input_error_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(InputError, LRPError)


def test_raw_ids_that_a_model_cannot_read_are_said_so(demo: Explainer) -> None:
    model: Any = demo.model
    for ids in (torch.tensor([[1, 10**6]]), torch.tensor([[-1, 2]])):
        with pytest.raises(InputError, match="has no row for one of its input ids"):
            textlrp.propagate(model, 0, input_ids=ids)
    with pytest.raises(ModelError, match=r"fails on these inputs: RuntimeError: The expanded size"):
        textlrp.propagate(model, 0, input_ids=torch.ones(1, 5000, dtype=torch.long))


def test_a_text_is_explained_without_libraries_for_tables() -> None:
    code = (
        "import sys; from textlrp.cli import main\n"
        "main(['explain', 'a dull film', '--format', 'json'], standalone_mode=False)\n"
        "loaded = {'datasets', 'pandas', 'pyarrow'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([*STRICT, "-c", code], check=True, capture_output=True)
