"""The reference run: beside each tensor that depends on the input ids, its value in a run of the model on a reference.

Difference rules measure each operation from what it gives on a neutral text (Shrikumar et al. 2017). Both runs are one
forward pass, in lockstep: a tensor that depends on the ids carries its *partner*, its value in the reference run, as an
attribute, which dies with it. Operations that write in place write to both, and views have views for partners. So
nothing is recorded or matched, and the model is called once.

What the model chooses by the text (the entries that top-k keeps, the experts of a token, the positions that it counts)
is chosen by the text in both runs: the reference is then *pinned*. Integers and booleans that come from activations
therefore have no partner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from textlrp.guard import trees
from textlrp.lrp import operations, surrogate

_PARTNER = "_textlrp_partner"
#: Functions that give Python a value, on which a model may decide.
_READS_VALUES = frozenset(
    "__bool__ __int__ __index__ __float__ __contains__ item tolist equal allclose is_nonzero".split()
)
#: The mean row of embedding tables, and by what to tell whether a table has changed since.
_means = WeakIdKeyDictionary()


def partner(x: Tensor) -> Tensor | None:
    """Return the partner of a tensor, or None if it does not depend on the ids."""
    known: Tensor | None = getattr(x, _PARTNER, None)
    if known is None and x._is_view():
        base: Any = x._base
        of_base: Tensor | None = getattr(base, _PARTNER, None)
        if of_base is not None:  # the base was written with activations after this view of it was made
            known = of_base.as_strided(x.size(), x.stride(), x.storage_offset())
            setattr(x, _PARTNER, known)
    return known


def attach(x: Tensor, value: Tensor) -> None:
    """Give a tensor its partner, a tensor of its shape."""
    setattr(x, _PARTNER, value)


def value(x: Tensor) -> Tensor:
    """Return what a tensor is in the reference run: its partner, or the tensor itself if it does not depend on ids."""
    known = partner(x)
    return x if known is None else known


def difference(x: Tensor) -> Tensor:
    """Return a tensor without its value in the reference run, or under rules from zero the tensor itself."""
    known = partner(x)
    return x.detach() if known is None else x.detach() - known


def like(x: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``make(x)``, a copy or a view of a tensor, with the same made of its partner."""
    made, known = make(x), partner(x)
    if known is not None:
        attach(made, make(known))
    return made


def marks(args: Any, kwargs: dict[str, Any] | None = None) -> tuple[bool, bool]:
    """Return what of the reference run is among some arguments that carry no relevance.

    Returns:
        Whether there are activations, detached ones then, and whether there are ids.
    """
    detached = ids = False
    for argument in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(argument, Tensor):
            if not argument.requires_grad and partner(argument) is not None:
                detached, ids = detached or _is_float(argument), ids or not _is_float(argument)
        elif isinstance(argument, (list, tuple)):
            if argument and not isinstance(argument[0], int):  # most often a size, which holds no tensor
                of_items = marks(argument)
                detached, ids = detached or of_items[0], ids or of_items[1]
        elif isinstance(argument, dict):
            of_items = marks((), argument)
            detached, ids = detached or of_items[0], ids or of_items[1]
    return detached, ids


def _is_float(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


def of_floats(values: Any) -> Any:
    """Return some values with each floating-point tensor exchanged for its value in the reference run."""
    if isinstance(values, tuple):
        return tuple(_of_float(x) for x in values) if values else values
    return {key: _of_float(x) for key, x in values.items()} if values else values


def _of_float(x: Any) -> Any:
    if isinstance(x, Tensor):
        return value(x) if x.requires_grad or _is_float(x) else x
    return trees.replace(x, _of_float) if isinstance(x, (list, tuple, dict)) else x


def without_partners(values: Any) -> Any:
    """Return some values with copies in place of the activations, for functions whose nodes keep what they read.

    A node keeps the Python objects of tensors that it saves, and with them their partners, as long as the graph. So
    does a view of them.
    """
    return trees.replace(values, lambda x: x.clone() if x.requires_grad and partner(x) is not None else x)


def attach_all(results: Any, partners: Any) -> None:
    """Give each floating-point tensor of some results its partner."""
    if isinstance(results, Tensor):
        results, partners = (results,), (partners,)
    for y, known in zip(trees.tensors(results), trees.tensors(partners), strict=True):
        if _is_float(y) and y is not known:
            setattr(y, _PARTNER, known.detach() if known.requires_grad else known)


def run_both(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return the results of a function in the two runs, without gradients."""
    with torch.no_grad():
        own = func(*trees.detached(args), **trees.detached(kwargs))
        return own, func(*of_floats(args), **of_floats(kwargs))


def writable(x: Tensor) -> Tensor:
    """Return the partner of a tensor that is about to be written with activations."""
    known = partner(x)
    if known is None:
        base: Any = x._base if x._is_view() else x
        of_base = torch.empty_strided(base.size(), base.stride(), dtype=base.dtype, device=base.device)
        attach(base, of_base.copy_(base.detach()))
        known = partner(x)
        assert known is not None
    return known


def stand_in(steps: Tensor, func: Any, args: Any, kwargs: Any) -> Tensor:
    """Return the result of a function with the gradient of ``steps``, the same value step by step, in both runs."""
    out = surrogate.stand_in(steps, func(*trees.detached(args), **trees.detached(kwargs)))
    if partner(steps) is not None:  # of the function too, not of the steps, whose rounding is another
        with torch.no_grad():
            attach(out, func(*of_floats(args), **of_floats(kwargs)))
    return out


def overwrite(target: Tensor, result: Tensor) -> Tensor:
    """Overwrite a tensor and its partner with a result and its partner."""
    known = writable(target)
    with torch.no_grad():
        known.copy_(value(result))
    return target.copy_(result)


class ReferenceRun:
    """The reference of one forward pass.

    Args:
        ids: the ids of the reference, ``[batch, sequence]``.
        rows: ``"mean"`` or ``"zero"``: what stands for the embeddings at ``replaced`` positions in place of those of
            the ids; None if the ids alone decide.
        replaced: those positions, ``[batch, sequence]``.

    Attributes:
        ids: as given.
        looked_up: the table and the rows of each lookup of ids so far, in order.
        rows: ``"mean"``, ``"zero"`` or None, as given.
        cut: whether the model has detached activations. What it makes of them may lose its partner.
    """

    def __init__(self, ids: Tensor, rows: str | None = None, replaced: Tensor | None = None) -> None:
        self.ids = ids
        self.rows, self._replaced = rows, None if replaced is None else replaced.reshape(-1)
        self.looked_up: list[tuple[Tensor, Tensor]] = []
        self.cut = False
        self._pinned: list[tuple[str, bool | Tensor]] = []

    def start(self, input_ids: Tensor) -> None:
        """Begin a forward pass on these ids, which get their partner."""
        self.looked_up.clear()
        self.cut = False
        self._pinned.clear()
        attach(input_ids, self.ids.clone())

    def lookup(self, table: Tensor, index: Tensor, origins: tuple[Tensor, ...]) -> Callable[[], Tensor]:
        """Return a function that looks up the reference's rows of a table.

        Args:
            table: the embedding table.
            index: the indices in the reference run.
            origins: for each index, the flat position of its id, or -1; several for indices made of several ids.
        """

        def rows() -> Tensor:
            found = torch.nn.functional.embedding(index, table)
            if self.rows is None or self._replaced is None:
                return found
            # Ids of other inputs come after those of the text, and are the same in both runs.
            last = len(self._replaced) - 1
            replaced = (self._replaced[origin.clamp(0, last)] & (origin >= 0) & (origin <= last) for origin in origins)
            places = torch.stack([*replaced]).any(0)
            row = _mean(table) if self.rows == "mean" else table.new_zeros(table.shape[1])
            return torch.where(places[..., None], row.to(found.dtype), found)

        return rows

    def compare(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Note whether a choice that the text decides would be another one in the reference run.

        Args:
            func, args, kwargs: the function that chose.
            out: its result.
        """
        stem = operations.stem(func)
        if operations.is_in_place(func) or stem in ("numpy", "__array__"):  # it cannot run twice, or leaves torch
            self.note_ids(func, args, kwargs)
            return
        with torch.no_grad():
            own = func(*trees.replace(args, value), **trees.replace(kwargs, value))
        for x, y in zip(trees.tensors(out), trees.tensors(own), strict=False):
            if x.shape != y.shape or not _is_float(x):
                self._note(func, (x != y).any() if x.shape == y.shape else True)
            elif partner(x) is None:  # a number that was made of ids or of a choice
                self._note(func, ~torch.isclose(x, y, equal_nan=True).all())
        if stem in _READS_VALUES and out != own:
            self._note(func, True)

    def note_ids(self, func: Any, args: Any, kwargs: Any) -> None:
        """Note whether ids that are used as numbers or as indices are other ones in the reference run."""
        for x in trees.tensors((args, kwargs)):
            known = partner(x)
            if known is not None and not _is_float(x):
                self._note(func, (x != known).any())

    def compare_values(self, func: Any, args: Any, kwargs: Any, partners: Any) -> None:
        """Note whether the values that a choice moves would be other ones in the reference run.

        Args:
            func, args, kwargs: the function that chose.
            partners: the reference's values at the places that the text chose, for each floating-point result.
        """
        with torch.no_grad():
            own = func(*trees.replace(args, value), **trees.replace(kwargs, value))
        for x, y in zip(trees.tensors(partners), (y for y in trees.tensors(own) if _is_float(y)), strict=True):
            self._note(func, ~torch.isclose(x, y).all())

    def _note(self, func: Any, pinned: bool | Tensor) -> None:
        """Note whether a choice was pinned."""
        self._pinned.append((operations.name(func), pinned))

    @property
    def pinned(self) -> tuple[str, ...]:
        """The functions by which the text chose otherwise than the reference would have, by name."""
        return tuple(dict.fromkeys(name for name, pinned in self._pinned if bool(pinned)))


def _mean(table: Tensor) -> Tensor:
    """Return the mean row of a table.

    It is remembered until the table changes. What is written through ``.data`` leaves no count of writes, so a column
    and a row are compared, too.
    """
    seen: tuple[Any, ...] | None
    row: Tensor | None
    now = table._version, table.data_ptr(), table.detach()[:, 0].sum(), table.detach()[-1].sum()
    seen, row = _means.get(table, (None, None))
    if row is None or seen is None or seen[:2] != now[:2] or not all(map(torch.equal, seen[2:], now[2:])):
        row = table.detach().mean(0, dtype=torch.promote_types(table.dtype, torch.float32))
        _means[table] = (now, row)
    return row
