"""Label Studio: tasks with the model's relevance as predictions, and the labeling configuration that shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from textlrp.basics.characters import encodable
from textlrp.data.records import Record
from textlrp.export.colors import colors
from textlrp.export.marks import Selection, select
from textlrp.results.explanation import Explanation
from textlrp.results.spans import TEXT, TEXT_PAIR

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def label_studio(records: Sequence[Record], selection: Selection) -> dict[str, str]:
    """Return the files ``tasks.json``, to import, and ``config.xml``, the project's labeling configuration.

    A task has one prediction for each target, with the predicted labels as choices and the highest probability as
    the score. A region's score is its share of the strongest relevance, and its note gives the relevance itself.
    Label Studio counts code points in ``<Text>``: its editor converts from UTF-16 both ways, and shows ``\\r`` and
    ``\\n`` as one line break each, so offsets stay right. A pair of texts becomes two ``<Text>``.

    Sources: https://labelstud.io/guide/predictions (format); ``charsToCodePoints`` and ``codePointsToChars`` in
    https://github.com/HumanSignal/label-studio/blob/develop/web/libs/editor/src/utils/selection-tools.js (units).
    """
    pairs = any(record.text_pair is not None for record in records)
    tasks = [_task(record, selection, pairs) for record in records]
    return {
        "tasks.json": json.dumps(tasks, ensure_ascii=False, indent=1, allow_nan=False) + "\n",
        "config.xml": _config(records, pairs),
    }


def _task(record: Record, selection: Selection, pairs: bool) -> dict[str, Any]:
    data = {
        "document": encodable(record.id),
        TEXT: encodable(record.text),
        **({TEXT_PAIR: encodable(record.text_pair or "")} if pairs else {}),
        "predicted": encodable(", ".join(record.explanation.predicted_labels)),
        **({"label": encodable(record.label)} if record.label is not None else {}),
        **({"labels": list(map(encodable, record.labels))} if record.labels else {}),
    }
    return {"data": data, "predictions": [_prediction(e, selection) for e in record.explanations]}


def _prediction(explanation: Explanation, selection: Selection) -> dict[str, Any]:
    predicted = explanation.predicted
    result: list[dict[str, Any]] = [
        {
            "id": "predicted",
            "from_name": "predicted",
            "to_name": TEXT,
            "type": "choices",
            "value": {"choices": list(map(_choice, explanation.predicted_labels))},
        }
    ]
    for i, mark in enumerate(select(explanation, selection), 1):
        result.append(
            {
                "id": f"span-{i}",
                "from_name": _control(mark.source),
                "to_name": mark.source,
                "type": "labels",
                "value": {"start": mark.start, "end": mark.end, "text": mark.text, "labels": [_shown(mark.label)]},
                "score": mark.share,
                "meta": {"text": [f"relevance {mark.relevance:+.4g}"]},
            }
        )
    against = f" against {explanation.contrast}" if explanation.contrast is not None else ""
    start = f" from {explanation.reference.name}" if explanation.reference is not None else ""
    version = f"{explanation.model or 'textlrp'}, {explanation.rules}{start}: {explanation.target}{against}"
    prediction: dict[str, Any] = {"model_version": encodable(version), "result": result}
    if predicted in explanation.probabilities:
        prediction["score"] = explanation.probabilities[predicted]
    return prediction


def _config(records: Sequence[Record], pairs: bool) -> str:
    view = ElementTree.Element("View")
    names = dict.fromkeys(_choice(name) for record in records for e in record.explanations for name in e.logits)
    several = any(e.multi_label for record in records for e in record.explanations)
    choices = ElementTree.SubElement(
        view, "Choices", name="predicted", toName=TEXT, choice="multiple" if several else "single"
    )
    for name in names:
        ElementTree.SubElement(choices, "Choice", value=name)
    for source in (TEXT, TEXT_PAIR) if pairs else (TEXT,):
        control = ElementTree.SubElement(view, "Labels", name=_control(source), toName=source)
        for name, color in {_shown(name): color for name, color in colors(records).items()}.items():
            ElementTree.SubElement(control, "Label", value=name, background=color.hex)
        ElementTree.SubElement(view, "Text", name=source, value=f"${source}", valueType="text", saveTextResult="yes")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _control(source: str) -> str:
    return "relevance" if source == TEXT else "relevance_pair"


def _shown(name: str) -> str:
    """Return a label without the control characters that XML cannot hold."""
    return _NO_XML.sub("\ufffd", name)


def _choice(name: str) -> str:
    """Return a choice's value; Label Studio would take a leading ``$`` for the name of a task's field."""
    shown = _shown(name)
    return f"label {shown}" if shown.startswith("$") or not shown.strip() else shown
