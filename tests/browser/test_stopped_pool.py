"""A pool manager that is stopped, as the panel shows it."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Page, expect

from fastgpu_jupyter.wire import unixsocket
from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage


def test_panel_says_since_when_the_pool_is_silent_and_what_became_of_a_release(
    lab: LabProcess, page: Page, screenshots: Path
) -> None:
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.start_notebook()
    panel = user.panel()
    item = panel.locator(".fg-Item[data-lease-id]").first
    expect(item).to_have_attribute("data-state", "active")
    panel.get_by_role("button", name="Release the GPU of Untitled.ipynb").click()
    with closing(unixsocket.connect(lab.pool.path, 5.0)) as connection:
        pid = unixsocket.peer_of(connection).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        user.dialog().get_by_role("button", name="Release", exact=True).click()
        expect(panel).to_contain_text("No message since")
        expect(panel).to_contain_text("the data below is from then")
        expect(item).to_contain_text("what you asked for may have been done")
        page.screenshot(path=screenshots / "pool-stopped.png")
        user.theme("JupyterLab Dark")
        page.screenshot(path=screenshots / "pool-stopped-dark.png")
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(panel.get_by_text("Ended in the last hour")).to_be_visible()
    expect(panel).not_to_contain_text("No message since")
    expect(panel).not_to_contain_text("may have been done")
