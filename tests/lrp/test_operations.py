"""The table of operations: every name in it is a function of the installed torch, and every kind has a rule."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.lrp import operations, token_tracking
from textlrp.lrp.difference import lockstep
from textlrp.lrp.dispatch import HANDLERS

OWNERS = [owner for _, owner in operations._OWNERS]


@pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="an older torch lacks some of the names")
def test_every_name_in_the_table_is_a_function_of_this_torch():
    names = {name for names in (operations._PLAIN, *operations._KINDS.values()) for name in names}
    unknown = [name for name in names if not any(callable(getattr(owner, name, None)) for owner in OWNERS)]
    assert unknown == []


def test_every_name_that_token_tracking_knows_is_a_function_of_this_torch():
    names = {*token_tracking._FRESH, *token_tracking._PLAIN, *token_tracking._FLOAT_LOOKUPS, *operations._VALUES}
    owners = [*OWNERS, torch.Tensor]
    # copy and fill are written in place alone: copy_, fill_.
    assert [n for n in names if not any(hasattr(o, n) or hasattr(o, f"{n}_") for o in owners)] == []


def test_every_kind_has_a_rule():
    assert set(operations.KINDS.values()) == {*HANDLERS, operations.PLAIN}
    assert all(kind in lockstep.HANDLERS for kind in {*operations.DIFFERENCE_KINDS.values()} - {"refused"})


def test_every_function_that_writes_in_place_has_a_rule_for_what_it_writes():
    """Some have one under difference rules alone: a product of all entries, a rectifier."""
    for function in operations.OUT_OF_PLACE:
        plain = operations.KINDS.get(function) in HANDLERS
        assert plain or operations.DIFFERENCE_KINDS[function] in {*lockstep.HANDLERS, "refused"}, function


@pytest.mark.parametrize(
    ("function", "kind", "name", "stem", "in_place"),
    [
        (torch.add, "additive", "torch.add", "add", False),
        (Tensor.add_, "additive", "Tensor.add_", "add", True),
        (Tensor.__iadd__, "additive", "Tensor.__iadd__", "__iadd__", True),
        (F.linear, "linear", "F.linear", "linear", False),
        (Tensor.copy_, "affine", "Tensor.copy_", "copy", True),
        (Tensor.__setitem__, "affine", "Tensor.__setitem__", "__setitem__", True),
        (torch.relu, operations.PLAIN, "torch.relu", "relu", False),
        (Tensor.T.__get__, operations.PLAIN, "Tensor.T", "T", False),
    ],
)
def test_functions_are_known_by_kind_and_name(function, kind, name, stem, in_place):
    assert operations.KINDS[function] == kind
    assert (operations.name(function), operations.stem(function)) == (name, stem)
    assert operations.is_in_place(function) is in_place
