"""Colors, Content-Security-Policy and templates of all pages; the templates escape everything."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from textlrp.basics.characters import printable
from textlrp.render.format import shown

#: The colors of a page as CSS variables; :mod:`textlrp.render.palette` has those of relevance.
LIGHT = (
    "color-scheme:light;--paper:#ffffff;--soft:#f6f7f9;--ink:#1c1f24;--muted:#59616b;--line:#dde1e6;"
    "--for:#c75f00;--against:#2f6fd0;--total:#59616b"
)
DARK = (
    "color-scheme:dark;--paper:#18181b;--soft:#212126;--ink:#e8e8ea;--muted:#a3a6ad;--line:#3a3a42;"
    "--for:#f0953a;--against:#6fa3f5;--total:#a3a6ad"
)

# A name may break after each of these parts.
_PARTS = re.compile(r"[^_/.:-]+[_/.:-]*|[_/.:-]+")


def themes() -> str:
    """Return the colors of a page: those of the system or of ``<html data-theme>``; paper is always light."""
    return (
        f":root{{{LIGHT}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{DARK}}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{{DARK}}}}}\n"
    )


def policy(sheet: str, *scripts: str) -> str:
    """Return the Content-Security-Policy of a page that has these inline blocks and loads nothing."""
    script_source = f"script-src {' '.join(map(_digest, scripts))}; " if scripts else ""
    return (
        f"default-src 'none'; style-src {_digest(sheet)}; {script_source}img-src data:; base-uri 'none'; "
        f"form-action 'none'"
    )


def _digest(block: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"


@cache
def environment() -> Environment:
    """Return the environment of the templates: it escapes everything, and a missing value is an error."""
    made = Environment(
        loader=PackageLoader("textlrp.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Replace control characters, and halves of surrogate pairs, which UTF-8 cannot hold.
        finalize=lambda value: shown(value) if type(value) is str else value,
    )
    made.filters["breakable"] = breakable
    # No markup can isolate a window's title.
    made.filters["printable"] = lambda title: type(title)(printable(title))
    return made


def source(name: str) -> str:
    """Return the content of a file of the folder ``templates``."""
    made = environment()
    assert made.loader is not None
    return made.loader.get_source(made, name)[0]


def breakable(name: str) -> Markup:
    """Return a name as HTML that may break after each of its parts, as in ``owner/model_of-something``."""
    return Markup("<wbr>").join(_PARTS.findall(shown(name)))
