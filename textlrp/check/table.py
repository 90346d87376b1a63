"""An audit and a cost as tables for the terminal, in ASCII, aligned here so that a pipe gets the same columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from textlrp.basics.characters import printable
from textlrp.check.audit import Audit
from textlrp.check.checks import Check
from textlrp.check.cost import FORWARD, GRADIENT, CandidateCost, Cost
from textlrp.render.format import named, signed
from textlrp.results.ledger import HEADINGS, REFERENCE, REFERENCE_PINNED, RESIDUE, TOKENS, Ledger

_TITLE = 10  # columns of "versions" and the space behind it
_GAP = "  "
_HOLD = "words hold"
_SHOWN = 5  # hypotheses, or words for labels
_ALWAYS = (REFERENCE, REFERENCE_PINNED, TOKENS)  # rows that are shown even where they are 0
_RESULTS = {True: ("passed", "green"), False: ("FAILED", "bold red"), None: ("skipped", "yellow")}


class AuditView:
    """Shows an audit: the model, the rules of its operations, the ledgers, the cost, and the checks."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Lines for a pipe or a file are not wrapped, so that messages can be searched for.
        width = None if options.no_wrap else options.max_width
        for line in _lines(self._audit, width, console):
            if width is None:
                yield from line.render(console, end="\n")
            else:
                yield line


def _lines(audit: Audit, width: int | None, console: Console) -> Iterator[Text]:
    yield from _description(audit, width, console)
    yield Text()
    yield from _texts(audit, width)
    if any(preset.met for preset in audit.presets):
        yield Text()
        yield from _operations(audit)
    if any(ledger is not None for preset in audit.presets for ledger in preset.ledgers):
        yield from _ledgers(audit, width, console)
    yield Text()
    yield from cost_lines(audit.cost)
    yield Text()
    for check in audit.checks:
        yield from _check(check, width, console)
    yield Text()
    yield _verdict(audit)


def _description(audit: Audit, width: int | None, console: Console) -> Iterator[Text]:
    kind = f" ({audit.model_type})" if audit.model_type else ""
    attention = f", {audit.attention} attention" if audit.attention else ""
    labels = f", {_count(audit.labels, 'label')}" if audit.labels else ""
    size = f"{_count(audit.parameters, 'parameter')}{labels}"
    versions = ", ".join(f"{name} {version}" for name, version in audit.versions.items() if name != "platform")
    parts = {
        "model": f"{named(audit.model)}: {audit.architecture}{kind}{attention}, {size}",
        "task": _task(audit),
        "tokenizer": audit.tokenizer,
        "computed": f"in {audit.dtype or 'no dtype'} on {audit.device}, {audit.versions.get('platform', '')}",
        **({"quantized": audit.quantized} if audit.quantized else {}),
        "versions": versions,
    }
    for title, value in parts.items():
        yield from _hanging(Text.assemble((title.ljust(_TITLE), "dim"), printable(value)), _TITLE, width, console)


def _task(audit: Audit) -> str:
    """Return what the model is asked, in how many runs, and beside which words."""
    runs = f", in {audit.runs} runs a text" if audit.runs > 1 else ""
    beside = "; ".join(repr(words) for words in audit.beside[:_SHOWN])
    more = f"; ... ({len(audit.beside)} in all)" if len(audit.beside) > _SHOWN else ""
    return f"{audit.task}{runs}{f', beside {beside}{more}' if beside else ''}"


def _texts(audit: Audit, width: int | None) -> Iterator[Text]:
    digits = max(len(str(document.tokens)) for document in audit.documents)
    counts = [
        "unread"
        if document.tokens is None
        else f"{document.tokens:{digits}} ids{', cut' if document.truncated else ''}"
        for document in audit.documents
    ]
    wide = max(map(len, counts))
    for i, (document, count) in enumerate(zip(audit.documents, counts, strict=True), 1):
        both = " | ".join(filter(None, (document.text, document.text_pair)))
        text = printable(both, "\n\t").replace("\n", " ").replace("\t", " ")
        line = Text.assemble((f"text {i}".ljust(_TITLE), "dim"), count.ljust(wide), _GAP, text)
        if width is not None and line.cell_len > width:
            line.truncate(width - 3)
            line.append("...")
        yield line


def _operations(audit: Audit) -> Iterator[Text]:
    """Yield a table of operations, their rules, and how often each set of rules used them."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for preset in audit.presets:
        for name, rule, count in preset.met:
            counts.setdefault((name, rule), {})[preset.name] = count
    names = [preset.name for preset in audit.presets]
    rows = [["operation", "rule", *map(named, names)]]
    for (name, rule), row in sorted(counts.items()):
        rows.append([printable(name), printable(rule), *(str(row.get(preset, "-")) for preset in names)])
    yield from _grid(rows, left=2)


def _ledgers(audit: Audit, width: int | None, console: Console) -> Iterator[Text]:
    """Yield the ledgers as columns, as many side by side as fit."""
    columns = [
        _ledger_column(preset.name if i == 0 else "", f"text {i + 1}", ledger)
        for preset in audit.presets
        for i, ledger in enumerate(preset.ledgers)
    ]
    headings = [heading for heading in HEADINGS if any(heading in column for column in columns)]
    labels = ["", "", "logit", *headings, RESIDUE, _HOLD]
    start = max(map(cell_len, labels))
    while columns:
        taken, room = 0, (width or 10_000) - start
        while taken < len(columns) and (not taken or room >= _wide(columns[taken]) + len(_GAP)):
            room -= _wide(columns[taken]) + len(_GAP)
            taken += 1
        part, columns = columns[:taken], columns[taken:]
        yield Text()
        yield from _grid(
            [
                ["ledger" if i == 1 else label, *(column.get(key, "-") for column in part)]
                for i, (label, key) in enumerate(zip(labels, ["preset", "text", *labels[2:]], strict=True))
            ],
            left=1,
            titles=2,
        )
    sentence = f"The last row is what the words hold: a share of {_explained(audit)}."
    yield from _hanging(Text(sentence, style="dim"), 0, width, console)
    pinned_by = dict.fromkeys(name for preset in audit.presets for name in preset.pinned_by)
    if pinned_by:
        sentence = (
            f"The reference is pinned: it keeps what the text chose by {', '.join(map(printable, pinned_by))} "
            f"(the experts of a token, say), so it is not what the model alone says of it."
        )
        yield from _hanging(Text(sentence, style="dim"), 0, width, console)


def _explained(audit: Audit) -> str:
    """Return what the words hold a share of, by each kind of rules."""
    references = dict.fromkeys(preset.reference for preset in audit.presets if preset.reference is not None)
    measured = f"the logit minus that of the reference ({printable(', '.join(references))})"
    if not references:
        return "the logit"
    if all(preset.reference is not None for preset in audit.presets):
        return measured
    return f"the logit, or by difference rules of {measured}"


def _ledger_column(preset: str, text: str, ledger: Ledger | None) -> dict[str, str]:
    column = {"preset": named(preset), "text": text}
    if ledger is None:
        return column
    scale = max((abs(value) for value in (ledger.logit, *ledger.rows.values())), default=0.0)
    column["logit"] = signed(ledger.logit, scale)
    shown = {heading: value for heading, value in ledger.rows.items() if value != 0 or heading in _ALWAYS}
    column.update({heading: signed(value, scale) for heading, value in shown.items()})
    column[RESIDUE] = f"{ledger.residue:+.0e}" if ledger.residue else "0"
    return column if ledger.held is None else {**column, _HOLD: f"{100 * ledger.held:.0f} %"}


def _wide(column: dict[str, str]) -> int:
    return max(cell_len(value) for value in column.values())


def cost_lines(cost: Cost | str, title: str = "cost") -> Iterator[Text]:
    """Yield the table of costs, or the reason why they were not measured."""
    if isinstance(cost, str):
        yield Text.assemble((title.ljust(_TITLE), "dim"), f"not measured: {printable(cost)}")
        return
    rows = [[title, "time", "ratio", "quartiles", "activations", "ratio"]]
    rows += [_cost_row(run) for run in cost.runs]
    yield from _grid(rows, left=1)
    setting = f"{cost.batch} x {cost.sequence} ids, {_count(cost.threads, 'thread')}"
    yield Text(f"{setting}, medians of {_count(cost.repeats, 'repeat')}, ratios to {GRADIENT}", style="dim")


def _cost_row(run: CandidateCost) -> list[str]:
    ratio = run.to_gradient
    quartiles = "" if run.name == GRADIENT else f"{ratio.low:.2f} to {ratio.high:.2f}"
    share = "" if run.saved_to_gradient is None or run.name == FORWARD else f"{run.saved_to_gradient:.2f}"
    return [run.name, _seconds(run.seconds.median), f"{ratio.median:.2f}", quartiles, size(run.saved), share]


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.1f} ms"


def size(value: int) -> str:
    """Return a number of bytes in KiB or MiB."""
    return f"{value / 2**20:.1f} MiB" if value >= 2**20 else f"{value / 2**10:.0f} KiB" if value else "0"


def _check(check: Check, width: int | None, console: Console) -> Iterator[Text]:
    result, style = _RESULTS[check.passed]
    detail = "" if check.value is None else _number(check.value)
    if check.value is not None and check.limit is not None:
        detail += f" (limit {_number(check.limit)})"
    detail = ": ".join(filter(None, (detail, check.detail)))
    start = f"{result:9}{check.name:18}"
    line = Text.assemble((start[:9], style), start[9:], printable(detail, "\n").replace("\n", " "))
    yield from _hanging(line, len(start), width, console)


def _number(value: float) -> str:
    return f"{value:.0e}" if value else "0"


def _verdict(audit: Audit) -> Text:
    failed = [check.name for check in audit.checks if check.passed is False]
    skipped = sum(1 for check in audit.checks if check.passed is None)
    more = f", {skipped} skipped" if skipped else ""
    if failed:
        listed = ", ".join(failed)
        return Text(f"{len(failed)} of {len(audit.checks)} checks failed ({listed}){more}", style="bold red")
    return Text(f"{len(audit.checks) - skipped} of {len(audit.checks)} checks passed{more}", style="bold green")


def _grid(rows: Sequence[Sequence[str]], left: int, titles: int = 1) -> Iterator[Text]:
    """Yield rows as columns: the first ``left`` aligned left, the others right; titles are dim."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for i, row in enumerate(rows):
        cells = [
            value + " " * (width - cell_len(value)) if j < left else " " * (width - cell_len(value)) + value
            for j, (value, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield Text(_GAP.join(cells).rstrip(), style="dim" if i < titles else "")


def _hanging(line: Text, indent: int, width: int | None, console: Console) -> Iterator[Text]:
    """Yield a line wrapped to the width, indented to the column of its value."""
    if width is None or width < indent + 20:
        yield line
        return
    head, rest = line.divide([indent])
    for i, part in enumerate(rest.wrap(console, width - indent)):
        part.rstrip()
        yield Text.assemble(head if i == 0 else " " * indent, part)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
