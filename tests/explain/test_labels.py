"""The meaning of outputs comes from the config or the user; an error for an unknown label lists the known ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from textlrp.errors import InputError, ModelError
from textlrp.explain.labels import Choice, Head, Pick, Several, find_label, kind_of

LABELS = ("negative", "neutral", "positive")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("postive", r"there is no label 'postive': .* are negative, neutral, positive; did you mean 'positive'\?"),
        ("xyz", "there is no label 'xyz': the model's labels are negative, neutral, positive$"),
        (3, r"there is no label 3: the model has 3, 0 to 2 \(negative, neutral, positive\)"),
        (-1, "there is no label -1"),
        ("7", "there is no label '7'"),
        (True, "a label is a name or an index, not True"),
        (1.0, "a label is a name or an index, not 1.0"),
    ],
)
def test_a_label_that_is_not_there_is_said_so(label: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_label(LABELS, label)


def test_a_long_list_of_labels_is_cut() -> None:
    with pytest.raises(InputError, match=r"label 19, \.\.\. \(500 in all\)"):
        find_label(tuple(f"label {i}" for i in range(500)), "x")


def test_a_name_comes_before_an_index() -> None:
    assert find_label(("1", "0"), "0") == 1
    assert find_label(("1", "0"), 0) == 0
    assert find_label(("a", "A"), "A") == 1


def config(**settings: Any) -> Any:
    return SimpleNamespace(**settings)


def test_a_config_says_what_the_outputs_are() -> None:
    names = {"id2label": {1: "POS", 0: "NEG"}}
    assert Head.of(config(**names)) == Head(("NEG", "POS"), None)
    assert Head.of(config(**names, problem_type="regression")).problem_type == "regression"
    assert Head.of(config(**names, problem_type="regression"), "multi_label_classification").problem_type == (
        "multi_label_classification"
    )
    assert Head.of(config(function_to_apply="sigmoid")).problem_type == "multi_label_classification"
    assert Head.of(config(problem_type=None, function_to_apply="none")).problem_type == "regression"
    for function, kind in (("Sigmoid", "multi_label_classification"), ("Identity", "regression"), ("Unknown", None)):
        noted = {"activation_fn": f"torch.nn.modules.activation.{function}"}
        assert Head.of(config(sentence_transformers=noted)).problem_type == kind
    assert Head.of(None) == Head(None, None)
    assert Head.of(config(id2label={"0": "a", "1": "a"})).names == ("a (0)", "a (1)")
    assert kind_of([None, 3, "softmax"]) == "single_label_classification"
    for kind in ("binary", ""):
        with pytest.raises(InputError, match="problem_type is one of single_label_classification, multi_label"):
            Head.of(config(**names), kind)


def test_names_belong_to_their_numbers_where_some_are_left_out() -> None:
    head = Head.of(config(id2label={0: "a", "2": "b", 5: "c"}))
    assert head.labels(6) == ("a", "LABEL_1", "b", "LABEL_3", "LABEL_4", "c")
    assert head.labels(7) == ("a", "LABEL_1", "b", "LABEL_3", "LABEL_4", "c", "LABEL_6")
    assert Choice("c").pick(head, torch.zeros(6)) == Pick(5)
    with pytest.raises(ModelError, match=r"names the labels 0, 2, 5, and the model has 3 outputs, .* each of 0 to 2$"):
        head.labels(3)
    alone = Head.of(config(id2label={1: "POS"}))  # no name for each side of a single output
    assert not alone.binary(1)
    with pytest.raises(ModelError, match=r"names the labels 1, and the model has 1 output, numbered from 0 on"):
        alone.labels(1)
    assert alone.labels(2) == ("LABEL_0", "POS")
    assert Head.of(config(id2label={0: "LABEL_1", 2: "b"})).labels(3) == ("LABEL_1 (0)", "LABEL_1 (1)", "b")


@pytest.mark.parametrize("key", ["first", -1, None, 10**12])
def test_a_number_of_a_label_that_is_none_is_said_so(key: Any) -> None:
    with pytest.raises(ModelError, match=r"calls .* the number of the label 'a': count them from 0 on"):
        Head.of(config(id2label={key: "a"}))


@pytest.mark.parametrize(
    ("names", "problem_type", "outputs", "expected"),
    [
        (("a", "b", "c"), None, [0.0, 1.0, 2.0], {"a": 0.09003, "b": 0.244728, "c": 0.665241}),
        (("a", "b"), "multi_label_classification", [0.0, 1.0], {"a": 0.5, "b": 0.731059}),
        (("a", "b"), "regression", [0.0, 1.0], {}),
        (("stars",), None, [1.0], {}),
        (("stars",), "regression", [1.0], {}),
        (("toxic",), "single_label_classification", [1.0], {"toxic": 0.731059}),
        (("toxic",), "multi_label_classification", [1.0], {"toxic": 0.731059}),
        (("NEG", "POS"), None, [1.0], {"NEG": 0.268941, "POS": 0.731059}),
        (("NEG", "POS"), "single_label_classification", [1.0], {"NEG": 0.268941, "POS": 0.731059}),
        (("NEG", "POS"), "regression", [1.0], {}),
        (("a", "b", "c"), None, [0.0, 0.0], {"LABEL_0": 0.5, "LABEL_1": 0.5}),
        (None, None, [0.0, 0.0], {"LABEL_0": 0.5, "LABEL_1": 0.5}),
    ],
)
def test_outputs_become_probabilities(names: Any, problem_type: Any, outputs: list[float], expected: Any) -> None:
    assert Head(names, problem_type).probabilities(torch.tensor(outputs).double()) == {
        label: pytest.approx(share, abs=1e-6) for label, share in expected.items()
    }


def test_one_output_for_two_labels_speaks_for_the_second() -> None:
    head, logits = Head(("NEG", "POS")), torch.tensor([1.5])
    assert head.labels(1) == ("NEG", "POS")
    assert head.scores(logits).tolist() == [-1.5, 1.5]
    assert Choice().pick(head, logits) == Pick(1)
    assert Choice().pick(head, -logits) == Pick(0)
    assert [head.weights(Pick(i), 1) for i in (0, 1)] == [[-1.0], [1.0]]
    for contrast in ("NEG", "runner-up"):
        with pytest.raises(InputError, match="one output for 'NEG' and 'POS', which sets one against the other alr"):
            Choice("POS", contrast).pick(head, logits)


def test_a_choice_becomes_weights_of_the_outputs() -> None:
    head, logits = Head(("a", "b", "c")), torch.tensor([0.5, 2.0, 1.0])
    assert Choice().pick(head, logits) == Pick(1)
    assert Choice("a", "runner-up").pick(head, logits) == Pick(0, 1)
    assert Choice(None, "runner-up").pick(head, logits) == Pick(1, 2)
    assert Choice(2, "A").pick(head, logits) == Pick(2, 0)
    assert head.weights(Pick(2, 0), 3) == [-1.0, 0.0, 1.0]
    assert Choice("a").settled
    assert Choice("a", 1).settled
    assert not Choice().settled
    assert not Choice("a", "runner-up").settled
    with pytest.raises(InputError, match="contrast and target are both 'b': their difference is zero"):
        Choice(None, "b").pick(head, logits)
    with pytest.raises(InputError, match="the model has one"):
        Choice(None, "runner-up").pick(Head(), torch.tensor([1.0]))
    assert Choice(0, "runner-up").pick(Head(("a", "runner-up", "c")), logits) == Pick(0, 1)


MULTI = Head(("a", "b", "c"), "multi_label_classification")


@pytest.mark.parametrize(
    ("head", "several", "contrast", "expected"),
    [
        (MULTI, Several("all"), None, [0, 1, 2]),
        (MULTI, Several("all", 0.6), None, [1, 2]),
        (MULTI, Several("predicted"), None, [0, 1, 2]),
        (MULTI, Several("predicted", 0.7), None, [1, 2]),
        (MULTI, Several("predicted", 1.0), None, []),
        (MULTI, Several(("c", 0, "C")), None, [2, 0]),
        (MULTI, Several("all"), "b", [0, 2]),
        (MULTI, Several("all"), "runner-up", [0, 1, 2]),
        (Head(("a", "b", "c")), Several("predicted"), None, [1]),
        (Head(("a", "b", "c")), Several("predicted", 0.7), None, []),
        (Head(("a", "b", "c")), Several("all", 0.2), None, [1, 2]),
    ],
)
def test_several_labels_are_chosen(head: Head, several: Several, contrast: Any, expected: list[int]) -> None:
    picks = several.pick(head, Choice(None, contrast), torch.tensor([0.25, 2.0, 1.0]))
    assert [pick.target for pick in picks] == expected
    assert all((pick.contrast is None) == (contrast is None) and pick.contrast != pick.target for pick in picks)


def test_several_labels_that_cannot_be_are_said_so() -> None:
    with pytest.raises(InputError, match="did you mean 'a'"):
        Several(("a", "aa")).check(MULTI)
    with pytest.raises(InputError, match="targets is empty: name a label, or say 'all' or 'predicted'"):
        Several(()).check(MULTI)
    with pytest.raises(InputError, match=r"a threshold needs probabilities, and this model's output is a number"):
        Several("all", 0.5).pick(Head(("stars",)), Choice(), torch.tensor([1.0]))
    assert Several(("a",)).settled
    assert not Several("predicted").settled
    assert not Several("all", 0.5).settled


@pytest.mark.parametrize(
    ("id2label", "expected"),
    [
        (["NEG", "POS"], ("NEG", "POS")),
        ({"NEG": 0, "POS": 1}, ("NEG", "POS")),
        ({0: "N\nEG ", 1: "POS"}, ("N EG", "POS")),
        ({0: None, 1: "POS"}, ("LABEL_0", "POS")),
        ({0: "", 1: "POS"}, ("LABEL_0", "POS")),
        ({0: 0, 1: 1}, ("0", "1")),
        ({"0": 1, "1": 0}, ("1", "0")),
    ],
    ids=["list", "swapped", "line break", "null", "empty", "numbers", "numbers by text"],
)
def test_names_of_labels_are_read_however_a_config_writes_them(id2label: Any, expected: tuple[str, str]) -> None:
    assert Head.of(SimpleNamespace(id2label=id2label), None).labels(2) == expected
