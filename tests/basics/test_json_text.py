"""Explanations as JSON: short, with a span on each line, and held about once while they are written."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from example_explanations import explanation

from textlrp.basics.json_text import json_text


def test_what_a_list_or_an_object_holds_has_a_line_each() -> None:
    values = {"a": 1, "many": [{"x": "ä\n"}, {}], "none": [], "names": {"b": [1, 2]}, "empty": {}, "last": None}
    assert (
        json_text(values)
        == """{
  "a": 1,
  "many": [
    {"x": "ä\\n"},
    {}
  ],
  "none": [],
  "names": {
    "b": [1, 2]
  },
  "empty": {},
  "last": null
}
"""
    )


@pytest.mark.parametrize("values", [{}, {"a": {"b": [{"c": {"d": '\u2028"\\'}}]}}, {"ü": [[], [1.5, True, None]]}])
def test_it_is_the_same_to_a_reader(values: dict[str, Any]) -> None:
    assert json.loads(json_text(values)) == values


def test_lists_may_be_iterators() -> None:
    assert json_text({"a": iter([1, 2])}) == json_text({"a": [1, 2]})


@pytest.mark.parametrize("values", [{"a": float("nan")}, {"a": [float("inf")]}, {"a": {"b": float("-inf")}}])
def test_what_is_no_json_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(values)


def test_a_long_document_is_held_a_few_times_over_at_most() -> None:
    text = "great film, " * 3_000
    made = explanation(text)
    assert len(made.words) == 15_000  # with the spaces
    assert len(made.sentences) == 1
    tracemalloc.start()
    try:
        written = made.to_json()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(written)
    assert len(written) < 130 * (len(made.words) + len(made.tokens))
    assert json.loads(written) == made.to_dict()


def test_what_would_command_a_terminal_is_escaped() -> None:
    text = "\x1b[31m \x7f \x9b2J \u202eabc\u202c \u2028 \ud800 é 👩\u200d🚀 \U0001d400"
    written = json_text({text: [text, {"a": text}]})
    assert json.loads(written) == {text: [text, {"a": text}]}
    line = r'"\u001b[31m \u007f \u009b2J \u202eabc\u202c \u2028 \ud800 é 👩' + "\u200d🚀 \U0001d400" + '"'
    assert written == f'{{\n  {line}: [\n    {line},\n    {{"a": {line}}}\n  ]\n}}\n'
