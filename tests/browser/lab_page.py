"""Where things are on JupyterLab's page, said once: tests speak of what a user does."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import LabProcess

KERNEL = "Python 3 (FastGPU)"


class Lab:
    """JupyterLab in a tab."""

    def __init__(self, page: Page, server: LabProcess) -> None:
        self.page = page
        self.server = server

    def open(self, path: str = "lab") -> None:
        """Log in and wait for the application."""
        self.page.goto(f"{self.server.url}{path}?token={self.server.token}")

    def start_notebook(self, kernel: str = KERNEL) -> Locator:
        """Click the kernel's item in the launcher; the notebook that opens."""
        before = self.page.locator(".jp-NotebookPanel").count()
        self.launcher().locator(".jp-LauncherCard[data-category='Notebook']", has_text=kernel).first.click()
        expect(self.page.locator(".jp-NotebookPanel")).to_have_count(before + 1)
        self.wait_until_idle()
        return self.notebook()

    def wait_until_idle(self) -> None:
        """The kernel of the notebook in front is connected. JupyterLab drops a cell that is run before that."""
        self.page.wait_for_function(
            """() => {
                const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
                return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
            }"""
        )

    def launcher(self) -> Locator:
        """The launcher that is in front, opened where there is none."""
        front = self.page.locator(".jp-Launcher:visible")
        if not front.count() and self.page.locator(".jp-NotebookPanel").count():
            self.page.locator(".jp-Document, .lm-DockPanel-tabBar").first.wait_for()
            self.page.locator(".lm-TabBar-addButton:visible").first.click()
        front.first.wait_for()
        return front.first

    def notebook(self) -> Locator:
        """The notebook in front."""
        return self.page.locator(".jp-NotebookPanel:visible")

    def show_tab(self, name: str) -> None:
        """Bring a document to the front."""
        self.page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text=name).first.click()

    def run(self, code: str, cell: int = 0) -> Locator:
        """Write a cell of the notebook in front and run it; its outputs."""
        notebook = self.notebook()
        editor = notebook.locator(".jp-CodeCell .cm-content").nth(cell)
        editor.click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Control+Enter")
        return notebook.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")

    def panel(self) -> Locator:
        """Our side panel, opened where it is not."""
        panel = self.page.locator("#fastgpu-panel")
        if not panel.is_visible():
            self.page.locator(".jp-SideBar [data-id='fastgpu-panel']").click()
        expect(panel).to_be_visible()
        return panel

    def status(self) -> Locator:
        """Our item in the status bar."""
        return self.page.locator(".fg-StatusItem:visible")

    def dialog(self) -> Locator:
        """The dialog in front."""
        return self.page.locator(".jp-Dialog")

    def theme(self, name: str) -> None:
        """Change the theme and wait until it is applied."""
        self.page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
            name,
        )
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", name)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)
