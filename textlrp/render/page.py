"""One explanation as HTML: a page of its own, or a fragment for notebooks. It has no script and loads nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from textlrp.basics.characters import HIDDEN
from textlrp.render import html, palette
from textlrp.render import page_parts as parts
from textlrp.render.format import exactness, number, rewriting
from textlrp.render.page_layers import layers
from textlrp.render.verdict import PINNED, color_end, none_reached, sentences
from textlrp.results.graphemes import direction, whole_units

if TYPE_CHECKING:
    from textlrp.results.explanation import Explanation

_LABELS = 10  # labels that are shown without opening a list

# Selectors of dark notebooks and dark pages of documentation: JupyterLab, VS Code, Colab, Sphinx, Quarto, marimo.
_DARK_HOSTS = (
    "body[data-jp-theme-light=false]",
    "body.vscode-dark",
    "body.vscode-high-contrast",
    "html[theme=dark]",
    "html[data-theme=dark]",
    "body.quarto-dark",
    "html.dark",
    "body.dark",
)


def page(explanation: Explanation, by: str = "word") -> str:
    """Return an explanation as a whole page, its text colored by ``"token"``, ``"word"`` or ``"sentence"``."""
    sheet = Markup(f"{html.themes()}{palette.stylesheet()}{html.source('page.css')}{_styles(explanation)}")
    return _render("explanation.html", explanation, by, sheet=sheet, policy=html.policy(sheet))


def fragment(explanation: Explanation, by: str = "word", *, styled: bool = True, places: Collection[str] = ()) -> str:
    """Return an explanation as one element for a notebook; it follows the notebook's theme and changes nothing else.

    Args:
        explanation: the explanation.
        by: the unit that is colored: ``"token"``, ``"word"`` or ``"sentence"``.
        styled: whether the styles are included; a page that already has them needs none.
        places: the units that get their place as an attribute, so that a script finds them
            (:func:`textlrp.render.page_parts.place`).
    """
    dark = f"{html.DARK};{palette.css_variables(dark=True)}"
    hosts = ",".join(f"{host} .textlrp" for host in _DARK_HOSTS)
    sheet = Markup(
        f".textlrp{{{html.LIGHT};{palette.css_variables()}}}\n@media screen{{{hosts}{{{dark}}}}}\n"
        f"{palette.css_rules('.textlrp')}\n{_styles(explanation)}"
    )
    return _render("explanation_fragment.html", explanation, by, places, sheet=sheet if styled else "")


def _styles(e: Explanation) -> str:
    return html.source("explanation.css") + (html.source("layers.css") if e.layers else "")


def _render(template: str, e: Explanation, by: str, places: Collection[str] = (), **more: Any) -> str:
    units = e.units(by)
    shown_by = {
        source: whole_units(text, tuple(span for span in units if span.source == source)) for source, text, _ in e.texts
    }
    strongest = color_end(e, (span for spans in shown_by.values() for span in spans))
    titles = ("",) if e.text_pair is None else ("First text", "Second text")
    return (
        html.environment()
        .get_template(template)
        .render(
            e=e,
            by=by,
            hidden=HIDDEN,
            share=parts.share(e, e.predicted),
            none_reached=none_reached(e),
            predicted_labels=[(label, parts.share(e, label)) for label in e.predicted_labels],
            target_share=parts.share(e, e.target),
            strongest=(number(-strongest, strongest), number(strongest, strongest)),
            threshold=number(palette.THRESHOLD * strongest, strongest).lstrip("+"),
            swatches=[palette.css_class(step / palette.STEPS) for step in range(-palette.STEPS, palette.STEPS + 1)],
            passages=[
                parts.Passage(
                    title,
                    direction(text),
                    parts.notice(text, cut),
                    parts.pieces(
                        text,
                        shown_by[source],
                        strongest,
                        cut,
                        e,
                        {span.start: key for span in shown_by[source] if (key := parts.place(count, span)) in places},
                    ),
                )
                for count, (title, (source, text, cut)) in enumerate(zip(titles, e.texts, strict=True), 1)
            ],
            most=parts.most(shown_by, strongest),
            listed=parts.listed(shown_by, strongest),
            ledger=parts.ledger_rows(e.ledger),
            around=parts.around(e, strongest),
            said=sentences(e, number),
            pinned=PINNED if e.ledger.pinned else "",
            notes=" ".join(filter(None, (exactness(e.ledger), rewriting(e)))),
            labels=parts.label_rows(e),
            openly=_LABELS,
            facts=parts.facts(e, by),
            command=parts.command(e, by),
            layers=layers(e, by),
            **more,
        )
    )
