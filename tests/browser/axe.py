"""Accessibility checks of parts of a page by axe-core, which the front end's development dependencies bring."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

#: Parts that JupyterLab renders and that an extension cannot change: headings of an accordion, and a button in a
#: shadow root.
_OF_JUPYTERLAB = (".lm-AccordionPanel-title", ".jp-FilterBox")
_AXE = Path(__file__).resolve().parents[2] / "labextension/node_modules/axe-core/axe.min.js"


def violations(page: Page, *selectors: str) -> list[str]:
    """Return what axe-core finds in the elements that ``selectors`` name; an element must be there for each."""
    for selector in selectors:
        page.locator(selector).first.wait_for()
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_AXE.read_text("utf-8"))
    found: list[str] = page.evaluate(
        """async ([selectors, others]) => {
            const { violations } = await window.axe.run({
                include: selectors.map(one => [one]), exclude: others.map(one => [one])
            });
            return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) =>
                `${id}: ${html.slice(0, 200)} ${failureSummary}`));
        }""",
        [list(selectors), list(_OF_JUPYTERLAB)],
    )
    return found
