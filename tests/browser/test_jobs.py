"""Jobs in the panel, in the cell, in the main area, and their ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from fastgpu_jupyter.jobs import places
from tests.browser.axe import violations
from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.jobs.samples import every_state, store_result
from tests.jobs.scripted_dispatcher import ScriptedDispatcher

MIME = "application/vnd.fastgpu.job+json"


def saved_notebook(folder: Path, name: str, *views: Any) -> None:
    """Write a notebook with a cell for each job, as it was saved while the job waited."""
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
    (folder / name).write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture
def dispatcher(isolated: Path) -> Iterator[ScriptedDispatcher]:
    """A dispatcher with jobs in every state."""
    places.jobs_dir().mkdir(parents=True)
    with ScriptedDispatcher(*every_state(store_result(places.results_folder()))) as fake:
        fake.logs[17] = b"".join(b"epoch %d loss 0.2\n" % epoch for epoch in range(22))
        yield fake


def job_line(user: LabPage, name: str) -> Locator:
    """Return the item of a job in the panel."""
    return user.section("jobs").locator(".fg-Item[data-job-id]", has_text=name)


def test_jobs_in_every_state(lab: LabProcess, dispatcher: ScriptedDispatcher, page: Page, screenshots: Path) -> None:
    lab.start()
    notebooks = lab.folder / "notebooks"
    saved_notebook(notebooks, "digits.ipynb", *dispatcher.jobs.values())
    user = LabPage(page, lab)
    user.open("lab/tree/digits.ipynb")
    user.dialog().get_by_role("button", name="No Kernel").click()
    page.locator(".fg-LiveJob").first.wait_for()
    panel = user.panel()
    expect(panel.get_by_role("button", name="Jobs: 2 running · 3 queued")).to_be_visible()
    job_line(user, "Job 17").locator(".fg-ListRow-toggle").click()
    page.wait_for_timeout(800)
    page.screenshot(path=screenshots / "jobs-1.png")
    for name in ("leases", "spending", "queue", "devices"):
        user.section(name).evaluate("n => 0")
    page.set_viewport_size({"width": 1280, "height": 1500})
    page.wait_for_timeout(800)
    page.screenshot(path=screenshots / "jobs-2.png")
    assert violations(page, ".fg-Section[data-section='jobs']", ".fg-LiveJob") == []
