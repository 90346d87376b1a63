"""The page of the local server: its markup, its data and its policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from markupsafe import Markup

from textlrp.render import html as pages
from textlrp.render import palette
from textlrp.render.format import named, number, percent
from textlrp.render.page_parts import BUILT_IN
from textlrp.render.verdict import none_reached, plain, sentences
from textlrp.results.explanation import Explanation
from textlrp.results.reference import WORDLESS
from textlrp.rules import PRESETS

#: The text that the page shows with the built-in classifier.
EXAMPLE = "A wonderful cast and a moving story.\nBut the ending is dull, and the jokes are never funny."

# One block: each part declares what the parts after it use.
_SCRIPTS = ("serve_words.js", "serve_compare.js", "serve_side.js", "serve_link.js", "serve.js")
_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


class Named(Protocol):
    """A model, as far as the page shows it."""

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def mask(self) -> str: ...


def page(models: Sequence[Named]) -> tuple[str, str]:
    """Return the page and its Content-Security-Policy."""
    sheet = Markup(
        f"{pages.themes()}{palette.stylesheet()}{pages.source('page.css')}{pages.source('explanation.css')}"
        f"{pages.source('serve.css')}"
    )
    script = Markup("\n".join(map(pages.source, _SCRIPTS)))
    own = pages.policy(sheet, script)
    html = (
        pages.environment()
        .get_template("serve.html")
        .render(
            policy=own + "; connect-src 'self'",
            sheet=sheet,
            script=script,
            data=Markup(_data(models)),
            presets=list(PRESETS),
            references=list(WORDLESS),
            example=EXAMPLE if models and models[0].name == BUILT_IN else "",
        )
    )
    return html, f"{own}; connect-src 'self'; frame-ancestors 'none'"


def summary(explanation: Explanation) -> str:
    """Return the sentence that a screen reader says about an explanation."""
    shares = explanation.probabilities
    labels = [
        f"{named(label)}, {percent(shares[label])}" if label in shares else named(label)
        for label in explanation.predicted_labels
    ]
    said = "; ".join(labels) or plain(none_reached(explanation))
    what = named(explanation.target)
    if explanation.contrast is not None:
        what += f" and not {named(explanation.contrast)}"
    measured = plain(sentences(explanation, number))
    return f"{said}. Explained: {what}.{' ' if measured else ''}{measured}"


def _data(models: Sequence[Named]) -> str:
    listed: list[dict[str, Any]] = [
        {"name": named(model.name), "labels": list(model.labels), "mask": named(model.mask)} for model in models
    ]
    return json.dumps({"models": listed}).translate(_UNSAFE)
