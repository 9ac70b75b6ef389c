"""A GPU that is missing for a while, as the panel shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.nvml.machine import FakeMachine


def test_missing_gpu_is_shown_as_missing_and_its_notebook_goes_on(
    lab: LabProcess, page: Page, use_machine: Callable[..., FakeMachine], screenshots: Path
) -> None:
    (gpu,) = use_machine("1xA100-SXM4-80GB").gpus
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.start_notebook()
    panel = user.panel()
    item = panel.locator(".fg-Item[data-lease-id]").first
    expect(item).to_have_attribute("data-state", "active")
    gpu.vanish()
    expect(item).to_contain_text("Its GPU is missing")
    expect(panel.get_by_text("missing", exact=True)).to_be_visible()
    page.screenshot(path=screenshots / "device-missing.png")
    expect(user.run("print(6 * 7)")).to_contain_text("42")
    gpu.appear()
    expect(item).not_to_contain_text("missing")
    expect(panel.get_by_text("missing", exact=True)).to_have_count(0)
    expect(item).to_have_attribute("data-state", "active")
