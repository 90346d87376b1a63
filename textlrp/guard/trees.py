"""The tensors among the arguments and results of a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield every tensor in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(tuple(value.values()))


def replace(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return nested arguments with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)) and any(True for _ in tensors(value)):
        return type(value)(replace(item, change) for item in value) if type(value) in (list, tuple) else value
    if isinstance(value, dict):
        return {key: replace(item, change) for key, item in value.items()}
    return value


def carriers(args: Any, kwargs: dict[str, Any] | None = None) -> list[Tensor]:
    """Return the tensors among the arguments that carry relevance."""
    carrying: list[Tensor] = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            if value.requires_grad:
                carrying.append(value)
        elif isinstance(value, (list, tuple)):
            if value and not isinstance(value[0], int):  # most often a size, which holds no tensor
                carrying += carriers(value)
        elif isinstance(value, dict):
            carrying += carriers((), value)
    return carrying


def carries(args: Any, kwargs: dict[str, Any] | None = None) -> bool:
    """Return whether any tensor among the arguments carries relevance."""
    return bool(carriers(args, kwargs))


def detached(value: Any) -> Any:
    """Return nested arguments with every tensor detached."""
    return replace(value, Tensor.detach)


def bind(names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by their names, given the names of the positional ones."""
    return dict(zip(names, args, strict=False)) | kwargs
