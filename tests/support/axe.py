"""axe-core over what a browser shows: WCAG 2.2 at levels A and AA, and what axe calls best practice."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import BrowserContext, Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
BY_LOOK = ["color-contrast", "target-size", "scrollable-region-focusable"]
"""The rules whose outcome depends on colours and on the size of the window."""
_RUN = "async run => (await axe.run(document, run)).violations"


def attend(context: BrowserContext) -> None:
    """Let axe be there in every page of this context, before the page is."""
    context.add_init_script(AXE_SCRIPT)


def violations(page: Page, *, by_look: bool = False) -> list[str]:
    """A line for each rule that is broken and each element that breaks it, in a page of a context that axe attends.
    `by_look`: only by the rules BY_LOOK."""
    rules = {"target-size": {"enabled": True}}  # of WCAG 2.2, and off unless asked for
    every = {"runOnly": {"type": "tag", "values": TAGS}, "rules": rules}
    some = {"runOnly": {"type": "rule", "values": BY_LOOK}}
    found: list[dict[str, Any]] = page.evaluate(_RUN, {**(some if by_look else every), "resultTypes": ["violations"]})
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {' '.join(node['failureSummary'].split())}"
        for rule in found
        for node in rule["nodes"]
    ]
