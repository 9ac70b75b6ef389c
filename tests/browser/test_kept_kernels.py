"""An open JupyterLab tab whose server is killed while a cell runs, and started again."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from fastgpu_jupyter.wire import kept_kernels
from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.server.test_adoption import OUTLIVES
from tests.server.test_kept_list import write_orphan

#: JupyterLab tries again 10 to 30 seconds after it found no server.
RECONNECTED_MS = 60_000


def test_open_tab_goes_on_by_itself_after_its_server_was_killed(page: Page, lab: LabProcess, screenshots: Path) -> None:
    lab.start()
    user = LabPage(page, lab)
    # JupyterLab says in a dialog, if it has the time, that it finds no server.
    page.add_locator_handler(user.dialog().get_by_role("button", name="Close"), lambda close: close.click())
    user.open()
    user.start_notebook()
    output = user.run("x = 41\n" + OUTLIVES.format(server=lab.pid))
    expect(output).to_contain_text("begins")
    before = _session(page)
    lab.keep_port()
    lab.kill()
    lab.start()
    expect(output).to_contain_text("42", timeout=RECONNECTED_MS)
    expect(output).to_contain_text("No Jupyter server was running")
    expect(output).to_contain_text("ends")
    expect(user.notebook().locator(".jp-InputPrompt").first).to_contain_text("[1]:")
    assert _session(page) == before
    user.wait_until_idle()
    page.screenshot(path=screenshots / "kept-kernel.png")
    expect(user.run("x + 1000")).to_contain_text("1041")
    _end_in_panel(user, screenshots)


def _end_in_panel(user: LabPage, screenshots: Path) -> None:
    """A kernel of another root folder, which this server does not adopt, is listed in the panel and ended there."""
    kernel = subprocess.Popen(["sleep", "1000"])
    try:
        write_orphan("elsewhere.ipynb", kept_kernels.recorded(kernel.pid))
        # The part of the page that draws the list cannot be loaded at first, as from a server that has just started.
        user.page.route("**/fastgpu-jupyter/static/*.js*", lambda route: route.abort(), times=1)
        user.panel()
        group = user.page.get_by_role("group", name="Kernels without a server")
        expect(group).to_contain_text("what it does is unknown")
        user.page.screenshot(path=screenshots / "kept-kernel-in-panel.png")
        group.get_by_role("button", name="End the kernel of elsewhere.ipynb").click()
        user.dialog().get_by_role("button", name="End", exact=True).click()
        expect(group.get_by_role("status")).to_contain_text("has ended")
        expect(group).to_be_focused()
        assert kernel.wait(10) != 0
    finally:
        kernel.kill()
        kernel.wait()


def _session(page: Page) -> Any:
    """Return the ids of the current notebook's session and kernel."""
    return page.evaluate(
        """() => {
            const session = window.jupyterapp.shell.currentWidget.sessionContext.session;
            return [session.id, session.kernel.id];
        }"""
    )
