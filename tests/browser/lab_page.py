"""Page object of JupyterLab: tests call what a user does, and the selectors are only here."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import LabProcess
from tests.waiting import wait_until

KERNEL = "Python 3 (FastGPU)"


class LabPage:
    """JupyterLab in a browser tab."""

    def __init__(self, page: Page, server: LabProcess) -> None:
        self.page = page
        self.server = server

    def open(self, path: str = "lab") -> None:
        """Log in and open a path of the application."""
        self.page.goto(f"{self.server.url}{path}?token={self.server.token}")

    def close_all(self) -> None:
        """Close all documents without saving them, end their kernels, delete them, and release every lease."""
        self.page.evaluate(
            """async () => {
                for (const widget of [...window.jupyterapp.shell.widgets('main')]) {
                    if (widget.context) {
                        widget.context.model.dirty = false;
                        await widget.context.sessionContext.shutdown();
                        widget.dispose();
                    }
                }
            }"""
        )
        self.server.close_sessions()
        for found in (self.server.folder / "notebooks").glob("*.ipynb"):
            found.unlink()
        pool = self.server.pool
        for lease in pool.leases():
            if lease["state"] != "ended":
                pool.release(lease["id"])
        wait_until(lambda: all(lease["state"] == "ended" for lease in pool.leases()), "the leases end")
        self.launcher()

    def start_notebook(self, kernel: str = KERNEL) -> Locator:
        """Click the kernel's card in the launcher and return the notebook that opens."""
        before = self.page.locator(".jp-NotebookPanel").count()
        self.launcher().locator(".jp-LauncherCard[data-category='Notebook']", has_text=kernel).first.click()
        expect(self.page.locator(".jp-NotebookPanel")).to_have_count(before + 1)
        self.wait_until_idle()
        return self.notebook()

    def start_kernel_by_command(self, name: str = "fastgpu") -> Locator:
        """Create a notebook with a kernel by JupyterLab's command, in any language, and return the notebook."""
        self.page.evaluate(
            "async name => { await window.jupyterapp.commands.execute('notebook:create-new', {kernelName: name}); }",
            name,
        )
        self.wait_until_idle()
        return self.notebook()

    def wait_until_idle(self) -> None:
        """Wait until the current notebook's kernel is connected; JupyterLab discards cells that are run earlier."""
        self.page.wait_for_function(
            """() => {
                const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
                return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
            }"""
        )

    def launcher(self) -> Locator:
        """Return the current launcher, and open one if there is none."""
        front = self.page.locator(".jp-Launcher:visible")
        if not front.count() and self.page.locator(".jp-NotebookPanel").count():
            self.page.locator(".jp-Document, .lm-DockPanel-tabBar").first.wait_for()
            self.page.locator(".lm-TabBar-addButton:visible").first.click()
        front.first.wait_for()
        return front.first

    def notebook(self) -> Locator:
        """Return the current notebook."""
        return self.page.locator(".jp-NotebookPanel:visible")

    def show_tab(self, name: str) -> None:
        """Bring a document to the front."""
        self.page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text=name).first.click()

    def run(self, code: str, cell: int = 0) -> Locator:
        """Replace and run a cell of the current notebook, and return its outputs."""
        notebook = self.notebook()
        editor = notebook.locator(".jp-CodeCell .cm-content").nth(cell)
        editor.click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Control+Enter")
        return notebook.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")

    def panel(self) -> Locator:
        """Return the FastGPU side panel, and open it if necessary."""
        panel = self.page.locator("#fastgpu-panel")
        if not panel.is_visible():
            self.page.locator(".jp-SideBar [data-id='fastgpu-panel']").click()
        expect(panel).to_be_visible()
        return panel

    def item(self, name: str) -> Locator:
        """Return the item of the notebook with that name in the open panel; others may mention it."""
        named = self.page.get_by_text(name, exact=True).and_(self.page.locator(".fg-Item-name"))
        return self.page.locator("#fastgpu-panel .fg-Item", has=named)

    def open_item(self, name: str) -> Locator:
        """Return the item of the notebook with that name, and open it if only its line is shown."""
        return self.expand(self.item(name))

    def expand(self, item: Locator) -> Locator:
        """Open an item of the list of leases if only its line is shown, and return it."""
        toggle = item.locator(".fg-ListRow-toggle")
        if toggle.get_attribute("aria-expanded") == "false":
            toggle.click()
        return item

    def section(self, name: str) -> Locator:
        """Return a section of the panel: leases, spending, queue or devices."""
        return self.page.locator(f"#fastgpu-panel .fg-Section[data-section='{name}']")

    def status(self) -> Locator:
        """Return the FastGPU item of the status bar."""
        return self.page.locator(".fg-StatusItem:visible")

    def dialog(self) -> Locator:
        """Return the open dialog."""
        return self.page.locator(".jp-Dialog")

    def theme(self, name: str) -> None:
        """Change the theme and wait until it is applied."""
        self.page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
            name,
        )
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", name)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)
