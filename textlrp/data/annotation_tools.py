"""Rows as annotation tools export them, with the columns of any other table: what people chose and marked.

Label Studio (JSON, JSON-MIN, CSV), doccano, Prodigy, displaCy and brat. Labels become the column ``label``, marked
spans the column ``rationales``; what a model predicted is neither.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from textlrp.data.row_values import Fault, Row, columns_of
from textlrp.data.tables import Rows
from textlrp.results.spans import TEXT, TEXT_PAIR

Values = Mapping[str, Any]

#: The columns that Label Studio adds to those of a task.
_STUDIO = ("annotation_id", "annotator", "lead_time")

#: Columns of labels, the likeliest first; textlrp's project for Label Studio calls its choice "predicted".
LABELS = ("label", "labels", "class", "category", "sentiment")
_CHOICES = (*LABELS, "predicted")


def understood(rows: Rows) -> Rows:
    """Return the rows of an annotation tool's file with the columns ``label``, ``rationales`` and ``id``.

    Rows of any other table come back as they are. A text that several people annotated has the label that all of them
    chose, and the characters that more than half of them marked.
    """
    good = [values for _, values in rows.rows if not isinstance(values, Fault)]
    convert = next((convert for fits, convert in _TOOLS if any(map(fits, good))), None)
    if convert is None:
        return rows
    converted = _regrouped(convert(rows.rows))
    return replace(rows, columns=tuple(dict.fromkeys([*rows.columns, *columns_of(converted)])), rows=tuple(converted))


def by_annotator(rows: Rows) -> dict[str, Rows]:
    """Return the rows of each annotator by name, as far as the tool says who it was; else all under an empty name.

    Labels that a tool showed with the text are not the annotator's, and are left out.
    """
    kept: dict[str, list[Row]] = {}
    for where, values in rows.rows:
        if isinstance(values, Fault):
            kept.setdefault("", []).append((where, values))
        elif _is_task(values):
            for annotation in _annotations(values):
                name = _person(annotation.get("completed_by"))
                task = {**values, "data": _without(values["data"], LABELS), "annotations": [annotation]}
                kept.setdefault(name, []).append((where, task))
        else:
            name = _person(values.get("annotator", values.get("_annotator_id", values.get("_session_id"))))
            kept.setdefault(name, []).append((where, _own(values)))
    return {name: replace(rows, rows=tuple(listed)) for name, listed in kept.items()}


def _without(values: Values, names: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _own(values: Values) -> Values:
    """Return a row of another tool without the label that textlrp's export shows beside the text."""
    if isinstance(meta := values.get("meta"), Mapping):
        return {**values, "meta": _without(meta, ("given",))}
    shown = ("given", "label") if {"id", "source", "target"} <= values.keys() and "ents" in values else ("given",)
    return _without(values, shown)


def _person(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("email") or value.get("id")
    return "" if value is None else str(value)


# Label Studio


def _is_task(values: Values) -> bool:
    return isinstance(values.get("data"), Mapping) and any(
        isinstance(values.get(key), list) for key in ("annotations", "completions", "predictions")
    )


def _annotations(values: Values) -> list[Values]:
    listed = values.get("annotations", values.get("completions"))
    listed = listed if isinstance(listed, list) else []
    return [a for a in listed if isinstance(a, Mapping) and not a.get("was_cancelled") and _results(a)]


def _results(annotation: Values) -> list[Values]:
    listed = annotation.get("result")
    return (
        [r for r in listed if isinstance(r, Mapping) and isinstance(r.get("value"), Mapping)]
        if isinstance(listed, list)
        else []
    )


def _tasks(rows: Sequence[Row]) -> list[Row]:
    controls = dict.fromkeys(
        str(result.get("from_name"))
        for _, values in rows
        if not isinstance(values, Fault)
        for annotation in _annotations(values)
        for result in _results(annotation)
        if "choices" in result["value"]
    )
    label = _choice_of(list(controls))
    return [(where, values if isinstance(values, Fault) else _task(values, label)) for where, values in rows]


def _choice_of(controls: Sequence[str]) -> str | None:
    """Return the control or column that holds the label: a usual name, or the only one."""
    usual = (name for name in _CHOICES for control in controls if control.lower() == name)
    return next(usual, controls[0] if len(controls) == 1 else None)


def _task(values: Values, label: str | None) -> Values:
    data = values["data"]
    row = {**values, **data}
    if "document" in data:
        row["id"] = data["document"]
    people = _annotations(values)
    if not people:
        return row
    chosen = [
        tuple(result["value"]["choices"])
        for annotation in people
        for result in _results(annotation)
        if result.get("from_name") == label and isinstance(result["value"].get("choices"), list)
    ]
    if label is not None:
        row["label"] = list(chosen[0]) if chosen and len(set(chosen)) == 1 else None
    marks = [_merged(map(_region, _regions(annotation)), row.get("label")) for annotation in people]
    row["rationales"] = _majority(marks)
    return row


def _regions(annotation: Values) -> list[Values]:
    """Return the marked regions of the text; of a second text, there are other ones."""
    regions = [result for result in _results(annotation) if _start_end(result["value"]) is not None]
    names = list(dict.fromkeys(result.get("to_name") for result in regions))
    wanted = TEXT if TEXT in names or names == [TEXT_PAIR] else next(iter(names), None)
    return [result["value"] for result in regions if result.get("to_name") == wanted]


def _region(value: Values) -> dict[str, Any]:
    place = _start_end(value)
    labels = value.get("labels", value.get("hypertextlabels"))
    return {"start": place[0], "end": place[1], "labels": labels} if place is not None else {}


def _start_end(value: Values) -> tuple[Any, Any] | None:
    place = value.get("globalOffsets", value)
    start, end = (place.get("start"), place.get("end")) if isinstance(place, Mapping) else (None, None)
    return (start, end) if type(start) is int and type(end) is int else None


def _majority(marks: Sequence[list[list[Any]]]) -> list[list[Any]]:
    """Return the characters that more than half of several people marked, as ranges."""
    if len(marks) == 1:
        return marks[0]
    counts = Counter(at for ranges in marks for start, end in ranges for at in range(start, end))
    common = sorted(at for at, count in counts.items() if 2 * count > len(marks))
    return _merged(({"start": at, "end": at + 1} for at in common), None, touching=True)


def _is_row_of_studio(values: Values) -> bool:
    return any(key in values for key in _STUDIO)


def _studio_rows(rows: Sequence[Row]) -> list[Row]:
    """Read JSON-MIN and CSV, where each control is a column, in CSV as JSON."""
    parsed = [
        (where, v if isinstance(v, Fault) else {key: _parsed(value) for key, value in v.items()}) for where, v in rows
    ]
    good = [values for _, values in parsed if not isinstance(values, Fault)]
    columns = columns_of(parsed)
    choices = [c for c in columns if any(isinstance(v.get(c), Mapping) and "choices" in v[c] for v in good)]
    usual = [column for column in columns if column.lower() in LABELS]
    ours = {"document", "predicted"} <= set(columns)  # textlrp's project: "label" is what the data gave
    label = "predicted" if ours else _choice_of(usual or choices)
    spans = next((c for c in columns if any(_are_spans(v.get(c)) for v in good)), None)
    read: list[Row] = []
    for where, values in parsed:
        if not isinstance(values, Fault):
            row = dict(values)
            if "document" in values:
                row["id"] = values["document"]
            if label is not None:
                row["label"] = values.get(label)
            if spans is not None:
                row["rationales"] = _merged(values.get(spans) or [], row.get("label"))
            values = row
        read.append((where, values))
    return read


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


# Prodigy, doccano and displaCy


def _is_prodigy(values: Values) -> bool:
    answered = values.get("answer") in ("accept", "reject", "ignore")
    return answered or "_task_hash" in values or ("tokens" in values and "meta" in values and "spans" in values)


def _prodigy(rows: Sequence[Row]) -> list[Row]:
    return [(where, v if isinstance(v, Fault) else _answer(v)) for where, v in rows]


def _answer(values: Values) -> Values:
    """Read one answer: what is rejected or ignored says nothing of the right label, and marks nothing."""
    meta = values.get("meta") if isinstance(values.get("meta"), Mapping) else {}
    assert isinstance(meta, Mapping)
    accepted = values.get("answer", "accept") == "accept"
    label = values.get("accept", values.get("label", meta.get("given"))) if accepted else None
    row = {**meta, **values, "label": label}
    row["rationales"] = _merged(values.get("spans") or [], label) if accepted else []
    return row


def _is_doccano(values: Values) -> bool:
    classified = "Comments" in values and any(isinstance(values.get(key), list) for key in ("label", "labels"))
    return classified or any(_are_spans(values.get(key)) for key in ("label", "labels", "entities"))


def _doccano(rows: Sequence[Row]) -> list[Row]:
    read: list[Row] = []
    for where, values in rows:
        if not isinstance(values, Fault):
            row = dict(values)
            key = next((key for key in ("entities", "label", "labels") if _are_spans(values.get(key), True)), None)
            if key is not None:
                row["label"] = values.get("cats", values.get("given"))
                text = values.get("text")
                at = _utf16(text) if isinstance(text, str) else {}
                row["rationales"] = _merged(values[key], row["label"], at=at)
                row.pop("labels", None)
            values = row
        read.append((where, values))
    return read


def _utf16(text: str) -> dict[int, int]:
    """Return the character at which each UTF-16 unit begins, and the end; doccano counts in these units."""
    places, units = {0: 0}, 0
    for number, char in enumerate(text, 1):
        units += 2 if char > "\uffff" else 1
        places[units] = number
    return places


def _is_displacy(values: Values) -> bool:
    return isinstance(values.get("ents"), list) and "text" in values


def _displacy(rows: Sequence[Row]) -> list[Row]:
    return [
        (where, v if isinstance(v, Fault) else {**v, "rationales": _merged(v.get("ents") or [], v.get("label"))})
        for where, v in rows
    ]


def _is_brat(values: Values) -> bool:
    return values.keys() <= {"id", "text", "text_pair", "spans"} and _are_spans(values.get("spans"), True)


def _brat(rows: Sequence[Row]) -> list[Row]:
    return [
        (where, v if isinstance(v, Fault) else {**v, "rationales": _merged(v.get("spans") or [], None)})
        for where, v in rows
    ]


_TOOLS: tuple[tuple[Callable[[Values], bool], Callable[[Sequence[Row]], list[Row]]], ...] = (
    (_is_task, _tasks),
    (_is_prodigy, _prodigy),
    (_is_doccano, _doccano),
    (_is_displacy, _displacy),
    (_is_brat, _brat),
    (_is_row_of_studio, _studio_rows),
)


# Spans


def _are_spans(value: Any, or_empty: bool = False) -> bool:
    if not isinstance(value, list) or not (value or or_empty):
        return False
    return all(_place(span) is not None and (isinstance(span, Mapping) or len(span) == 3) for span in value)


def _place(span: Any) -> tuple[int, int, tuple[str, ...]] | None:
    """Return the start, the end and the labels of a span, or None if it is none."""
    if isinstance(span, Mapping):
        start = span.get("start", span.get("start_offset"))
        end = span.get("end", span.get("end_offset"))
        labels = span.get("labels", span.get("label"))
    elif isinstance(span, (list, tuple)) and len(span) >= 2:
        start, end, labels = span[0], span[1], span[2] if len(span) > 2 else None
    else:
        return None
    if type(start) is not int or type(end) is not int:
        return None
    named = labels if isinstance(labels, (list, tuple)) else () if labels is None else (labels,)
    return start, end, tuple(map(str, named))


def _merged(
    spans: Iterable[Any], label: Any, *, at: Mapping[int, int] | None = None, touching: bool = False
) -> list[list[Any]]:
    """Return the ranges that spans mark as reasons, without overlap and in order.

    textlrp exports spans as "for POS" and "against POS". What speaks against a label is no reason for it, and neither
    is what speaks for another one than the right label, if that is known.

    Args:
        spans: spans of any tool; what is none stays as it is, to be refused.
        label: the right label, if it is known.
        at: the character of each unit in which the tool counts; a unit inside a character stays out of range.
        touching: whether ranges that touch are one.
    """
    ranges: list[list[Any]] = []
    odd: list[list[Any]] = []
    for span in spans:
        place = _place(span)
        if place is None:
            odd.append(list(span) if isinstance(span, (list, tuple)) else [span])
        elif _speaks_for(place[2], label):
            start, end = place[:2] if at is None else (at.get(place[0], -1), at.get(place[1], -1))
            ranges.append([start, end])
    merged: list[list[Any]] = []
    for start, end in sorted(ranges):
        if merged and (start < merged[-1][1] or (touching and start == merged[-1][1])):
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    return [*merged, *odd]


def _speaks_for(labels: Sequence[str], label: Any) -> bool:
    if not labels:
        return True
    single = label[0] if isinstance(label, list) and len(label) == 1 else label
    right = f"for {single}".casefold() if isinstance(single, str) else None
    for name in labels:
        if name.startswith("against "):
            continue
        if right is None or not name.startswith("for ") or name.casefold() == right:
            return True
    return False


def _regrouped(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that textlrp exported, one for each text and target, as one for each document."""
    read: list[Row] = []
    places: dict[Any, int] = {}
    for where, values in rows:
        if isinstance(values, Fault) or not {"id", "source", "target"} <= values.keys():
            read.append((where, values))
            continue
        identity, is_pair = values["id"], values["source"] == TEXT_PAIR
        if not isinstance(identity, str) or identity not in places:
            places[identity if isinstance(identity, str) else None] = len(read)
            read.append((where, values))
            continue
        place, kept = read[places[identity]]
        assert not isinstance(kept, Fault)
        if is_pair:
            read[places[identity]] = place, {**kept, TEXT_PAIR: values.get(TEXT)}
        elif values.get(TEXT) == kept.get(TEXT):
            spans = [*(kept.get("rationales") or []), *(values.get("rationales") or [])]
            read[places[identity]] = place, {**kept, "rationales": _merged(spans, None)}
        else:
            read.append((where, values))
    return read
