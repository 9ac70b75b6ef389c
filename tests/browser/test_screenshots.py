"""Pictures of every surface, light, dark and in Chinese: `make screenshots` writes them into the folder screenshots/.

They are for people to look at, and test nothing but that each surface opens. `make test` does not run this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from fastgpu_jupyter.jobs import places
from tests.browser.conftest import PATIENCE_MS, LabProcess, lab_settings
from tests.browser.lab_page import LabPage
from tests.browser.test_jobs import NOT_A_STORE, save_notebook
from tests.jobs.samples import every_state, store_result
from tests.jobs.scripted_dispatcher import ScriptedDispatcher

pytestmark = [
    pytest.mark.skipif("FASTGPU_SURFACES" not in os.environ, reason="`make screenshots` takes them"),
    pytest.mark.timeout(900),
]

TRAINING = "import time\nfor epoch in range(3):\n    time.sleep(1)\n    print('epoch', epoch + 1)"


class Look(NamedTuple):
    """A theme and a language."""

    name: str
    theme: str
    locale: str


LOOKS = (
    Look("light", "JupyterLab Light", "en"),
    Look("dark", "JupyterLab Dark", "en"),
    Look("zh-CN", "JupyterLab Light", "zh_CN"),
)


class Surfaces(LabPage):
    """JupyterLab, and how to bring each surface to the front."""

    def __init__(self, page: Page, server: LabProcess, folder: Path, look: Look) -> None:
        super().__init__(page, server)
        self._folder, self._look = folder, look

    def execute(self, command: str, arguments: str = "{}") -> bool:
        """Start a command; return False where JupyterLab does not have it."""
        found: bool = self.page.evaluate(
            "([id, args]) => { const c = window.jupyterapp.commands;"
            " if (!c.hasCommand(id)) { return false; } void c.execute(id, JSON.parse(args)); return true; }",
            [command, arguments],
        )
        return found

    def take(self, name: str) -> None:
        """Take a picture once nothing moves any more."""
        self.page.wait_for_timeout(700)  # a transition, and the answer to what the surface asks when it opens
        self.page.screenshot(path=self._folder / f"{name}-{self._look.name}.png", animations="disabled")

    def take_with(self, name: str, command: str, selector: str, arguments: str = "{}") -> None:
        """Take a picture of what a command opens, and close it."""
        if not self.execute(command, arguments):
            pytest.fail(f"There is no command {command}.", pytrace=False)
        expect(self.page.locator(selector).first).to_be_visible()
        self.take(name)
        self.page.keyboard.press("Escape")
        if ".jp-Dialog" in selector:
            expect(self.dialog()).to_have_count(0)


@pytest.fixture(params=LOOKS, ids=lambda look: look.name)
def surfaces(
    request: pytest.FixtureRequest, lab: LabProcess, browser: Browser, screenshots: Path
) -> Iterator[Surfaces]:
    """JupyterLab in one look."""
    look: Look = request.param
    config = Path(os.environ["JUPYTER_CONFIG_DIR"])
    lab_settings(config, "@jupyterlab/translation-extension:plugin", {"locale": look.locale})
    lab_settings(config, "@jupyterlab/apputils-extension:themes", {"theme": look.theme})
    lab.start()
    expect.set_options(timeout=PATIENCE_MS)
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield Surfaces(page, lab, screenshots, look)
    context.close()


def test_every_surface(surfaces: Surfaces) -> None:
    tab = surfaces
    tab.open()
    tab.launcher()
    tab.panel()
    tab.take("launcher")
    failed: list[str] = []

    def attempt(step: Callable[[], None]) -> None:
        """Go on with the other surfaces where one does not open."""
        try:
            step()
        except (AssertionError, pytest.fail.Exception) as error:
            failed.append(f"{error}".splitlines()[0])
            tab.page.keyboard.press("Escape")

    tab.start_kernel_by_command()
    tab.run("%fastgpu widget").locator("text=/./").first.wait_for()
    tab.take("widget")
    tab.run(f"%%fastgpu profile\n{TRAINING}").locator("table.fastgpu").wait_for()
    tab.take("profile")
    tab.run("%fastgpu history").locator("figure.fastgpu").wait_for()
    tab.take("history")
    attempt(lambda: tab.take_with("popover", "fastgpu:show-controls", ".fg-Popover, .fg-Controls"))
    attempt(lambda: tab.take_with("resize-dialog", "fastgpu:resize", ".jp-Dialog"))
    attempt(lambda: tab.take_with("size-dialog", "fastgpu:choose-size", ".jp-Dialog", '{"isNew": true}'))
    tab.start_kernel_by_command()
    tab.run("print('on the GPU')").locator("text=/./").first.wait_for()
    tab.take("waiting-cell")
    attempt(lambda: tab.take_with("waiting-popover", "fastgpu:show-controls", ".fg-Popover, .fg-Controls"))
    attempt(lambda: tab.take_with("dashboard", "fastgpu:open-dashboard", "#fastgpu-dashboard, .fg-Dashboard"))
    tab.show_tab("Untitled.ipynb")  # JupyterLab notifies of a notebook out of sight
    lease = next(lease for lease in tab.server.pool.leases() if lease["state"] == "active")
    tab.server.pool.release(lease["id"])
    expect(tab.page.locator(".Toastify__toast").first).to_be_visible()
    tab.take("notifications")
    tab.page.set_viewport_size({"width": 620, "height": 860})
    tab.take("narrow")
    assert failed == []


def test_jobs_in_every_state(surfaces: Surfaces) -> None:
    tab = surfaces
    tab.open()
    tab.launcher()
    tab.panel()
    tab.take("jobs-none")
    with ScriptedDispatcher(*every_state(store_result(places.results_folder()))) as dispatcher:
        dispatcher.logs[17] = b"".join(b"epoch %d loss 0.2%d acc 0.93\n" % (epoch, epoch) for epoch in range(22))
        save_notebook(tab.server.folder / "notebooks", *dispatcher.jobs.values())
        tab.execute("docmanager:open", '{"path": "digits.ipynb"}')
        tab.dialog().locator(".jp-mod-reject").click()
        tab.page.set_viewport_size({"width": 1280, "height": 2000})
        tab.section("jobs").locator("[data-job-id='17'] .fg-ListRow-toggle").click()
        tab.take("jobs")
        tab.take_with("job-explanation", "fastgpu:explain-job", ".jp-Dialog", '{"jobId": 14}')
        tab.take_with("job-cancel", "fastgpu:cancel-job", ".jp-Dialog", '{"jobId": 17}')
        tab.take_with("job-delete", "fastgpu:delete-old-results", ".jp-Dialog")
        tab.page.set_viewport_size({"width": 620, "height": 1100})
        tab.take("jobs-narrow")
        tab.page.set_viewport_size({"width": 1280, "height": 860})
        tab.execute("fastgpu:open-job-log", '{"jobId": 17}')
        expect(tab.page.get_by_role("log")).to_contain_text("epoch 21")
        tab.take("job-log")
        tab.execute("fastgpu:open-job-result", '{"jobId": 14}')
        tab.page.locator(".fg-JobImage").wait_for()
        tab.take("job-result")
        dispatcher.change(16, state="failed", error={"name": "ValueError", "text": "no such file"})
        expect(tab.page.locator(".Toastify__toast").first).to_be_visible()
        tab.take("job-ended")
        (places.jobs_dir() / places.DATABASE).write_bytes(NOT_A_STORE)
    tab.show_tab("digits.ipynb")
    expect(tab.page.locator(".fg-LiveJob .fg-Note[data-kind='error']").first).to_be_visible()
    tab.take("jobs-unknown")
