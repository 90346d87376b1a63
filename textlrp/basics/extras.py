"""Libraries for some functions, which are installed as extras: ``pip install "textlrp[evaluate]"``."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from textlrp.errors import LRPError

#: The names of libraries that differ from the names of their modules.
_NAMES = {"sklearn": "scikit-learn"}


def check(library: str, extra: str, use: str) -> None:
    """Check that a library is installed, without importing it.

    Args:
        library: its module's name.
        extra: the extra of textlrp that contains it.
        use: the function that needs it, as the subject of the message.

    Raises:
        LRPError: it is not installed; the sentence says how to install it.
    """
    if importlib.util.find_spec(library) is None:
        name = _NAMES.get(library, library)
        raise LRPError(f'{use} needs {name}, which is not installed: pip install "textlrp[{extra}]"')


def load(module: str, extra: str, use: str) -> Any:
    """Import and return a module of a library.

    Raises:
        LRPError: as :func:`check`.
    """
    check(module.partition(".")[0], extra, use)
    return importlib.import_module(module)
