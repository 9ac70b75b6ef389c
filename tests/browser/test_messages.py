"""What the interface tells the user: notifications, the release dialog, a resume that waits."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from fastgpu_jupyter.wire.client import new_token
from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.waiting import wait_until


def test_release_dialog_says_that_a_cell_runs_and_a_waiting_resume_is_withdrawn(
    page: Page, lab: LabProcess, screenshots: Path
) -> None:
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.start_notebook()
    user.run("import pathlib, time\nwhile not pathlib.Path('go-on').exists(): time.sleep(0.05)")
    user.panel()
    item = user.item("Untitled.ipynb")
    expect(item).to_contain_text("running a cell")
    item.get_by_role("button", name="Release the GPU of Untitled.ipynb").click()
    expect(user.dialog()).to_contain_text("A cell of “Untitled.ipynb” is running")
    page.screenshot(path=screenshots / "release-while-running.png")
    user.dialog().get_by_role("button", name="Cancel").click()
    (lab.folder / "notebooks/go-on").touch()
    expect(item).to_contain_text("idle for")

    (lease,) = lab.pool.leases()
    item.get_by_role("button", name="Park the GPU of Untitled.ipynb").click()
    expect(item).to_have_attribute("data-state", "parked")
    assert lab.pool.request("full", token=new_token())["state"] == "active"
    item.get_by_role("button", name="Resume the GPU of Untitled.ipynb").click()
    expect(item).to_contain_text("Expected wait")
    expect(user.status()).to_contain_text("waiting to resume, position 1")
    page.screenshot(path=screenshots / "waits-to-resume.png")
    item.get_by_role("button", name="Keep Untitled.ipynb parked").click()
    expect(item).to_have_attribute("data-state", "parked")
    assert lab.pool.queue() == []
    assert lab.pool.lease(lease["id"])["state"] == "parked"


def test_budget_is_notified_once_in_whole_sentences_and_no_longer_when_it_is_raised(
    page: Page, lab: LabProcess, screenshots: Path
) -> None:
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.start_notebook()
    (lease,) = lab.pool.leases()
    for _ in range(20):
        lab.pool.request("full", token=new_token())
    panel = user.panel()
    expect(panel.get_by_role("button", name="Waiting: 20")).to_be_visible()
    lab.pool.set_budget(lease["tenant"]["key"], 1, "stop")
    toast = page.locator(".Toastify__toast", has_text="budget")
    expect(toast).to_have_count(1)
    expect(toast).to_contain_text("Nothing more is granted")
    expect(toast.locator(".jp-toast-message")).not_to_contain_text("…")
    expect(user.item("Untitled.ipynb")).to_contain_text("Nothing more is granted")
    warned = panel.locator(".fg-Item[data-warns='true']")
    expect(panel.locator(".fg-Item[data-lease-id]:not([data-warns='true'])")).to_have_count(0)
    page.screenshot(path=screenshots / "budget-spent.png")
    lab.pool.set_budget(lease["tenant"]["key"], 10**9, None)
    expect(toast).to_have_count(0)
    expect(page.get_by_text("Nothing more is granted")).to_have_count(0)
    expect(warned).to_have_count(0)


def test_granted_gpu_is_not_announced_where_its_notebook_is_in_view(page: Page, lab: LabProcess) -> None:
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.start_notebook()
    (first,) = lab.pool.leases()
    user.start_notebook()
    second = next(one for one in lab.pool.leases() if one["id"] != first["id"])
    lab.start_session("report.ipynb")
    page.evaluate(
        """() => {
            const { shell } = window.jupyterapp;
            shell.add(shell.currentWidget, 'main', { mode: 'split-right' });
        }"""
    )
    shown = page.locator(".jp-NotebookPanel:visible")
    expect(shown).to_have_count(2)
    shown.first.locator(".cm-content").first.click()
    lab.pool.release(first["id"])
    wait_until(lambda: lab.pool.lease(second["id"])["state"] == "active", "the second notebook has the GPU")
    lab.pool.release(second["id"])
    toasts = page.locator(".Toastify__toast", has_text="is ready")
    expect(toasts).to_have_text([re.compile("The GPU for “report.ipynb” is ready.")])
