"""What annotators do in a report, for tests in the browser."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page


def call_me(page: Page, name: str = "Ada") -> None:
    page.locator("#name").click()
    page.locator("#name-field").fill(name)
    page.keyboard.press("Enter")
    page.locator("#name", has_text=name).wait_for()


def press(page: Page, document: str, button: str) -> None:
    article(page, document).get_by_role("button", name=button, exact=True).click()


def article(page: Page, document: str) -> Any:
    return page.locator("article", has=page.get_by_role("heading", name=document, exact=True))


def select(page: Page, document: str, start: int, end: int) -> None:
    """Drag the mouse over characters (UTF-16 units) of a document's text."""
    block = article(page, document).locator(".text").first
    block.evaluate("block => block.scrollIntoView({ block: 'center' })")  # near an edge, dragging would scroll
    spots = block.evaluate(
        """(block, ends) => ends.map(([unit, side]) => {
          const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
          for (let left = unit; walker.nextNode(); left -= walker.currentNode.length) {
            if (left >= walker.currentNode.length) continue;
            const range = document.createRange();
            range.setStart(walker.currentNode, left);
            range.setEnd(walker.currentNode, left + 1);
            const box = range.getBoundingClientRect();
            return [side ? box.right - 1 : box.left + 1, box.top + box.height / 2];
          }
        })""",
        [[start, 0], [end - 1, 1]],
    )
    page.mouse.move(*spots[0])
    page.mouse.down()
    page.mouse.move(*spots[1], steps=4)
    page.mouse.up()


def expect_marks(page: Page, document: str, words: list[str]) -> None:
    """Wait until these words, and no others, are marked in a document."""
    from playwright.sync_api import expect

    expect(article(page, document).locator(".marks bdi")).to_have_text(words)


def download(page: Page) -> list[dict[str, Any]]:
    with page.expect_download() as started:
        page.locator("#download").click()
    assert re.fullmatch(r"marks-[0-9a-f]{8}-[\w-]+\.jsonl", started.value.suggested_filename)
    return [json.loads(line) for line in started.value.path().read_bytes().decode().splitlines()]
