"""Every error of textlrp can be copied and sent to another process with its class, message and attributes."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from example_explanations import explanation

import textlrp
from textlrp.errors import BatchError, InputError, LRPError, ModelError

COPIES: dict[str, Callable[[LRPError], LRPError]] = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),  # type: ignore[no-any-return]
    "old pickle": lambda error: pickle.loads(pickle.dumps(error, 0)),  # type: ignore[no-any-return]
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def kinds(of: type[LRPError] = LRPError) -> Iterator[type[LRPError]]:
    """Every class of error that textlrp has, wherever it is defined."""
    yield of
    for subclass in of.__subclasses__():
        yield from kinds(subclass)


def made(kind: type[LRPError]) -> LRPError:
    """An error of a class, with attributes and a note."""
    if issubclass(kind, BatchError):
        failed: dict[int, LRPError] = {1: InputError("the text is empty"), 3: ModelError("no")}
        error: LRPError = kind(failed, 4, [explanation("a fine text"), None, explanation("more"), None])
    else:
        error = kind(f"{kind.__name__}: 'é' ☃ 7 %")
    error.add_note("while explaining a review")
    return error


def raise_it(kind: type[LRPError]) -> None:
    raise made(kind)


def assert_same(other: BaseException | None, error: LRPError) -> None:
    assert type(other) is type(error)
    assert isinstance(other, LRPError)
    assert str(other) == str(error)
    assert other.args == error.args
    assert other.__notes__ == ["while explaining a review"]
    if isinstance(error, BatchError):
        assert isinstance(other, BatchError)
        assert {i: (type(failure), str(failure)) for i, failure in other.errors.items()} == {
            1: (InputError, "the text is empty"),
            3: (ModelError, "no"),
        }
        assert other.explanations == error.explanations


def all_kinds() -> list[type[LRPError]]:
    for module in pkgutil.walk_packages(textlrp.__path__, "textlrp."):
        if module.name != "textlrp.__main__":
            importlib.import_module(module.name)
    return [kind for kind in kinds() if kind.__module__.split(".")[0] == "textlrp"]


def test_there_are_several_kinds() -> None:
    assert {BatchError, InputError, LRPError, ModelError} <= set(all_kinds())


@pytest.mark.parametrize("way", COPIES)
def test_every_error_is_copied_with_class_message_and_attributes(way: str) -> None:
    for kind in all_kinds():
        error = made(kind)
        assert_same(COPIES[way](error), error)


def test_a_class_that_takes_other_arguments_is_copied_too() -> None:
    assert_same(pickle.loads(pickle.dumps(_Own(3, reason="x"))), _Own(3, reason="x"))
    assert vars(copy.copy(_Own(3, reason="x")))["count"] == 3


class _Own(InputError):
    def __init__(self, count: int, *, reason: str) -> None:
        self.count = count
        super().__init__(f"{count} failed: {reason}")
        self.add_note("while explaining a review")


def test_every_error_crosses_the_border_of_a_process() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for kind in all_kinds():
            assert_same(pool.submit(raise_it, kind).exception(), made(kind))
