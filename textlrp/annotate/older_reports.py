"""Lines that were made in another report, an older one as a rule, for documents whose text is unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textlrp.report.reading import SentDocument, SentReport


class OlderReports:
    """Fits lines of other reports to a report, and counts those that fit and those that do not.

    Attributes:
        taken: how many lines fitted.
        left: how many had a text that the report does not have, or has several times under other ids.
    """

    def __init__(self, report: SentReport) -> None:
        self._report = report
        self._by_text: dict[tuple[str, str | None], list[SentDocument]] = {}
        for document in report.documents.values():
            self._by_text.setdefault((document.text, document.text_pair), []).append(document)
        self.taken = self.left = 0

    def fit(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a line as this report's, or None if no document has its text.

        A verdict is on the label that the older model gave. Where the model of this report gives another one, the
        label that followed from the verdict is kept in its place.
        """
        text, pair = values.get("text"), values.get("text_pair")
        found = self._by_text.get((text, pair), []) if isinstance(pair, str | None) and isinstance(text, str) else []
        same_id = [document for document in found if document.id == values.get("document")]
        if not same_id and len(found) != 1:
            self.left += 1
            return None
        document = (same_id or found)[0]
        fitted = {**values, "report": self._report.id, "document": document.id}
        predicted = values.get("predicted")
        if not isinstance(predicted, list) or sorted(map(str, predicted)) != sorted(document.chosen):
            fitted["labels"], fitted["verdict"] = self._right(values), None
        self.taken += 1
        return fitted

    def _right(self, values: Mapping[str, Any]) -> Any:
        labels, verdict, predicted = (values.get(key) for key in ("labels", "verdict", "predicted"))
        if labels is not None or not isinstance(predicted, list):
            return labels
        others = [label for label in self._report.labels if label not in predicted]
        if verdict == "agree":
            return predicted
        return others if verdict == "disagree" and len(others) == 1 and not self._report.multi else None
