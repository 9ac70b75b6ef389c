"""Usage histories of leases and devices, as charts and as tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from fastgpu_jupyter.wire.client import new_token
from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.nvml.machine import FakeMachine

HISTORY = re.compile("/history[?]")
NOT_SUPPORTED = 3
#: Alternate between load and idle time, so that the chart shows a line.
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


def test_lease_history_shows_chart_with_summary_and_table(lab: LabProcess, page: Page, screenshots: Path) -> None:
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.start_notebook()
    panel = user.panel()
    item = panel.locator(".fg-Item[data-lease-id]").first
    expect(item).to_have_attribute("data-state", "active")
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if "/history" in request.url else None)
    expect(user.run(WORK)).to_contain_text("worked")
    assert fetched == []  # collapsed histories send no requests

    with page.expect_request(HISTORY) as first:
        item.get_by_text("History", exact=True).click()
    plot = item.locator(".fg-Chart-plot")
    expect(plot.locator("canvas")).to_be_visible()
    summary = re.compile(r"Last 5 minutes\. GPU: \d+% on average, at most \d+%; memory: at most [\d.]+ / 80 GiB\.")
    expect(plot).to_have_attribute("aria-label", summary)
    expect(item.locator(".fg-Chart-note")).to_have_text(summary)
    # Newer samples are requested, and only those that are missing.
    with page.expect_request(HISTORY) as later:
        pass
    assert _since(later.value.url) > _since(first.value.url)
    item.scroll_into_view_if_needed()
    page.screenshot(path=screenshots / "history-light.png")

    plot.hover()
    expect(item.locator(".fg-Chart-note")).to_have_text(re.compile(r"\d+:\d\d:\d\d [AP]M"))
    page.mouse.move(0, 0)
    for name, text in (("1 hour", "Last 1 hour"), ("7 days", "Last 7 days")):
        item.get_by_role("radio", name=name).check()
        expect(item.locator(".fg-Chart-note")).to_contain_text(text)
        page.screenshot(path=screenshots / f"history-{name.replace(' ', '-')}.png")
    item.get_by_role("radio", name="5 minutes").check()
    toggle = item.get_by_role("button", name="Table", exact=True)
    toggle.press("Enter")
    table = item.get_by_role("table")
    expect(table.locator("caption")).to_contain_text("Untitled.ipynb, last 5 minutes by minute")
    assert table.get_by_role("columnheader").all_text_contents() == ["Minute", "GPU", "Memory"]
    expect(table.get_by_role("row").nth(1)).to_have_text(re.compile(r"\d+:\d\d [AP]M\d+%[\d.]+ GiB"))
    expect(plot).to_have_count(0)
    expect(toggle).to_be_focused()
    page.screenshot(path=screenshots / "history-table.png")
    toggle.press("Space")
    for theme in ("JupyterLab Dark", "JupyterLab Dark High Contrast"):
        user.theme(theme)
        expect(plot.locator("canvas")).to_be_visible()
        page.screenshot(path=screenshots / f"history-{theme.split(' ', 1)[1].lower().replace(' ', '-')}.png")

    item.get_by_text("History", exact=True).click()
    expect(plot).to_have_count(0)


def test_device_history_shows_available_quantities_and_names_missing_ones(
    lab: LabProcess, page: Page, use_machine: Callable[..., FakeMachine], screenshots: Path
) -> None:
    machine = use_machine("2xA100-SXM4-80GB")
    complete, partial = machine.gpus
    complete.set(utilization=40, power_w=250.0, temperature_c=61)
    partial.set(utilization=7)
    for function in ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature"):
        machine.fail(function, NOT_SUPPORTED, gpu=partial)
    lab.start()
    user = LabPage(page, lab)
    user.open()
    page.set_viewport_size({"width": 1280, "height": 1400})  # rows out of view are not rendered
    user.launcher()
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if "/history" in request.url else None)
    panel = user.panel()
    lab.pool.request("full", notebook="elsewhere.ipynb", token=new_token())
    held = panel.locator("[data-device-id]", has_text="80 GiB yours")
    expect(held).to_have_count(1)
    assert fetched == []  # collapsed histories send no requests

    rows = panel.locator("[data-device-id]")
    for row in (rows.nth(0), rows.nth(1)):
        button = row.get_by_role("button", name=re.compile("A100"))
        expect(button).to_have_attribute("aria-expanded", "false")
        button.press("Enter")
        expect(button).to_have_attribute("aria-expanded", "true")
        expect(button).to_be_focused()
    expect(held.get_by_role("list", name="Leases on this device")).to_contain_text("elsewhere.ipynb (you)")
    expect(rows.nth(0).locator("canvas")).to_have_count(3)  # utilization, power, temperature
    summary = "power: 250 W on average, at most 250 W; temperature: at most 61°C."
    expect(rows.nth(0).locator(".fg-Chart-note")).to_contain_text(summary)
    expect(rows.nth(1).locator("canvas")).to_have_count(1)
    expect(rows.nth(1)).to_contain_text("Power and temperature: not available")
    page.screenshot(path=screenshots / "device-light.png")

    for row, columns in (
        (rows.nth(0), ["Minute", "GPU", "Memory", "Power", "Temp."]),
        (rows.nth(1), ["Minute", "GPU", "Memory"]),
    ):
        row.get_by_role("button", name="Table", exact=True).press("Enter")
        assert row.get_by_role("table").get_by_role("columnheader").all_text_contents() == columns
        page.keyboard.press("Tab")
        expect(row.get_by_role("region")).to_be_focused()
    expect(rows.nth(0).get_by_role("table").get_by_role("row").nth(1)).to_have_text(re.compile("40%.*GiB250 W61°C$"))
    page.screenshot(path=screenshots / "device-table.png")


def _since(url: str) -> int:
    found = re.search(r"[?&]since=(\d+)", url)
    assert found, url
    return int(found[1])
