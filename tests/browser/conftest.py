"""Fixtures: a real JupyterLab with simulated devices, and the system's Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.locate import user_socket
from tests.helpers import ServerProcess
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_MS = 30_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder as browser tests, as slow, and with a timeout."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)


class LabProcess(ServerProcess):
    """A `jupyter lab` process, which also serves Notebook 7."""

    def start(self, *arguments: str) -> None:
        """Start the server and return when it answers."""
        root = self.folder / "notebooks"
        root.mkdir(exist_ok=True)
        command = [
            sys.executable, "-m", "jupyterlab", f"--port={self.port}", "--no-browser", "--allow-root",
            f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True",
            *arguments,
        ]  # fmt: skip
        with self.log_path.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        self.url = re.sub(
            r"(lab|tree)/?$", "", wait_until(self._find_url, f"JupyterLab answers; see {self.log_path}", 60)
        )

    def pool_answers(self) -> bool:
        """Return whether the pool manager, which the server starts in the background, answers."""
        try:
            self.pool.health()
        except FastGPUError:
            return False
        return True

    @property
    def pool(self) -> PoolClient:
        """A client of the pool manager that the server uses."""
        return PoolClient(user_socket())


def lab_settings(folder: Path, plugin: str, values: dict[str, object]) -> None:
    """Write user settings of a JupyterLab plugin."""
    package, _, name = plugin.rpartition(":")
    path = folder / "lab/user-settings" / package / f"{name}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def lab_in(folder: Path) -> LabProcess:
    """Return a JupyterLab, not started yet, in an isolated environment; it sends no requests to other hosts."""
    config = Path(os.environ["JUPYTER_CONFIG_DIR"])
    lab_settings(
        config, "@jupyterlab/apputils-extension:notification", {"fetchNews": "false", "checkForUpdates": False}
    )
    return LabProcess(folder)


@pytest.fixture
def lab(isolated: Path, installed: None) -> Iterator[LabProcess]:
    """An isolated JupyterLab with one simulated A100 of 80 GB."""
    server = lab_in(isolated)
    yield server
    server.end()


def chromium() -> str:
    """Return the path of the system's browser; `make test` installs one if there is none."""
    for name in (os.environ.get("FASTGPU_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name) if name else None
        if path:
            return path
    pytest.fail("No Chromium was found: `make test` installs one, or set FASTGPU_CHROMIUM to its path.", pytrace=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a module; each test has a context, and thus a profile, of its own.

    Not for the session: as long as Playwright's loop runs in this thread, no other test can run one of its own.
    """
    # Chromium's sandbox refuses to run as root, as in most containers.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        yield found
        found.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """The folder of the screenshots: those that tests take, and one of each failure."""
    return screenshot_folder()


def screenshot_folder() -> Path:
    """Return the folder of the screenshots, and create it if necessary."""
    folder = Path(os.environ.get("FASTGPU_SCREENSHOTS", ROOT / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Take a screenshot when a test failed, before its server is stopped."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    page = arguments.get("page") or getattr(arguments.get("user"), "page", None)
    if report.when == "call" and report.failed and page is not None:
        page.screenshot(path=screenshot_folder() / f"failed-{item.name}.png")
    return report


@contextlib.contextmanager
def new_tab(browser: Browser) -> Iterator[Page]:
    """Yield an empty tab. Fails if this front end has thrown an error; those of other extensions are ignored."""
    expect.set_options(timeout=PATIENCE_MS)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    thrown: list[str] = []
    tab.on("pageerror", lambda error: thrown.append(f"{error.stack}"))
    yield tab
    context.close()
    assert [stack for stack in thrown if "/fastgpu-jupyter/" in stack] == []


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab."""
    with new_tab(browser) as tab:
        yield tab
