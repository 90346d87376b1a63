"""The renderer that results show themselves by: it is imported here alone, when a result is first shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import RenderableType


class Renderer(Protocol):
    """Shows explanations, their text colored by ``"token"``, ``"word"`` or ``"sentence"``."""

    def terminal(self, explanation: Any, by: str = "word") -> RenderableType:
        """Return an object that rich prints."""

    def page(self, explanation: Any, by: str = "word") -> str:
        """Return a whole HTML page."""

    def fragment(self, explanation: Any, by: str = "word") -> str:
        """Return one HTML element for a notebook."""


def renderer() -> Renderer:
    """Return the renderer of :mod:`textlrp.render`, a room above this one.

    The import is late, so that reading and checking results loads neither rich nor jinja.
    """
    from textlrp.render import explanations

    return explanations
