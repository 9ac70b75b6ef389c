"""The chart of what a lease used, as its user opens it."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import LabProcess
from tests.browser.sights import Lab

HISTORY = re.compile("/history[?]")
#: One core at work and then at rest, so that there is a line to be seen.
WORK = """
import time
for round in range(3):
    block = bytearray(400_000_000 * (round + 1))
    end = time.monotonic() + 2
    while time.monotonic() < end:
        pass
    time.sleep(2)
print("worked")
"""


def test_the_history_of_a_lease_is_a_chart_that_says_what_it_shows(
    lab: LabProcess, page: Page, screenshots: Path
) -> None:
    lab.start()
    sight = Lab(page, lab)
    sight.open()
    sight.start_notebook()
    panel = sight.panel()
    card = panel.locator(".fg-Card[data-lease-id]").first
    expect(card).to_have_attribute("data-state", "active")
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if "/history" in request.url else None)
    expect(sight.run(WORK)).to_contain_text("worked")
    assert fetched == []  # what is folded asks for nothing

    with page.expect_request(HISTORY) as first:
        card.get_by_text("History", exact=True).click()
    plot = card.locator(".fg-Chart-plot")
    expect(plot.locator("canvas")).to_be_visible()
    says = re.compile(r"Last 5 minutes\. GPU: \d+% on average, at most \d+%; memory: at most [\d.]+ / 80 GiB\.")
    expect(plot).to_have_attribute("aria-label", says)
    expect(card.locator(".fg-Chart-note")).to_have_text(says)
    # Newer readings are asked for, and of those only what is missing.
    with page.expect_request(HISTORY) as later:
        pass
    assert _since(later.value.url) > _since(first.value.url)
    card.scroll_into_view_if_needed()
    page.screenshot(path=screenshots / "history-light.png")

    plot.hover()
    expect(card.locator(".fg-Chart-note")).to_have_text(re.compile(r"\d+:\d\d:\d\d [AP]M"))
    page.mouse.move(0, 0)
    for name, text in (("1 hour", "Last 1 hour"), ("7 days", "Last 7 days")):
        card.get_by_role("radio", name=name).check()
        expect(card.locator(".fg-Chart-note")).to_contain_text(text)
        page.screenshot(path=screenshots / f"history-{name.replace(' ', '-')}.png")
    card.get_by_role("radio", name="5 minutes").check()
    for theme in ("JupyterLab Dark", "JupyterLab Dark High Contrast"):
        sight.theme(theme)
        expect(plot.locator("canvas")).to_be_visible()
        page.screenshot(path=screenshots / f"history-{theme.split(' ', 1)[1].lower().replace(' ', '-')}.png")

    card.get_by_text("History", exact=True).click()
    expect(plot).to_have_count(0)


def _since(url: str) -> int:
    found = re.search(r"[?&]since=(\d+)", url)
    assert found, url
    return int(found[1])
