"""The memory that is free, and the memory that a model needs: measured on a short part of a text before all is read.

It does not depend on architectures or configs: a short part of the text is explained, then one of twice as many ids,
and a polynomial of second degree, which attention follows, extrapolates their peaks.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from textlrp.guard.working_copy import parts_of

#: A control group with a limit of this size or more has no limit.
_NO_LIMIT = 1 << 60

#: The folder of the control groups, of both versions.
_GROUPS = Path("/sys/fs/cgroup")


# Free memory


def available(device: torch.device) -> int | None:
    """Return the free bytes of a device, or None if they are unknown.

    On a CPU, that is the least of those that the machine, a control group (a container's limit) and the process's own
    limit leave.
    """
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type != "cpu":
        return None
    return min((left for left in (_machine(), _process(), *_groups()) if left is not None), default=None)


def made_available(device: torch.device) -> int | None:
    """Return the free bytes of a device after idle memory was returned to it."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)  # the C library keeps freed blocks, which count as used
    return available(device)


def _machine() -> int | None:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system has them
        return None


def _process() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    statm = _lines(Path("/proc/self/statm"))
    if limit == resource.RLIM_INFINITY or not statm:
        return None
    return max(0, limit - int(statm[0].split()[0]) * resource.getpagesize())


def _groups() -> Iterator[int]:
    """Yield the bytes that each control group of this process leaves, and each group around it."""
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = _GROUPS, ("memory.max", "memory.current", ("inactive_file", "active_file"))
        elif "memory" in controllers.split(","):
            root = _GROUPS / "memory"
            names = (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                ("total_inactive_file", "total_active_file"),
            )
        else:
            continue
        folder = root / path.strip("/")
        for group in (folder, *folder.parents):
            left = _left(group, *names)
            if left is not None:
                yield left
            if group == root:
                break


def _left(folder: Path, limit: str, used: str, cached: tuple[str, str]) -> int | None:
    """Return the bytes that a control group leaves; its cache of files counts as free."""
    limits, uses = _lines(folder / limit), _lines(folder / used)
    if not limits or not uses or not limits[0].isdigit() or int(limits[0]) >= _NO_LIMIT:
        return None
    counts = (line.split() for line in _lines(folder / "memory.stat"))
    files = sum(int(count[1]) for count in counts if len(count) == 2 and count[0] in cached)
    return max(0, int(limits[0]) - max(0, int(uses[0]) - files))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, ValueError):  # not every system has it
        return []


# Needed memory


@dataclass(frozen=True)
class Growth:
    """The peak memory of an explanation in bytes: ``constant + ids * linear + ids ** 2 * pairs``."""

    constant: float
    linear: float
    pairs: float

    @classmethod
    def of(cls, peaks: Mapping[int, int]) -> Growth | None:
        """Return the growth through the longest measured texts, or None if fewer than two were measured.

        Args:
            peaks: the peak memory in bytes by the number of ids.
        """
        if len(peaks) < 2:
            return None
        *before, (n, low), (m, high) = [(0, 0), *sorted(peaks.items())]
        slope = (high - low) / (m - n)
        k, lowest = before[-1]
        pairs = max(0.0, (slope - (low - lowest) / (n - k)) / (m - k))
        linear = max(0.0, slope - pairs * (n + m))
        return cls(max(0.0, high - linear * m - pairs * m**2), linear, pairs)

    def at(self, rows: int, length: int) -> float:
        """Return the bytes for a batch of texts that are ``length`` ids long, padding included."""
        return rows * (self.constant + length * (self.linear + length * self.pairs))


def rough(model: nn.Module) -> Growth:
    """Guess from the shapes of its weights how much memory a model needs, to tell whether to measure it.

    Every matrix has an input row and an output row for each id; the number of attention heads is in no shape.
    """
    size = entries = matrices = 0
    for parameter in parts_of(model).parameters:
        if parameter.dim() > 1:
            size = max(size, parameter.element_size())
            matrices += 1
            entries += min(sum(parameter.shape), 1 << 16)  # a table has a row for each word, but only one is looked up
    return Growth(0.0, 2.0 * size * entries, 8.0 * size * 16 * (1 + matrices // 6))


def peak(model: nn.Module, run: Callable[[], Any]) -> int:
    """Return the peak memory of a call in bytes, with temporary results, without the model's own weights."""
    parts = parts_of(model)
    counter = _MemoryCounter((*parts.parameters, *parts.buffers))
    with counter:
        run()
    return counter.peak


class _MemoryCounter(TorchDispatchMode):
    """Counts the bytes of the storages that operations create, each once and for as long as it lives."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.peak, self._now = 0, 0
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._living: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return output

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in self._living:
            return

        def gone(_: Any) -> None:
            del self._living[key]
            self._now -= size

        self._living[key] = weakref.ref(storage, gone)
        self._now += size
        self.peak = max(self.peak, self._now)


def shown(size: float) -> str:
    """Return a number of bytes in GiB or MiB, for messages."""
    if size < 2**30:
        return f"{size / 2**20:,.0f} MiB"
    return f"{size / 2**30:,.{0 if size >= 10 * 2**30 else 1}f} GiB"
