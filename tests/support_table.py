"""The support table in the README: written from the sweep's reports, never by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import architecture_sweep
import tiny_models
import torch
import transformers

BEGIN, END = "<!-- support table: begin -->", "<!-- support table: end -->"
COMMAND = "pytest tests/lrp/test_architectures.py --write-support-table"

NOTES = {
    "one_at_a_time": "its documents share a tensor, so a batch is explained one document at a time",
    "padding_counts": "the model itself reads padding: a document's own logits change with it",
    "mixes": "the model itself mixes the documents of a batch",
    "draws": "the model draws random numbers: textlrp seeds them",
}


def versions() -> str:
    """What the table holds for."""
    return f"transformers {transformers.__version__} and torch {torch.__version__.partition('+')[0]}"


def block(reports: Mapping[str, architecture_sweep.Report]) -> str:
    """The README's part between the markers, from a report of every architecture."""
    closed = [name for name, report in reports.items() if not report.complaints]
    left_out = "; ".join(f"`{name}` is left out: {reason}" for name, reason in tiny_models.LEFT_OUT.items())
    presets = " and ".join(architecture_sweep.PRESETS)
    notes = "; ".join(f"{number}: {text}" for number, text in enumerate(NOTES.values(), 1))
    return "\n".join(
        [
            BEGIN,
            f"**{len(closed)} of the {len(tiny_models.CLASSES)} architectures** with which transformers classifies "
            f"text balance their books, with {versions()} ({left_out}). Each is a small random model with a "
            f"padded batch of three documents, explained by {presets}: its logits equal "
            f"those of the plain model, every document's ledger closes to 1e-4 in float32 and to 1e-9 in float64, its "
            f"relevances equal those it gets alone, and padding gets none. `{COMMAND}` writes this table.",
            "",
            "<details>",
            "<summary>All architectures</summary>",
            "",
            "| architecture | eager | sdpa | largest imbalance, float32 | float64 | notes |",
            "|---|---|---|---|---|---|",
            *(_row(name, report) for name, report in sorted(reports.items())),
            "",
            f"Notes. {notes}.",
            "",
            "</details>",
            END,
        ]
    )


def _row(name: str, report: architecture_sweep.Report) -> str:
    attentions = [_mark(report, attention) for attention in ("eager", "sdpa")]
    imbalances = [_bound(report, dtype) for dtype in architecture_sweep.DTYPES]
    notes = [str(number) for number, attribute in enumerate(NOTES, 1) if getattr(report, attribute)]
    return f"| `{name}` | {' | '.join([*attentions, *imbalances, ', '.join(notes)])} |".replace("|  |", "| |")


def _mark(report: architecture_sweep.Report, attention: str) -> str:
    found = [finding for finding in report.findings if finding.attention == attention]
    return ("no" if any(finding.complaints for finding in found) else "yes") if found else "–"


def _bound(report: architecture_sweep.Report, dtype: str) -> str:
    """The power of ten above the largest imbalance, not below what rounding may add on another machine."""
    largest = max(finding.imbalance for finding in report.findings if finding.dtype == dtype)
    exponent = {"float32": -5, "float64": -12}[dtype]
    while largest > 10.0**exponent:
        exponent += 1
    return f"< 1e{exponent}"


def read(readme: Path) -> str:
    """The block that a README holds, markers included, or nothing."""
    text = readme.read_text(encoding="utf-8")
    start, end = text.find(BEGIN), text.find(END)
    return text[start : end + len(END)] if start >= 0 <= end else ""


def write(readme: Path, new: str) -> None:
    """Put a block in place of the one that a README holds, or at its end."""
    text, old = readme.read_text(encoding="utf-8"), read(readme)
    readme.write_text(text.replace(old, new) if old else f"{text.rstrip()}\n\n{new}\n", encoding="utf-8")
