"""Sizes at launch: the launcher's cards, the form, and notebooks that remember their size; one JupyterLab for all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.axe import violations
from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.waiting import wait_until


class LaunchPage(LabPage):
    """JupyterLab with FastGPU's cards and form."""

    def item_of(self, text: str) -> Locator:
        """Return a card of FastGPU in the current launcher."""
        return self.launcher().locator(".jp-LauncherCard[data-category='Notebook on a GPU']", has_text=text)

    def form(self) -> Locator:
        """Return the form for a size, once its sizes are known."""
        form = self.page.locator(".fg-ChooseSizeDialog")
        expect(form.get_by_role("slider", name="Size")).to_be_visible()
        return form

    def start(self) -> Locator:
        """Return the primary button of the form."""
        return self.page.locator(".fg-ChooseSizeDialog .jp-Dialog-footer .jp-mod-accept")

    def open_file(self, name: str) -> None:
        """Open a notebook of the server's folder."""
        self.page.evaluate("path => { void window.jupyterapp.commands.execute('docmanager:open', {path}); }", name)
        self.page.locator(".lm-DockPanel-tabBar .lm-mod-current", has_text=name).wait_for()
        self.wait_until_idle()

    def close_notebook(self) -> None:
        """Save the current notebook, and close it with its kernel."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
        before = self.page.locator(".jp-NotebookPanel").count()
        self.page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:close-and-shutdown'); }")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        expect(self.page.locator(".jp-NotebookPanel")).to_have_count(before - 1)

    def notification(self, text: str) -> Locator:
        """Return a notification that is shown."""
        return self.page.locator(".Toastify__toast", has_text=text)


def live(lab: LabProcess) -> list[dict[str, Any]]:
    """Return the leases that have not ended."""
    return [cast("dict[str, Any]", view) for view in lab.pool.leases() if view["state"] not in ("ended", "draining")]


def only(lab: LabProcess) -> dict[str, Any]:
    """Return the only live lease."""
    return wait_until(lambda: live(lab) if len(live(lab)) == 1 else None, "there is one lease")[0]


def write_notebook(folder: Path, name: str, remembered: Any) -> None:
    """Write a notebook that remembers something."""
    kernelspec = {"name": "fastgpu", "display_name": "Python 3 (FastGPU)", "language": "python"}
    metadata = {"kernelspec": kernelspec, "fastgpu": remembered}
    content = {"cells": [], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (folder / "notebooks" / name).write_text(json.dumps(content))


def test_size_is_chosen_at_launch_and_remembered(
    lab: LabProcess, page: Page, isolated: Path, screenshots: Path
) -> None:
    lab.start()
    user = LaunchPage(page, lab)
    user.open()

    # A card says what a click gives.
    item = user.item_of("Python 3, full")
    expect(item).to_contain_text("● starts now")
    expect(item).to_have_attribute("title", "Start a notebook with Python 3 and the size full (80 GiB of A100-80GB): "
                                   "starts now, 2.50 USD/h.")  # fmt: skip
    page.screenshot(path=screenshots / "launch-launcher.png")

    # The form, with the keyboard alone.
    user.item_of("Choose size…").focus()
    page.keyboard.press("Enter")
    form = user.form()
    expect(form.get_by_label("Kernel")).to_be_focused()
    page.screenshot(path=screenshots / "launch-form.png")
    assert violations(page, ".fg-ChooseSizeDialog") == []
    slider = form.get_by_role("slider", name="Size")
    for _ in range(10):
        if slider.evaluate("slider => slider === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(slider).to_be_focused()
    expect(slider).to_have_attribute("aria-valuetext", "full, 80 GiB, 2.50 an hour, takes effect now")
    page.keyboard.press("ArrowLeft")
    expect(form.locator(".fg-Answer")).to_contain_text("half · 40 GiB of A100-80GB")
    expect(form.locator(".fg-Answer")).to_contain_text("Starts now.")
    page.keyboard.press("Enter")  # does not start
    expect(form).to_be_visible()
    page.keyboard.press("Control+Enter")
    expect(form).to_have_count(0)
    expect(user.notebook()).to_be_visible()
    user.wait_until_idle()
    lease = only(lab)
    assert (lease["request"]["size"], lease["state"]) == ("half", "active")
    name = str(lease["holder"]["notebook"]).rpartition("/")[2]

    # With half of the only device in use, a whole one has to wait, and a smaller size is offered.
    page.locator(".lm-TabBar-addButton:visible").first.click()
    expect(user.item_of("Python 3, full")).to_contain_text("■ position 1")
    user.item_of("Choose size…").click()
    form = user.form()
    expect(user.start()).to_have_text("Start and wait")
    expect(form.locator(".fg-Answer")).to_contain_text("its first cell waits for the GPU")
    page.screenshot(path=screenshots / "launch-form-waits.png")
    form.get_by_role("button", name="Choose half").click()
    expect(user.start()).to_have_text("Start")
    form.locator("summary", has_text="Advanced").click()
    form.get_by_label("Budget of this lease").fill("a lot")
    expect(user.start()).to_be_disabled()
    form.get_by_label("Budget of this lease").fill("2.50")
    expect(user.start()).to_be_enabled()
    page.screenshot(path=screenshots / "launch-form-advanced.png")
    assert violations(page, ".fg-ChooseSizeDialog") == []
    user.theme("JupyterLab Dark")
    page.screenshot(path=screenshots / "launch-form-dark.png")
    assert violations(page, ".fg-ChooseSizeDialog") == []
    page.set_viewport_size({"width": 250, "height": 800})
    page.screenshot(path=screenshots / "launch-form-narrow.png")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.keyboard.press("Escape")
    expect(form).to_have_count(0)
    user.theme("JupyterLab Light")

    # The notebook remembers its size, and starts with it when it is opened again.
    user.show_tab(name)
    user.close_notebook()
    wait_until(lambda: not live(lab), "the lease ends")
    remembered = json.loads((isolated / "notebooks" / name).read_text())["metadata"]["fastgpu"]
    assert remembered == {"version": 1, "kernel": "fastgpu", "size": "half"}
    user.open_file(name)
    assert only(lab)["request"]["size"] == "half"

    # Another size for the same notebook replaces its kernel.
    page.evaluate("() => { void window.jupyterapp.commands.execute('fastgpu:choose-size'); }")
    form = user.form()
    expect(form).to_contain_text("its variables are lost")
    slider = form.get_by_role("slider", name="Size")
    slider.press("ArrowLeft")
    page.keyboard.press("Control+Enter")
    wait_until(lambda: [view["request"]["size"] for view in live(lab)] == ["quarter"], "the new kernel has a quarter")
    user.wait_until_idle()
    assert str(only(lab)["holder"]["notebook"]).endswith(name)
    user.close_notebook()
    wait_until(lambda: not live(lab), "the lease ends")

    # What a notebook of another user asks for beyond the defaults is used only after a question.
    asked = {"version": 1, "kernel": "fastgpu", "size": "eighth", "priority": "high", "hold": True}
    write_notebook(isolated, "foreign.ipynb", {**asked, "hold": False})
    user.open_file("foreign.ipynb")
    lease = only(lab)
    assert (lease["request"]["size"], lease["request"]["priority"]) == ("eighth", "normal")
    notice = user.notification("This notebook asks for high priority. Starting with normal priority.")
    expect(notice).to_be_visible()
    page.screenshot(path=screenshots / "launch-foreign.png")
    notice.get_by_role("button", name="Use high priority…").click()
    form = user.form()
    form.get_by_role("button", name="Use high priority").click()
    page.screenshot(path=screenshots / "launch-foreign-form.png")
    assert violations(page, ".fg-ChooseSizeDialog") == []
    page.keyboard.press("Control+Enter")
    wait_until(lambda: [view["request"]["priority"] for view in live(lab)] == ["high"], "the new kernel has priority")
    user.wait_until_idle()
    user.close_notebook()
    wait_until(lambda: not live(lab), "the lease ends")
    user.open_file("foreign.ipynb")
    assert only(lab)["request"]["priority"] == "high"  # the user has agreed
    user.close_notebook()

    # A size that may cost more than the default is asked for as well.
    wait_until(lambda: not live(lab), "the lease ends")
    write_notebook(isolated, "costly.ipynb", {"version": 1, "kernel": "fastgpu", "size": "2xa100"})
    user.open_file("costly.ipynb")
    assert only(lab)["request"]["size"] == "full"
    notice = user.notification("asks for the size 2xa100, which may cost more than your default. Starting with full.")
    notice.get_by_role("button", name="Use 2xa100…").click()
    expect(user.form().get_by_role("button", name="Use 2xa100")).to_be_visible()
    page.screenshot(path=screenshots / "launch-costly-form.png")
    page.keyboard.press("Escape")
    user.close_notebook()

    # What cannot be read is not used, and neither is what the pool refuses.
    for file, remembered, text in (
        ("newer.ipynb", {"version": 2}, "was stored by a newer version of FastGPU"),
        ("edited.ipynb", {"version": 1, "kernel": "fastgpu", "size": 7}, "cannot be read and is not used"),
        ("elsewhere.ipynb", {"version": 1, "kernel": "fastgpu", "size": "h100"}, "was refused: No device of this pool"),
    ):
        wait_until(lambda: not live(lab), "the lease ends")
        write_notebook(isolated, file, remembered)
        user.open_file(file)
        assert only(lab)["request"]["size"] == "full"
        expect(user.notification(text)).to_be_visible()
        user.close_notebook()
        expect(user.notification(text)).to_have_count(0)

    # While an answer takes long, the form says so; without one, a kernel starts without a GPU.
    wait_until(lambda: not live(lab), "the lease ends")
    held: list[Route] = []
    page.route("**/fastgpu/api/sizes*", lambda route: held.append(route))  # noqa: PLW0108 (Playwright sets an attribute)
    page.evaluate("() => { void window.jupyterapp.commands.execute('fastgpu:choose-size', {isNew: true}); }")
    form = page.locator(".fg-ChooseSizeDialog")
    expect(form.get_by_text("checking…")).to_be_visible()
    expect(user.start()).to_be_disabled()
    while held:
        silent = {"message": "No pool manager answers.", "code": "pool_unreachable", "detail": ""}
        held.pop().fulfill(status=503, json=silent)
    expect(form.get_by_role("alert")).to_have_text("No pool manager answers.")
    page.screenshot(path=screenshots / "launch-form-silent.png")
    form.get_by_role("button", name="Start without a GPU").click()
    user.wait_until_idle()
    assert live(lab) == []
    page.unroute("**/fastgpu/api/sizes*")

    # Notebook 7 starts with what a notebook remembers, and has the form in its Kernel menu.
    write_notebook(isolated, "classic.ipynb", {"version": 1, "kernel": "fastgpu", "size": "quarter"})
    user.open("notebooks/classic.ipynb")
    user.wait_until_idle()
    assert only(lab)["request"]["size"] == "quarter"
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Choose size…").click()
    expect(user.form().locator(".fg-Answer")).to_contain_text("quarter · 20 GiB")
    page.screenshot(path=screenshots / "launch-notebook7.png")
