"""Idle notebooks of one user hand over their GPU, also after they were restored and before any cell has run in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from playwright.sync_api import Page, expect

from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.conftest import park_idle
from tests.views import value_of
from tests.waiting import wait_until

#: Long enough that no lease is parked because it was idle for so long.
IDLE_S = 600
LONG_CELL = "import time\nfor second in range(600):\n    time.sleep(1)"


def leases(lab: LabProcess) -> dict[str, dict[str, Any]] | None:
    """Return the two leases by their states, once both kernels have reported that no cell runs."""
    live = [cast("dict[str, Any]", view) for view in lab.pool.leases() if view["state"] != "ended"]
    found = {str(view["state"]): view for view in live if view["usage"]["busy"] is False}
    return found if len(live) == len(found) == 2 else None


def test_restored_notebooks_hand_over_the_gpu_to_the_one_whose_cell_runs(
    lab: LabProcess, page: Page, isolated: Path, screenshots: Path
) -> None:
    park_idle(isolated, IDLE_S)
    lab.start()
    user = LabPage(page, lab)
    user.open()
    for _ in range(2):
        user.start_notebook()
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save-all')")
    wait_until(lambda: leases(lab), "both kernels are idle")
    workspaces = isolated / "config/lab/workspaces"
    wait_until(
        lambda: any("Untitled1.ipynb" in path.read_text() for path in workspaces.glob("*")), "the layout is saved"
    )
    lab.end()

    lab.start()
    user.open()
    expect(page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text="Untitled1.ipynb")).to_be_visible()
    for name in ("Untitled.ipynb", "Untitled1.ipynb"):  # a notebook behind another one is restored when it is shown
        user.show_tab(name)
        user.wait_until_idle()
    restored = wait_until(lambda: leases(lab), "both kernels are idle")
    assert restored.keys() == {"active", "waiting"}
    holder, waiting = restored["active"], restored["waiting"]
    name = str(holder["holder"]["notebook"]).rpartition("/")[2]
    item = user.expand(user.panel().locator(f"[data-lease-id='{waiting['id']}']"))
    expect(item).to_contain_text(
        f"“{name}” has a GPU and is idle, so that it is parked for this request. It is parked in 9 min"
    )
    page.screenshot(path=screenshots / "idle-restored.png")

    user.show_tab(str(waiting["holder"]["notebook"]).rpartition("/")[2])
    expect(user.run("6 * 7")).to_contain_text("42")
    after = {view["id"]: view for view in lab.pool.leases()}
    assert after[waiting["id"]]["state"] == "active"
    assert (after[holder["id"]]["state"], value_of(after[holder["id"]]["parking"]["reason"])) == ("parked", "idle")
    user.show_tab(name)
    expect(user.run("6 * 9")).to_contain_text("54")
    wait_until(lambda: lab.pool.lease(holder["id"])["state"] == "active", "the GPU is back")


def test_waiting_cell_names_the_notebook_that_has_the_gpu(
    lab: LabProcess, page: Page, isolated: Path, screenshots: Path
) -> None:
    park_idle(isolated, IDLE_S)
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.start_notebook()
    user.run(LONG_CELL)
    user.start_notebook()
    output = user.run("6 * 7")
    expect(output).to_contain_text("“Untitled.ipynb” has a GPU, and a cell runs there.")
    expect(user.panel().locator("[data-state='waiting']").first).to_contain_text("and a cell runs there.")
    page.screenshot(path=screenshots / "idle-waiting.png")
    user.show_tab("Untitled.ipynb")
    user.notebook().locator("[data-jp-item-name='interrupt']").click()
    user.show_tab("Untitled1.ipynb")
    expect(output).to_contain_text("42")
