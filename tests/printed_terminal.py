"""What a terminal shows of an explanation, as text."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from textlrp.render import terminal
from textlrp.results.explanation import Explanation


def printed(e: Explanation, color: str | None = None, width: int = 80, wrap: bool = True, by: str = "word") -> str:
    options: dict[str, Any] = {"color_system": color, "force_terminal": True} if color else {"color_system": None}
    console = Console(file=io.StringIO(), width=width, highlight=False, legacy_windows=False, **options)
    console.print(e if by == "word" else terminal.render(e, by), soft_wrap=not wrap)
    written: str = console.file.getvalue()  # type: ignore[attr-defined]
    return written
