"""Properties that are computed on first use, without a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class lazy(Generic[T]):
    """A property that is computed once and then kept among the attributes of its object.

    ``functools.cached_property`` of Python 3.11 holds one lock for all objects of a class, and an interrupt just before
    the release leaves it held, so that every other thread waits forever. Here two threads may both compute the value,
    which is the same.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function, self.__doc__ = function, function.__doc__
        self._name = function.__name__

    def __get__(self, instance: Any, owner: Any = None) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        value = vars(instance)[self._name] = self._function(instance)
        return value
