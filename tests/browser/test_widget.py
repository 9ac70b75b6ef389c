"""The widget in JupyterLab and Notebook 7: it works while a cell runs, and does not keep its kernel awake."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import TYPE_CHECKING

import nbformat
from playwright.sync_api import Locator, Page, WebSocket, expect

from fastgpu_jupyter.errors import PoolUnreachable
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.locate import user_socket
from tests.browser.lab_page import LabPage
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.conftest import LabProcess

CULL_S = 10
#: Two widgets, and a cell that runs until it is interrupted.
SHOW_AND_RUN = """
from fastgpu_jupyter import GPUWidget
display(GPUWidget(), GPUWidget())
import time
while True:
    time.sleep(0.1)
"""

SHOW_IN_CHINESE = """
from fastgpu_jupyter import GPUWidget
from fastgpu_jupyter.messages import language
language.use("zh_CN")
display(GPUWidget())
language.use("en")
"""

#: A page with an object of another interface has none that the widget could use: as in VS Code, it asks its kernel.
ANOTHER_PAGE = """Object.defineProperty(globalThis, Symbol.for('fastgpu_jupyter:page'), {
    get: () => ({ interface: 99 }), set: () => undefined
})"""


class CommCounter:
    """The comm messages of a page's kernels, in both directions."""

    def __init__(self, page: Page) -> None:
        self.count = 0
        page.on("websocket", self._watch)

    def _watch(self, socket: WebSocket) -> None:
        socket.on("framesent", self._look)
        socket.on("framereceived", self._look)

    def _look(self, payload: str | bytes) -> None:
        data = payload.encode() if isinstance(payload, str) else payload
        self.count += any(kind in data for kind in (b'"comm_msg"', b'"comm_open"', b'"comm_close"'))


def kill_pool() -> None:
    """SIGKILL the pool manager of the user."""
    sock = unixsocket.connect(user_socket(), 5.0)
    pid = unixsocket.peer_of(sock).pid
    sock.close()
    os.kill(pid, signal.SIGKILL)


def is_active(lab: LabProcess, lease_id: str) -> bool:
    """Return whether a pool manager answers, with the lease active."""
    try:
        return lab.pool.lease(lease_id)["state"] == "active"
    except PoolUnreachable:
        return False


def button(widget: Locator, name: str) -> Locator:
    return widget.get_by_role("button", name=name)


def test_widgets_work_while_a_cell_runs_and_do_not_keep_the_kernel_awake(
    page: Page, lab: LabProcess, screenshots: Path
) -> None:
    lab.start(
        f"--MappingKernelManager.cull_idle_timeout={CULL_S}", "--MappingKernelManager.cull_interval=1",
        "--MappingKernelManager.cull_connected=True",
    )  # fmt: skip
    comms = CommCounter(page)
    user = LabPage(page, lab)
    user.open()
    user.start_notebook()
    output = user.run(SHOW_AND_RUN)
    first, second = output.locator(".fg-Widget").first, output.locator(".fg-Widget").nth(1)
    for widget in (first, second):
        expect(widget).to_contain_text("full · 80 GiB of A100-80GB · running a cell".replace(" · ", ""))
    tables = output.locator(".fastgpu-snapshot")
    expect(tables).to_have_count(2)
    expect(tables.first).to_be_hidden()  # the widget shows the lease itself
    user.panel()
    assert comms.count > 0  # those that made the widgets; so the counter works
    comms.count = 0

    # Both widgets follow what is done in one of them, while the cell runs.
    slider = first.get_by_role("slider")
    slider.focus()
    page.keyboard.press("ArrowLeft")  # and not the cell above
    expect(slider).to_be_focused()
    expect(first).to_contain_text("Requested")
    page.screenshot(path=screenshots / "widget-pending.png")
    button(first, "Apply half").click()
    for widget in (first, second):
        expect(widget).to_contain_text("40 GiB of A100-80GB")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^half"))
    expect(first.locator(".fg-Pending")).to_have_count(0)
    (lease,) = [view for view in lab.pool.leases() if view["state"] == "active"]
    assert lease["request"]["size"] == "half"
    button(second, "Pin").click()
    expect(button(first, "Unpin")).to_be_visible()

    # A refused size stays as a sentence until it is dismissed; the slider is back.
    refusal = {"code": "conflict", "message": "31.2 GiB are in use and quarter has 20 GiB."}
    resizes = re.compile("/leases/[^/]+/resize")
    page.route(resizes, lambda route: route.fulfill(status=409, json=refusal))
    slider.focus()
    page.keyboard.press("ArrowLeft")
    button(first, "Apply quarter").click()
    alert = first.get_by_role("alert")
    expect(alert).to_contain_text("Resize to quarter refused. 31.2 GiB are in use and quarter has 20 GiB.")
    expect(alert).to_contain_text("stays half")
    expect(first.locator(".fg-Pending")).to_have_count(0)
    page.screenshot(path=screenshots / "widget-refused.png")
    button(first, "Dismiss").click()
    expect(alert).to_have_count(0)
    page.unroute(resizes)

    # The pool manager is killed, and another one takes its place.
    kill_pool()
    wait_until(lambda: is_active(lab, lease["id"]), "the lease is back")
    button(first, "Unpin").click()
    expect(button(second, "Pin")).to_be_visible()
    page.screenshot(path=screenshots / "widget-light.png")
    user.theme("JupyterLab Dark")
    page.screenshot(path=screenshots / "widget-dark.png")
    user.theme("JupyterLab Light")

    # The kernel is shut down on time although two widgets and the panel show its lease.
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save-all')")
    user.notebook().locator("[data-jp-item-name='interrupt']").click()
    expect(output).to_contain_text("KeyboardInterrupt")
    idle_since = time.monotonic()
    wait_until(lambda: lab.call("GET", "api/kernels")[1] == [], "the idle kernel is shut down", 4 * CULL_S)
    assert time.monotonic() - idle_since < 2 * CULL_S
    assert comms.count == 0
    for widget in (first, second):
        expect(widget).to_contain_text("This widget belongs to a kernel that has ended. Run the cell again")
    expect(tables.first).to_be_visible()
    page.screenshot(path=screenshots / "widget-ended.png")

    # The saved notebook has the table, also where its kernel is gone.
    saved = nbformat.read(lab.folder / "notebooks/Untitled.ipynb", 4)
    texts = ["".join(one.get("data", {}).get("text/html", "")) for one in saved.cells[0].outputs]
    assert sum("GPU lease at 20" in text for text in texts) == 2


def test_widget_in_notebook_7_and_without_the_page(page: Page, lab: LabProcess, screenshots: Path) -> None:
    lab.start()
    spec = {"display_name": "Python 3 (FastGPU)", "language": "python", "name": "fastgpu"}
    cells = [nbformat.v4.new_code_cell(code) for code in ("%fastgpu widget", "6 * 7")]
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), lab.folder / "notebooks/job.ipynb"
    )
    comms = CommCounter(page)
    user = LabPage(page, lab)
    user.open("notebooks/job.ipynb")
    user.wait_until_idle()
    widget = user.run("%fastgpu widget").locator(".fg-Widget")
    expect(widget).to_contain_text("80 GiB of A100-80GB")
    comms.count = 0
    button(widget, "Park").click()
    expect(widget).to_contain_text("Parked")
    page.screenshot(path=screenshots / "widget-notebook.png")
    button(widget, "Resume").press("Enter")
    expect(button(widget, "Park")).to_be_visible()
    page.set_viewport_size({"width": 560, "height": 800})
    page.screenshot(path=screenshots / "widget-narrow.png")
    assert comms.count == 0
    button(widget, "Park").press("Shift+Enter")  # runs the cell, and nothing else
    expect(page.locator(".jp-CodeCell").nth(1)).to_contain_class("jp-mod-active")

    # In a page that the widget does not know, it asks its kernel, and only when the user acts.
    page.set_viewport_size({"width": 1280, "height": 800})
    page.add_init_script(ANOTHER_PAGE)
    user.open("notebooks/job.ipynb")
    user.wait_until_idle()
    # Its texts are in the language of the kernel's user.
    widget = user.run(SHOW_IN_CHINESE).locator(".fg-Widget")
    expect(button(widget, "刷新")).to_be_visible()
    english = re.compile(r"[A-Za-z]+(?: [a-z]+){2,}")  # three words of English in a row
    assert english.findall(widget.inner_text()) == []
    page.screenshot(path=screenshots / "widget-comm-zh.png")
    output = user.run(SHOW_AND_RUN)
    first, second = output.locator(".fg-Widget").first, output.locator(".fg-Widget").nth(1)
    expect(second).to_contain_text("80 GiB of A100-80GB")
    table = output.locator(".fastgpu-snapshot").first
    expect(table).to_contain_text("GPU lease at 20")
    before = table.inner_text()
    comms.count = 0
    expect(table).not_to_have_text(before)  # it is updated while the cell runs, and the widgets send nothing
    assert comms.count == 0
    button(first, "Pin").click()
    for widget in (first, second):
        expect(button(widget, "Unpin")).to_be_visible()
    slider = first.get_by_role("slider")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    button(first, "Apply half").click()
    for widget in (first, second):
        expect(widget).to_contain_text("40 GiB of A100-80GB")
    page.screenshot(path=screenshots / "widget-comm.png")
    sent = comms.count

    def has_asked() -> bool:
        page.wait_for_timeout(50)  # events of the page arrive only inside such a call
        return comms.count > sent

    button(second, "Refresh").click()
    wait_until(has_asked, "the widget asks its kernel")
