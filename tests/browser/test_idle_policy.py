"""The idle policy as its user sees it: a notification, the time to the next step, Snooze by keyboard; and advice."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from playwright.sync_api import Page, Route, expect

from tests.browser.axe import violations
from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.waiting import wait_until

#: Advice needs hours of measurements; what is shown of it is that of an answer.
BASIS = "Peak of 38 cells over 4 days: 6.1 GiB of 40 GiB, 18 % utilization. Size quarter would have cost 71 % less."
ADVICE = {
    "advice": {
        "size": "quarter",
        "rate_micro": 625_000,
        "cells": 38,
        "span_ms": 345_600_000,
        "peak_memory_bytes": 6_549_825_126,
        "of_memory_bytes": 42_949_672_960,
        "utilization_milli": 180,
        "saving_milli": 710,
        "basis": {"code": "test.advice", "params": {}, "text": BASIS},
    },
    "reason": None,
    "silenced": False,
}


def test_idle_notebook_is_announced_and_snoozed_by_keyboard(page: Page, lab: LabProcess, screenshots: Path) -> None:
    config = Path(os.environ["JUPYTER_CONFIG_DIR"]) / "jupyter_fastgpu_config.py"
    config.write_text("c = get_config()\nc.Idle.notify_s = 3\nc.Idle.park_s = 120\nc.Idle.window_s = 2\n")
    page.route(re.compile(r"/fastgpu/api/leases/\w+/advice(\?|$)"), _advise)
    lab.start()
    notebook = LabPage(page, lab)
    notebook.open()
    notebook.start_notebook()

    toast = page.locator(".Toastify__toast", has_text="its GPU has not been used for")
    expect(toast.get_by_role("button", name="Park now")).to_be_visible()
    expect(toast.get_by_role("button", name="Release…")).to_be_visible()
    expect(toast.get_by_role("button", name=re.compile("^Snooze 30 min"))).to_be_visible()
    expect(toast).to_have_count(1)
    page.screenshot(path=screenshots / "idle-notification.png")

    page.locator(".fg-Toolbar-button").click()
    popover = page.locator(".fg-Popover")
    idle = popover.get_by_role("region", name="Idle")
    expect(idle.get_by_text(re.compile("^parks in 1 min"))).to_be_visible()
    expect(idle.get_by_role("meter")).to_have_attribute("aria-valuetext", re.compile("^parks in 1 min"))
    expect(popover.get_by_role("button", name=re.compile("^Use quarter"))).to_be_visible()
    for theme in ("light", "dark"):
        notebook.theme(f"JupyterLab {theme.capitalize()}")
        popover.scroll_into_view_if_needed()
        popover.screenshot(path=screenshots / f"idle-popover-{theme}.png")
    assert violations(page, ".fg-Popover") == []

    snooze = idle.get_by_role("button", name="Snooze")
    snooze.focus()
    page.keyboard.press("Enter")
    expect(idle.get_by_role("menu").get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.screenshot(path=screenshots / "idle-snooze-menu.png")
    page.keyboard.press("Escape")
    expect(snooze).to_be_focused()
    expect(idle.get_by_role("menu")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(idle.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(idle.get_by_text("Snoozed until")).to_be_visible()
    expect(toast).to_have_count(0)
    expect(snooze).to_be_focused()
    (lease,) = lab.pool.leases()
    assert lease["idle"]["snoozed_until"] is not None
    expect(idle.get_by_text(re.compile("^parks in 3[01] min|^parks in 29 min"))).to_be_visible()

    popover.get_by_role("button", name="Not for this notebook").click()
    expect(popover.get_by_role("button", name=re.compile("^Use quarter"))).to_have_count(0)
    wait_until(lambda: lab.pool.advice(lease["id"])["silenced"], "the pool knows that")

    popover.get_by_role("button", name="Close").click()
    advice = notebook.panel().get_by_text("Peak of 38 cells")
    advice.scroll_into_view_if_needed()
    expect(advice).to_be_visible()
    page.screenshot(path=screenshots / "idle-panel-advice.png")


def _advise(route: Route) -> None:
    route.fulfill(response=route.fetch(), body=json.dumps(ADVICE))  # with the headers of the answer
