"""The controls of a lease in the notebook's toolbar, in dialogs and in a waiting cell, also by keyboard alone."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, expect

from fastgpu_jupyter.wire.client import new_token
from tests.browser.axe import violations
from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.waiting import wait_until

SLEEPING = "import pathlib, time\nkept = 42\nwhile not pathlib.Path('go-on').exists(): time.sleep(0.05)\n'done'"

#: Users see leases and cannot change them.
READ_ONLY = """
from jupyter_server.auth import Authorizer

class ReadOnly(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return not (resource == "fastgpu:leases" and action == "write")

c = get_config()
c.ServerApp.authorizer_class = ReadOnly
"""


def toolbar(page: Page) -> Locator:
    """Return the button of the current notebook's toolbar item."""
    return page.locator(".jp-NotebookPanel:visible .fg-Toolbar button")


def size_of(lab: LabProcess) -> str:
    """Return the size of the only live lease."""
    (lease,) = [view for view in lab.pool.leases() if view["state"] != "ended"]
    return str(lease["request"]["size"])


def test_slider_resizes_while_a_cell_runs_by_keyboard_alone(page: Page, lab: LabProcess, screenshots: Path) -> None:
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.start_notebook()
    output = user.run(SLEEPING)
    panel = user.panel()
    button, popover = toolbar(page), page.locator(".fg-Popover")
    expect(button).to_contain_text("full")
    expect(button).to_have_attribute("data-state", "disc")

    button.press("Enter")
    expect(popover).to_be_focused()
    slider = popover.get_by_role("slider", name="Size")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^full, 80 GiB, 2.50 an hour"))
    assert violations(page, ".fg-Popover", ".fg-Toolbar") == []
    for _ in range(20):
        page.keyboard.press("Tab")
        if slider.evaluate("node => node === document.activeElement"):
            break
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^eighth, 10 GiB"))
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "half, 40 GiB, 1.25 an hour, takes effect now")
    expect(popover.locator(".fg-Pending-box")).to_contain_text("full · 80 GiB · 2.50 USD/h")
    page.screenshot(path=screenshots / "controls-pending.png")
    page.keyboard.press("Enter")  # applies nothing: only the button does
    assert size_of(lab) == "full"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(popover.get_by_role("button", name="Apply half · 1.25 USD/h")).to_be_focused()
    page.keyboard.press("Enter")
    expect(button).to_contain_text("half")
    assert size_of(lab) == "half"
    expect(panel.locator("[data-lease-id]").first).to_contain_text("half")
    expect(popover.locator(".fg-Facts").first).to_contain_text("40 GiB of A100-80GB")
    expect(output).not_to_contain_text("done")

    # Another lease takes the rest of the device before this one can grow again.
    expect(slider).to_be_enabled()
    slider.press("End")
    apply = popover.get_by_role("button", name="Apply full")
    expect(apply).to_be_enabled()
    lab.pool.request("half", token=new_token())
    apply.click()
    expect(popover.get_by_role("alert")).to_contain_text("Resize to full refused.")
    expect(popover.get_by_role("alert")).to_contain_text("The size stays half.")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^half"))
    page.screenshot(path=screenshots / "controls-refused.png")
    popover.get_by_role("button", name="Dismiss").click()
    expect(popover.get_by_role("alert")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(popover).to_have_count(0)
    expect(button).to_be_focused()

    # The dialog has the same slider; a command does the same without it.
    page.evaluate("() => void window.jupyterapp.commands.execute('fastgpu:resize')")
    dialog_slider = user.dialog().get_by_role("slider", name="Size")
    expect(dialog_slider).to_be_focused()
    assert violations(page, ".fg-SizeDialog") == []
    page.screenshot(path=screenshots / "controls-dialog.png")
    page.keyboard.press("Home")
    user.dialog().get_by_role("button", name="Apply eighth").click()
    expect(user.dialog()).to_have_count(0)
    expect(button).to_contain_text("eighth")
    page.evaluate("() => window.jupyterapp.commands.execute('fastgpu:resize', {size: 'quarter'})")
    expect(button).to_contain_text("quarter")
    for name, theme in (("dark", "JupyterLab Dark"), ("light", "JupyterLab Light")):
        user.theme(theme)
        button.click()
        expect(slider).to_be_visible()
        assert violations(page, ".fg-Popover", ".fg-Toolbar") == []
        page.screenshot(path=screenshots / f"controls-{name}.png")
        page.keyboard.press("Escape")
    (lab.folder / "notebooks/go-on").touch()
    expect(output).to_contain_text("done")


def test_waiting_cell_and_toolbar_offer_what_works_now(page: Page, lab: LabProcess, screenshots: Path) -> None:
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.launcher()
    token = new_token()
    other = lab.pool.request("half", token=token)
    user.start_notebook()
    output, button, popover = user.run("6 * 7"), toolbar(page), page.locator(".fg-Popover")
    expect(output).to_contain_text("Waiting for a GPU: position 1 in the queue.")
    expect(button).to_contain_text("position 1")
    expect(button).to_have_attribute("data-state", "square")
    expect(output.get_by_role("button", name="Take half now · 1.25 USD/h")).to_be_enabled()
    expect(output.locator(".jp-OutputArea-child")).to_have_count(1)
    assert violations(page, ".fg-WaitingOutput") == []
    page.screenshot(path=screenshots / "controls-waiting-cell.png")
    output.get_by_role("button", name="Notify me").click()
    expect(output).to_contain_text("You are notified when the GPU is granted.")

    # The choice is kept when the page is loaded again.
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save-all')")
    workspaces = lab.folder / "config/lab/workspaces"
    wait_until(
        lambda: any("fastgpu-jupyter:notifier" in path.read_text() for path in workspaces.glob("*")),
        "the choice is saved",
    )
    page.reload()
    button.click()
    expect(popover.locator(".fg-Position")).to_contain_text("Position 1 of 1")
    expect(popover.get_by_role("button", name="Do not notify me")).to_be_visible()
    assert violations(page, ".fg-Popover") == []
    page.screenshot(path=screenshots / "controls-waiting.png")
    page.keyboard.press("Escape")
    user.launcher()  # the notebook is out of view
    lab.pool.release(other["id"], token)
    toast = page.locator(".Toastify__toast", has_text="The GPU of Untitled.ipynb is active: full")
    expect(toast).to_have_count(1)
    page.screenshot(path=screenshots / "controls-granted.png")
    toast.get_by_role("button", name="Open Untitled.ipynb").click()
    expect(button).to_contain_text("full")
    expect(toast).to_have_count(0)

    # A smaller size than the one that waits is granted at once.
    lab.pool.release(next(view["id"] for view in lab.pool.leases() if view["state"] == "active"))
    expect(button).to_contain_text("Get a GPU…")
    lab.pool.request("half", token=token)
    button.click()
    popover.get_by_role("button", name="Get a GPU…").click()
    dialog = user.dialog()
    dialog.get_by_role("slider", name="Size").press("End")
    expect(dialog.locator(".fg-Offer")).to_contain_text("in the queue")
    page.screenshot(path=screenshots / "controls-get.png")
    dialog.get_by_role("button", name="Get full · 2.50 USD/h").click()
    expect(button).to_contain_text("position 1")
    output = user.run("6 * 9")
    output.get_by_role("button", name="Take half now · 1.25 USD/h").click()
    expect(output).to_contain_text("54")
    expect(button).to_contain_text("half")


def test_notebook_7_shows_the_item_and_who_may_only_read_sees_everything(
    page: Page, lab: LabProcess, screenshots: Path
) -> None:
    (lab.folder / "config/jupyter_server_config.py").write_text(READ_ONLY)
    lab.start()
    spec = {"display_name": "Python 3 (FastGPU)", "language": "python", "name": "fastgpu"}
    cells = [nbformat.v4.new_code_cell("6 * 7")]
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), lab.folder / "notebooks/job.ipynb"
    )
    user = LabPage(page, lab)
    user.open("notebooks/job.ipynb")
    user.wait_until_idle()
    button, popover = toolbar(page), page.locator(".fg-Popover")
    expect(button).to_contain_text("full")
    button.click()
    expect(popover).to_contain_text("You can see the leases of this server, but not change them.")
    expect(popover.get_by_role("slider", name="Size")).to_be_disabled()
    expect(popover.get_by_role("button", name="Release…")).to_be_disabled()
    assert violations(page, ".fg-Popover", ".fg-Toolbar") == []
    page.screenshot(path=screenshots / "controls-notebook.png")
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 560, "height": 700})
    expect(button).not_to_contain_text("USD")
    page.screenshot(path=screenshots / "controls-notebook-narrow.png")
    lab.pool.release(wait_until(lab.pool.leases, "there is a lease")[0]["id"])
    expect(button).to_have_attribute("data-state", "dashed")
