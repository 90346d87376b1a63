"""The page of the local server for tests in a browser: a server of its own, and a text that is typed and explained."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

COMMAND = "from textlrp.commands.serve import serve; serve(['--no-open'])"


@contextmanager
def running(*program: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start a server; its address, and the process."""
    process = subprocess.Popen([sys.executable, *program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()


def explain(page: Page, text: str) -> None:
    """Type a text and wait for its explanation, which is the only one that has its number."""
    before = page.get_attribute("#json", "href")
    page.fill("#text", text)
    page.click("button[type=submit]")
    page.wait_for_function("before => document.getElementById('json').getAttribute('href') !== before", arg=before)
