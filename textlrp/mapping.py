"""torch.vmap over backward passes, without its warnings."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import torch

_warn_of_loops: Callable[[bool], None] = torch._C._functorch._set_vmap_fallback_warning_enabled  # type: ignore[attr-defined]
_mappings = 0
_lock = threading.Lock()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Let torch.vmap take what it cannot map (the backward of fused attention) one by one without a warning.

    The switch belongs to the process: it is back on when the last thread is done.
    """
    global _mappings
    with _lock:
        _mappings += 1
        _warn_of_loops(False)
    try:
        yield
    finally:
        with _lock:
            _mappings -= 1
            _warn_of_loops(not _mappings)
