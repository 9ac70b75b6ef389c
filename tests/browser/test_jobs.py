"""Jobs in the panel, in the cell and in the main area: in every state, and real ones from the cell to the result."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.client import running_dispatcher
from tests.browser.axe import violations
from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.helpers import alive
from tests.jobs.samples import every_state, store_result
from tests.jobs.scripted_dispatcher import ScriptedDispatcher
from tests.waiting import wait_until

MIME = "application/vnd.fastgpu.job+json"
NOT_A_STORE = b"this is no store of jobs"


class JobsPage(LabPage):
    """JupyterLab, and where its jobs are."""

    def job(self, number: int) -> Locator:
        """Return the item of a job in the panel."""
        return self.section("jobs").locator(f".fg-Item[data-job-id='{number}']")

    def live(self, number: int) -> Locator:
        """Return the live view of a job in a cell."""
        return self.page.get_by_role("group", name=re.compile(f"^Job {number}( ·|$)")).and_(
            self.page.locator(".fg-LiveJob")
        )

    def toasts(self, text: str) -> Locator:
        """Return the notifications with a text."""
        return self.page.locator(".Toastify__toast", has_text=text)


def save_notebook(folder: Path, *views: Any) -> None:
    """Write digits.ipynb with a cell for each job, as it was saved while the job waited."""
    cells = [
        {
            "cell_type": "code", "execution_count": 1, "id": f"cell-{view['id']}", "metadata": {},
            "source": "%%fastgpu job --size half\nmodel = train(x, y)",
            "outputs": [{
                "output_type": "display_data", "metadata": {},
                "data": {MIME: {"interface": 1, "id": view["id"], "view": view}, "text/plain": f"Job {view['id']}"},
            }],
        }
        for view in views
    ]  # fmt: skip
    folder.mkdir(exist_ok=True)
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "digits.ipynb").write_text(json.dumps(notebook))


@pytest.fixture
def dispatcher(isolated: Path) -> Iterator[ScriptedDispatcher]:
    """A dispatcher with jobs in every state, and a store that no other one takes over."""
    places.jobs_dir().mkdir(parents=True)
    (places.jobs_dir() / places.DATABASE).write_bytes(NOT_A_STORE)
    with ScriptedDispatcher(*every_state(store_result(places.results_folder()))) as scripted:
        scripted.logs[17] = b"".join(b"epoch %d loss 0.2\n" % epoch for epoch in range(200))
        yield scripted


@pytest.fixture
def user(lab: LabProcess, dispatcher: ScriptedDispatcher, page: Page) -> JobsPage:
    """JupyterLab with a notebook of jobs in every state, and one of another user, and the panel."""
    views = list(dispatcher.jobs.values())
    save_notebook(lab.folder / "notebooks", *views, {**views[0], "id": 99})
    lab.start()
    found = JobsPage(page, lab)
    found.open("lab/tree/digits.ipynb")
    found.dialog().get_by_role("button", name="No Kernel").click()
    found.panel()
    return found


def test_jobs_in_every_state_from_the_panel_to_the_result(
    user: JobsPage, dispatcher: ScriptedDispatcher, page: Page, screenshots: Path
) -> None:
    log_and_result_are_tabs_that_come_back(user, dispatcher, screenshots)
    jobs_are_shown_and_changed(user, dispatcher, screenshots)
    ends_are_announced_once(user, dispatcher)
    # Notebook 7 has the live view as well, here of a user who may only look.
    page.route("**/api/me*", lambda route: route.fulfill(json={"identity": {}, "permissions": {"fastgpu:jobs": []}}))
    last_known_state_is_shown_without_a_dispatcher(user, dispatcher, screenshots)


def log_and_result_are_tabs_that_come_back(user: JobsPage, dispatcher: ScriptedDispatcher, screenshots: Path) -> None:
    """Open the log and the result of a job, and load the page again."""
    page = user.page
    user.live(17).get_by_role("button", name="Log of Job 17 · train").click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("epoch 199 loss")
    dispatcher.logs[17] += b"\x1b[32m 50%|#####     |\r100%|##########|\x1b[0m\n<b>done</b>\n"
    dispatcher.change(17, log_bytes=len(dispatcher.logs[17]))
    expect(log).to_contain_text("100%|##########|\n<b>done</b>\n", use_inner_text=True)
    expect(log).not_to_contain_text("50%|")
    follow = page.get_by_role("checkbox", name="Follow")
    expect(follow).to_be_checked()
    log.evaluate("node => { node.scrollTop = 0; }")
    expect(follow).not_to_be_checked()
    page.screenshot(path=screenshots / "job-log.png")

    user.show_tab("digits.ipynb")
    done = user.live(14)
    done.scroll_into_view_if_needed()
    done.get_by_role("button", name="Result of Job 14 · train").click()
    result = page.locator(".fg-JobResult")
    expect(result.get_by_role("row")).to_have_text(["NameTypeSize", re.compile("modelsklearn.svm._classes.SVC")])
    image = result.get_by_role("img", name="<Figure size 640x480>")
    expect(image).to_be_visible()
    assert image.evaluate("node => node.decode().then(() => node.naturalWidth)") == 2
    expect(result).to_contain_text("1 output is not shown")
    with page.expect_download() as file:
        result.get_by_role("button", name="Download out/metrics.csv").click()
    assert file.value.path().read_bytes() == b"loss,acc\n0.11,0.98\n"
    assert violations(page, ".fg-JobResult") == []
    page.screenshot(path=screenshots / "job-result.png")

    # The user is notified of this job also after a reload, and the tabs are back.
    user.show_tab("digits.ipynb")
    user.live(18).get_by_role("button", name="Notify me").click()
    expect(user.live(18).get_by_role("button", name="Do not notify me")).to_be_visible()
    workspaces = user.server.folder / "config/lab/workspaces"
    kept = "fastgpu-job-result-14"
    wait_until(lambda: any(kept in one.read_text() for one in workspaces.glob("*")), "the layout is saved")
    page.reload()
    page.locator(".lm-TabBar-tab", has_text="Result of Job 14").wait_for()
    user.dialog().get_by_role("button", name="No Kernel").click()
    user.show_tab("Log of Job 17")
    expect(log).to_contain_text("epoch 199 loss")


def ends_are_announced_once(user: JobsPage, dispatcher: ScriptedDispatcher) -> None:
    """See one notification in two pages: of the chosen job, and of the others."""
    second = user.page.context.new_page()
    other = JobsPage(second, user.server)
    other.open()
    second.locator(".jp-LabShell").wait_for()
    second.locator(".jp-SideBar [data-id='fastgpu-panel']").click()
    expect(other.job(17)).to_be_visible()
    expect(user.job(17)).to_be_visible()
    dispatcher.change(18, state="done", cost_micro=5_000, ended_at=dispatcher.jobs[17]["started_at"])
    dispatcher.change(16, state="failed", error={"name": "ValueError", "text": "no such file"})

    def announced(text: str) -> int:
        return user.toasts(text).count() + other.toasts(text).count()

    for text in ("Job 18 · score is done. Cost: 0.0050 USD.", "Job 16 · embed.py has failed: ValueError: no such file"):
        wait_until(partial(announced, text), f"a page says: {text}")
        assert announced(text) == 1
    shown = user if user.toasts("Job 16").count() else other
    shown.page.bring_to_front()
    shown.toasts("Job 16").get_by_role("button", name="Open").click()
    expect(shown.job(16).locator(".fg-ListRow-toggle")).to_have_attribute("aria-expanded", "true")
    expect(shown.job(16).locator(".fg-ListRow-toggle")).to_be_focused()
    second.close()


def jobs_are_shown_and_changed(user: JobsPage, dispatcher: ScriptedDispatcher, screenshots: Path) -> None:
    """See each state, move by the keyboard, and change jobs."""
    page = user.page
    user.show_tab("digits.ipynb")
    # JupyterLab gives a notebook the focus some time after its tab was clicked.
    page.wait_for_function("() => document.activeElement?.closest('.jp-NotebookPanel') !== null")
    page.set_viewport_size({"width": 1280, "height": 1300})
    section = user.section("jobs")
    expect(user.panel().get_by_role("button", name="Jobs: 2 running · 3 queued")).to_be_visible()
    expect(section.locator(".fg-GroupRow")).to_have_text([re.compile("Running2 · 1.88 USD/h"), "Queued3", "Ended5"])

    # The live views: the same states as in the panel, and a job that is not the user's has no buttons.
    expect(user.live(17)).to_contain_text("epoch 21 of 50 · about")
    expect(user.live(17).get_by_role("progressbar")).to_have_attribute("aria-valuenow", "42")
    expect(user.live(18)).to_contain_text("Position 2, about 4 min. half, low priority: interactive cells go first.")
    expect(user.live(12)).to_contain_text("Parked")
    assert violations(page, ".fg-LiveJob", ".fg-Section[data-section='jobs']") == []

    # The keyboard: one Tab stop, arrows through groups and jobs, Enter opens, arrows reach the buttons of a line.
    expect(section.locator("li [tabindex='0']")).to_have_count(1)
    section.get_by_role("button", name=re.compile("^Running: 2")).focus()
    page.keyboard.press("ArrowDown")
    expect(user.job(17).locator(".fg-ListRow-toggle")).to_be_focused()
    page.keyboard.press("Enter")
    expect(user.job(17).locator(".fg-JobLog")).to_contain_text("epoch 21 loss")
    page.screenshot(path=screenshots / "jobs.png")
    page.keyboard.press("End")
    expect(user.job(10).locator(".fg-ListRow-toggle")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(user.job(10).get_by_role("button", name="Run Job 10 · sweep again")).to_be_focused()
    section.locator(".jp-FilterBox input").fill("nothing like it")
    expect(section).to_contain_text("No job matches.")
    section.get_by_role("button", name="Clear").click()

    # A running job is cancelled after a question, whose default is to let it run; a waiting one at once.
    user.live(17).get_by_role("button", name="Cancel Job 17 · train").click()
    expect(user.dialog()).to_contain_text("Cancel the running job?")
    page.keyboard.press("Enter")
    expect(user.dialog()).to_have_count(0)
    user.live(16).get_by_role("button", name="Cancel Job 16 · embed.py").click()
    user.dialog().get_by_role("button", name="Cancel the job").click()
    expect(user.live(16)).to_contain_text("Cancelling")
    user.live(19).get_by_role("button", name="Cancel Job 19 · report").click()
    expect(user.live(19)).to_contain_text("Cancelled")
    assert [given["id"] for call, given in dispatcher.asked if call == "cancel"] == [16, 19]

    failed = user.live(13)
    failed.scroll_into_view_if_needed()
    expect(failed).to_contain_text("NameError: name 'lr' is not defined")
    failed.get_by_role("button", name="Run Job 13 · load again").click()
    expect(user.toasts("Job 20 · load was submitted.")).to_have_count(1)
    expect(user.job(20)).to_be_visible()
    lost = user.live(11)
    lost.scroll_into_view_if_needed()
    expect(lost).to_contain_text("The computer was restarted while the job ran.")
    other = user.live(99)
    other.scroll_into_view_if_needed()
    expect(other).to_contain_text("This job is not in your list of jobs.")
    expect(other.get_by_role("button")).to_have_count(0)

    user.job(14).hover()
    user.job(14).get_by_role("button", name="More actions for Job 14 · train").click()
    menu = page.locator(".lm-Menu-item:not(.lm-mod-hidden) .lm-Menu-itemLabel")
    expect(menu.filter(has_text=re.compile("^(Result|Log|Explain|Run again|Cancel.*)$"))).to_have_text(
        ["Result", "Log", "Explain", "Run again"]
    )
    menu.filter(has_text="Explain").click()
    expect(user.dialog()).to_contain_text("Job 14 · train")
    user.dialog().get_by_role("button", name="Close").click()
    section.get_by_role("button", name="Delete old results…").click()
    expect(user.dialog()).to_contain_text("Your jobs and their results take 102 MiB.")
    user.dialog().get_by_role("combobox").select_option("all that have ended")
    user.dialog().get_by_role("button", name="Delete").click()
    expect(user.toasts("jobs were deleted")).to_have_count(1)
    assert ("prune", {"older_ms": 0, "bytes_max": None}) in dispatcher.asked


def last_known_state_is_shown_without_a_dispatcher(
    user: JobsPage, dispatcher: ScriptedDispatcher, screenshots: Path
) -> None:
    """See in Notebook 7 and in JupyterLab what was known last, with nothing to change."""
    page = user.page
    user.open("notebooks/digits.ipynb")
    user.dialog().get_by_role("button", name="No Kernel").click()
    expect(user.live(17)).to_contain_text("1.25 USD/h")
    expect(user.live(17).get_by_role("button", name="Cancel Job 17")).to_be_disabled()
    user.live(17).get_by_role("button", name="Log of Job 17").click()
    expect(page.get_by_role("log")).to_contain_text("epoch 199 loss")
    page.screenshot(path=screenshots / "jobs-notebook7.png")

    user.open("lab/tree/digits.ipynb")
    user.dialog().get_by_role("button", name="No Kernel").click()
    user.panel()
    section = user.section("jobs")
    expect(section).to_contain_text("You may see the jobs of this server and not change them.")
    expect(user.job(17)).to_be_visible()
    dispatcher.stop()
    expect(section).to_contain_text("The store of jobs")
    expect(section).to_contain_text("What is below is from")
    expect(user.live(17)).to_contain_text(re.compile(r"Unknown.*Last known at .*: Running, 42%", re.DOTALL))
    expect(user.live(17).get_by_role("button", name="Cancel Job 17")).to_be_disabled()
    page.screenshot(path=screenshots / "jobs-unknown.png")
    dispatcher.start()
    expect(user.live(17)).to_contain_text("1.25 USD/h")
    expect(section).not_to_contain_text("What is below is from")


JOB = """%%fastgpu job --size half --out answer
import time, pathlib
import fastgpu_jupyter
for step in range(1, 4):
    fastgpu_jupyter.progress(step, 4, "step")
    print("step", step, flush=True)
    time.sleep(0.2)
while not pathlib.Path("go-on").exists():
    time.sleep(0.05)
answer = 6 * 7
print("the answer is", answer)"""


@pytest.fixture
def real_jobs(isolated: Path) -> Iterator[None]:
    """End the dispatcher that the kernel of the test starts."""
    yield
    found = running_dispatcher()
    if found is not None:
        pid = found.ping()["pid"]
        for view in found.jobs(["queued", "running"]):
            found.cancel(view["id"])
            found.wait(view["id"], 30)
        found.stop()
        found.close()
        wait_until(lambda: not alive(pid), "the dispatcher ends")


def test_cell_becomes_a_job_that_goes_on_without_its_notebook_and_leaves_a_result(
    lab: LabProcess, real_jobs: None, page: Page, screenshots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTGPU_SIMULATE", "2xA100-80GB")
    lab.start()
    user = JobsPage(page, lab)
    user.open()
    user.launcher()
    user.panel()
    expect(user.section("jobs")).to_contain_text("No jobs. Put %%fastgpu job on top of a cell")
    page.screenshot(path=screenshots / "jobs-none.png")
    user.start_notebook()
    user.run(JOB)
    live = user.live(1)
    expect(live).to_contain_text("Running")
    expect(live.get_by_role("progressbar")).to_have_attribute("aria-valuetext", re.compile("step 3 of 4"))
    expect(live.locator(".fg-JobLog")).to_contain_text("step 3")
    expect(user.panel().get_by_role("button", name="Jobs: 1 running")).to_be_visible()
    page.screenshot(path=screenshots / "job-runs.png")
    page.evaluate("window.jupyterapp.shell.currentWidget.context.save()")
    page.reload()
    expect(live).to_contain_text("Running")
    # Without the notebook, and without its kernel, the job goes on.
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.evaluate("window.jupyterapp.shell.currentWidget.dispose()")
    (lab.folder / "notebooks/go-on").touch()
    toast = user.toasts("is done")
    expect(toast).to_have_count(1)
    toast.get_by_role("button", name="Open").click()
    user.job(1).get_by_role("button", name=re.compile("^Result of Job 1")).click()
    result = page.locator(".fg-JobResult")
    expect(result.get_by_role("row", name=re.compile("answer int"))).to_be_visible()
    expect(result.locator(".fg-JobLog")).to_contain_text("the answer is 42")
    page.screenshot(path=screenshots / "job-done.png")
