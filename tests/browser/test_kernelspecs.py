"""Kernelspecs of several sizes in JupyterLab's launcher, and the dialog of a kernel that cannot start."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.helpers import fastgpu

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def test_launcher_tells_sizes_apart_by_name_and_logo(page: Page, lab: LabProcess, screenshots: Path) -> None:
    for size in ("--profile=half", "--memory=24GiB", "--profile=8xh100"):
        installed = fastgpu("kernelspec", "install", "fastgpu", size)
        assert installed.returncode == 0, installed.stderr
    lab.start()
    user = LabPage(page, lab)
    user.open()
    launcher = user.launcher()
    logos = set()
    for label in ("half", "24GiB", "8xh100"):
        item = launcher.locator(
            ".jp-LauncherCard[data-category='Notebook']", has_text=f"Python 3 (FastGPU {label})"
        ).first
        image = item.locator("img")
        expect(image).to_be_visible()
        logos.add(image.get_attribute("src"))
        assert image.evaluate("image => image.complete && image.naturalWidth") == 64
    assert len(logos) == 3
    page.screenshot(path=screenshots / "sizes.png")
    item.click()
    expect(user.dialog()).to_contain_text("8xh100")
    expect(user.dialog()).not_to_contain_text("Traceback")
    assert user.dialog().locator("pre").evaluate("pre => pre.scrollWidth <= pre.clientWidth"), "the sentence is cut"
    page.screenshot(path=screenshots / "too-large.png")
