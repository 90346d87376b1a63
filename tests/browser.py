"""Chromium for the tests of pages: offline, with a record of whatever a page tries to do.

The fixture `browser` of conftest.py starts it and marks the test as one that needs it:

    def test_it(browser: Browser, tmp_path: Path) -> None:
        with opened(browser, path, width=360, dark=True) as (page, seen):
            ...
            assert complaints(page) == []
        assert seen.nothing
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    *"--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update".split(),
    *"--disable-sync --disable-dev-shm-usage --no-proxy-server".split(),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium; the test is skipped where it, or playwright, is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install 'textlrp[dev]')")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        try:
            yield started
        finally:
            started.close()


def executable() -> str:
    """Where Chromium or Chrome is; the test is skipped where it is not."""
    for name in (os.environ.get("CHROMIUM", ""), "/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name) if name else None
        if found:
            return found
    pytest.skip("needs Chromium: install the package chromium, or set CHROMIUM to its path")


@dataclass
class Seen:
    """What a page did beyond showing itself."""

    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        """Whether it ran nothing that failed or spoke, broke no policy and asked for nothing from outside."""
        assert (self.dialogs, self.errors, self.requests) == ([], [], [])
        return True


@contextmanager
def opened(
    browser: Browser, place: Path | str, *, width: int = 1000, height: int = 800, dark: bool = False, **options: Any
) -> Iterator[tuple[Page, Seen]]:
    """Open a file, or an address of this machine, in a context of its own, and record what it does.

    Args:
        browser: what :func:`chromium` started.
        place: a file's path, or an address.
        width, height: size of the view in pixels.
        dark: whether the system is dark.
        options: what else playwright's ``new_context`` takes (``java_script_enabled=False``, ``has_touch=True``, ...).
    """
    address = place.absolute().as_uri() if isinstance(place, Path) else place
    with browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", **options
    ) as context:
        page = context.new_page()
        seen = watch(page, address)
        page.goto(address)
        yield page, seen


def watch(page: Page, address: str) -> Seen:
    """Record what a page does from now on. What its own server or folder holds, or the page itself, is no request."""
    seen = Seen()
    own = urlsplit(address)

    def dialog(shown: Any) -> None:
        seen.dialogs.append(f"{shown.type}: {shown.message}")
        shown.dismiss()

    def console(message: Any) -> None:
        # A policy that was broken is reported here, too.
        if message.type in ("error", "warning") or message.text.startswith("hacked"):
            seen.errors.append(f"{message.type}: {message.text}")

    def request(sent: Any) -> None:
        to = urlsplit(sent.url)
        at_home = (to.scheme, to.netloc) == (own.scheme, own.netloc)
        if own.scheme == "file":
            at_home = at_home and to.path.rpartition("/")[0] == own.path.rpartition("/")[0]
        if not at_home and to.scheme not in ("data", "blob", "about"):
            seen.requests.append(sent.url)

    page.on("dialog", dialog)
    page.on("console", console)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("request", request)
    return seen


def complaints(page: Page) -> list[str]:
    """What axe finds serious or critical about a page: rule, and the elements."""
    module = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = module.Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['help']}: " + "; ".join(node["html"][:200] for node in violation["nodes"][:5])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]


def scrolls_sideways(page: Page) -> bool:
    """Whether the page is wider than the view."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


#: Colors as Chromium computes them, by element: those of the text, of what is behind it, and their contrast ratio.
_CONTRASTS = """selector => {
  const parse = color => {
    const found = color.match(/[\\d.]+/g).map(Number);
    return found.length < 4 ? [...found, 1] : found;
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
  const behind = element => {
    if (!element) return [255, 255, 255];
    const color = parse(getComputedStyle(element).backgroundColor);
    return color[3] === 1 ? color.slice(0, 3) : over(color, behind(element.parentElement));
  };
  const luminance = color => {
    const [r, g, b] = color.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll(selector)].map(element => {
    const paper = behind(element);
    const ink = over(parse(getComputedStyle(element).color), paper);
    const [low, high] = [luminance(ink), luminance(paper)].sort((a, b) => a - b);
    return [element.className, (high + 0.05) / (low + 0.05)];
  });
}"""


def contrasts(page: Page, selector: str) -> list[tuple[str, float]]:
    """The contrast ratio of the text of every element that a selector finds, with its class."""
    return [(name, ratio) for name, ratio in page.evaluate(_CONTRASTS, selector)]
