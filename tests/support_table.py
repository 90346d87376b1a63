"""The support table in docs/architectures.md: written from the sweep's reports, never by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import architecture_sweep
import tiny_models
import torch
import transformers

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
BEGIN, END = "<!-- support table: begin -->", "<!-- support table: end -->"
COMMAND = "pytest tests/lrp/test_architectures.py --write-support-table"

NOTES = {
    "one_at_a_time": "The documents of a batch share a tensor, so they are explained one at a time.",
    "padding_counts": "The model itself reads padding: a document's own logits change with it.",
    "mixes": "The model itself mixes the documents of a batch.",
    "draws": "The model draws random numbers; textlrp seeds them.",
    "pinned": "The model chooses by the text; under difference rules the reference is run with the text's choices.",
}


def versions() -> str:
    """Return the versions that the table holds for."""
    return f"transformers {transformers.__version__} and torch {torch.__version__.partition('+')[0]}"


def block(reports: Mapping[str, architecture_sweep.Report]) -> str:
    """Return the part of the page between the markers, from a report of every architecture."""
    closed = [name for name, report in reports.items() if not report.complaints]
    left_out = " ".join(f"`{name}` is left out: {reason}." for name, reason in tiny_models.LEFT_OUT.items())
    presets = f"{', '.join(architecture_sweep.PRESETS[:-1])} and {architecture_sweep.PRESETS[-1]}"
    return "\n".join(
        [
            BEGIN,
            f"The ledgers of **{len(closed)} of the {len(tiny_models.CLASSES)} architectures** with which transformers "
            f"classifies text close, with {versions()}. `{COMMAND}` measures it and writes this table. {left_out}",
            "",
            f"Each architecture is tried as a small random model with a padded batch of three documents, explained by "
            f"{presets}. Its logits equal those of the plain model; every document's ledger closes to 1e-4 in float32 "
            f"and to 1e-9 in float64; the relevances of a document equal those that it gets alone; padding gets none; "
            f"and under difference rules, the logits of the reference equal the plain model's on the reference's ids, "
            f"unless they are pinned (note 5).",
            "",
            "| architecture | eager | sdpa | difference | largest imbalance, float32 | float64 | notes |",
            "|---|---|---|---|---|---|---|",
            *(_row(name, report) for name, report in sorted(reports.items())),
            "",
            *(f"{number}. {note}" for number, note in enumerate(NOTES.values(), 1)),
            END,
        ]
    )


def _row(name: str, report: architecture_sweep.Report) -> str:
    attentions = [_mark(report, attention) for attention in ("eager", "sdpa")]
    imbalances = [_bound(report, dtype) for dtype in architecture_sweep.DTYPES]
    notes = [str(number) for number, attribute in enumerate(NOTES, 1) if getattr(report, attribute)]
    measured = [finding for finding in report.findings if finding.rules == "difference"]
    difference = "no" if any(finding.complaints for finding in measured) else "pinned" if report.pinned else "yes"
    return f"| `{name}` | {' | '.join([*attentions, difference, *imbalances, ', '.join(notes)])} |".replace(
        "|  |", "| |"
    )


def _mark(report: architecture_sweep.Report, attention: str) -> str:
    findings = [finding for finding in report.findings if finding.attention == attention]
    if not findings:
        return "–"
    return "no" if any(finding.complaints for finding in findings) else "yes"


def _bound(report: architecture_sweep.Report, dtype: str) -> str:
    """Return the power of ten above the largest imbalance, or a larger one that rounding may reach elsewhere."""
    largest = max(finding.imbalance for finding in report.findings if finding.dtype == dtype)
    exponent = {"float32": -5, "float64": -12}[dtype]
    while largest > 10.0**exponent:
        exponent += 1
    return f"< 1e{exponent}"


def read() -> str:
    """Return the block that the page holds, markers included, or nothing."""
    text = PAGE.read_text(encoding="utf-8")
    start, end = text.find(BEGIN), text.find(END)
    return text[start : end + len(END)] if start >= 0 <= end else ""


def write(new: str) -> None:
    """Put a block in place of the one that the page holds, or at its end."""
    text, old = PAGE.read_text(encoding="utf-8"), read()
    PAGE.write_text(text.replace(old, new) if old else f"{text.rstrip()}\n\n{new}\n", encoding="utf-8")
