"""The renderer that explanations show themselves with (:class:`textlrp.results.rendering.Renderer`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from textlrp.results.explanation import Explanation

# Each form is loaded when it is asked for: pages need no rich, and terminals no jinja.


def terminal(explanation: Explanation, by: str = "word") -> RenderableType:
    """Return what rich prints."""
    from textlrp.render.terminal import render

    return render(explanation, by)


def page(explanation: Explanation, by: str = "word") -> str:
    """Return a whole HTML page."""
    from textlrp.render import page

    return page.page(explanation, by)


def fragment(explanation: Explanation, by: str = "word") -> str:
    """Return one HTML element for a notebook."""
    from textlrp.render import page

    return page.fragment(explanation, by)
