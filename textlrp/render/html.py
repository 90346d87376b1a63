"""What every page is made with: its colors, its policy, and templates that escape whatever they are given."""

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

# Where a name may break: behind these.
_PARTS = re.compile(r"[^_/.:-]+[_/.:-]*|[_/.:-]+")


def themes() -> str:
    """Return the colors of a page: as the system has it, or as ``<html data-theme>`` says; paper is always light."""
    return (
        f":root{{{LIGHT}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{DARK}}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{{DARK}}}}}\n"
    )


def policy(sheet: str, *scripts: str) -> str:
    """Return the Content-Security-Policy of a page that has these inline blocks and takes nothing from anywhere."""
    script_source = f"script-src {' '.join(map(_digest, scripts))}; " if scripts else ""
    return (
        f"default-src 'none'; style-src {_digest(sheet)}; {script_source}img-src data:; base-uri 'none'; "
        f"form-action 'none'"
    )


def _digest(block: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"


@cache
def environment() -> Environment:
    """Return what fills in the templates: everything is escaped, and nothing may be missing."""
    made = Environment(
        loader=PackageLoader("textlrp.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Whatever a template shows has no control characters and no halves of characters, which UTF-8 cannot hold.
        finalize=lambda value: shown(value) if type(value) is str else value,
    )
    made.filters["breakable"] = breakable
    # A window's title stands beside those of other pages, and no markup isolates it.
    made.filters["printable"] = lambda title: type(title)(printable(title))
    return made


def source(name: str) -> str:
    """Return a file of the folder ``templates`` as it is."""
    made = environment()
    assert made.loader is not None
    return made.loader.get_source(made, name)[0]


def breakable(name: str) -> Markup:
    """Return a name as HTML that breaks a line where its parts end, as in ``owner/model_of-something``."""
    return Markup("<wbr>").join(_PARTS.findall(shown(name)))
