"""User journeys in JupyterLab: a real browser, a real server and a real pool manager."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect

from fastgpu_jupyter.wire.client import new_token
from tests.browser.conftest import ROOT, LabProcess, lab_in, new_tab
from tests.browser.lab_page import LabPage
from tests.conftest import isolate, park_idle

WORK = "import math\nmath.factorial(20)"
WORK_SAYS = "2432902008176640000"


@pytest.fixture(scope="module")
def opened(browser: Browser, installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPage]:
    """JupyterLab with its launcher open, for the tests that neither configure it nor stop its server."""
    folder = tmp_path_factory.mktemp("opened")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as cleanup:
        isolate(folder, patch)
        install_kernel("nonsense", "Nonsense (FastGPU)", {"profile": "gigantic"})
        server = lab_in(folder)
        cleanup.callback(server.end)
        server.start()
        user = LabPage(cleanup.enter_context(new_tab(browser)), server)
        user.open()
        user.launcher()
        yield user


@pytest.fixture
def user(opened: LabPage) -> Iterator[LabPage]:
    """That JupyterLab without documents, kernels and leases."""
    yield opened
    opened.close_all()


def test_second_notebook_waits_until_first_releases_its_gpu(user: LabPage, screenshots: Path) -> None:
    user.start_notebook()
    expect(user.run(WORK)).to_contain_text(WORK_SAYS)

    panel = user.panel()
    first = user.item("Untitled.ipynb")
    expect(first).to_contain_text("Active")
    expect(first).to_contain_text("simulated")
    expect(user.status()).to_contain_text("A100")

    user.start_notebook()
    output = user.run(WORK)
    expect(output).to_contain_text("Waiting for a GPU: position 1 in the queue.")
    expect(user.status()).to_contain_text("waiting, position 1")
    expect(panel.locator(".fg-Request")).to_contain_text("Untitled1.ipynb")
    expect(panel.locator(".fg-Request")).to_contain_text("you")
    user.page.screenshot(path=screenshots / "waiting-light.png")
    user.theme("JupyterLab Dark")
    user.page.screenshot(path=screenshots / "waiting-dark.png")
    user.theme("JupyterLab Light")

    user.open_item("Untitled.ipynb").get_by_role("button", name="Release the GPU of Untitled.ipynb").click()
    expect(user.dialog()).to_contain_text("Release the GPU?")
    user.page.screenshot(path=screenshots / "release.png")
    user.dialog().get_by_role("button", name="Release", exact=True).click()

    expect(output).to_contain_text(WORK_SAYS)
    expect(output).not_to_contain_text("Waiting for a GPU")
    expect(user.status()).to_contain_text("A100")
    expect(panel.locator(".fg-Request")).to_have_count(0)

    # The first notebook released its GPU; its kernel and variables still exist.
    user.show_tab("Untitled.ipynb")
    expect(user.run("math.pi")).to_contain_text("3.14159")
    expect(user.status()).to_contain_text("No GPU lease")


def test_interrupt_ends_wait_but_not_kernel(user: LabPage) -> None:
    user.server.pool.request("full", token=new_token())  # another lease of the same user holds the GPU
    user.start_notebook()
    output = user.run(WORK)
    expect(output).to_contain_text("Waiting for a GPU: position 1 in the queue.")
    user.notebook().locator("[data-jp-item-name='interrupt']").click()
    expect(output).to_contain_text("Stopped waiting for a GPU")
    expect(user.run("%fastgpu cpu")).to_contain_text("Cells run without a GPU")
    expect(user.run(WORK)).to_contain_text(WORK_SAYS)


def test_idle_notebook_is_parked_and_resumes_with_its_variables(page: Page, lab: LabProcess, screenshots: Path) -> None:
    park_idle(lab.folder, 3)
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.launcher()
    user.start_notebook()
    expect(user.run("kept = 6 * 7\nkept")).to_contain_text("42")
    panel = user.panel()
    first = user.item("Untitled.ipynb")
    expect(first).to_contain_text("idle for")
    page.screenshot(path=screenshots / "idle.png")

    # The cell of the second notebook waits shortly; then the first, which is idle, is parked automatically.
    user.start_notebook()
    output = user.run("import time\nfor i in range(150):\n    print(i)\n    time.sleep(0.1)")
    expect(output).to_contain_text("7")
    second = user.item("Untitled1.ipynb")
    expect(second).to_contain_text("running a cell")
    user.open_item("Untitled.ipynb")
    expect(first).to_contain_text("Parked: No cell ran, and another request needed the GPU. Variables are preserved.")
    expect(panel.get_by_role("button", name="Resume the GPU of Untitled.ipynb")).to_be_enabled()
    for name, theme in (("light", "Light"), ("dark", "Dark"), ("high-contrast", "Dark High Contrast")):
        user.theme(f"JupyterLab {theme}")
        page.screenshot(path=screenshots / f"parked-{name}.png")
    user.theme("JupyterLab Light")

    # A cell in the first notebook waits until the second is idle, and finds its variables unchanged.
    user.show_tab("Untitled.ipynb")
    expect(user.status()).to_contain_text("GPU: parked")
    output = user.run("kept + 1")
    expect(output).to_contain_text("Waiting for the GPU to come back to this notebook: position 1 in the queue.")
    expect(output).to_contain_text("No cell ran, and another request needed the GPU. Its variables")
    expect(user.status()).to_contain_text("waiting to resume, position 1")
    page.screenshot(path=screenshots / "resuming.png")
    page.set_viewport_size({"width": 760, "height": 800})
    page.screenshot(path=screenshots / "resuming-narrow.png")
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(output).to_contain_text("43", timeout=60_000)
    expect(output).not_to_contain_text("Waiting for the GPU")
    user.open_item("Untitled1.ipynb")
    expect(second).to_contain_text("Parked: No cell ran")

    # A pinned lease keeps its GPU while it is idle and another request waits.
    expect(user.run("%fastgpu pin")).to_contain_text("Pinned: this kernel keeps its GPU")
    expect(first).to_contain_text("pinned")
    panel.get_by_role("button", name="Resume the GPU of Untitled1.ipynb").click()
    expect(panel.locator(".fg-Request")).to_contain_text("Untitled1.ipynb")
    expect(first).to_contain_text("idle for 10 s")
    expect(first).to_contain_text("Active")
    page.screenshot(path=screenshots / "pinned.png")
    panel.get_by_role("button", name="Unpin the GPU of Untitled.ipynb").click()
    expect(second).to_contain_text("Active")
    expect(first).to_contain_text("Parked: No cell ran")


def test_buttons_and_commands_park_resume_and_pin_a_lease(user: LabPage, screenshots: Path) -> None:
    panel = user.panel()
    expect(panel).to_contain_text("You have no GPU leases")
    user.server.pool.set_tenant(getuser(), {"weight": 100, "guaranteed_milli": 0, "limit_milli": 2000, "group": None})
    user.start_notebook()
    expect(user.run("kept = 42")).to_be_attached()
    expect(panel).to_contain_text("You: 1 of 2 GPUs held")
    item = user.item("Untitled.ipynb")
    panel.get_by_role("button", name="Park the GPU of Untitled.ipynb").press("Enter")
    expect(item).to_contain_text("Parked: You parked it. Variables are preserved.")
    expect(item).to_be_focused()  # its button is gone; the focus moves to the item
    expect(user.status()).to_contain_text("GPU: parked")
    expect(panel).to_contain_text("80 GiB free")
    user.page.screenshot(path=screenshots / "parked-on-request.png")
    item.click(button="right")
    user.page.get_by_role("menuitem", name="Resume GPU").click()
    expect(item).to_contain_text("Active")
    user.page.get_by_role("menuitem", name="Kernel", exact=True).click()
    user.page.get_by_role("menuitem", name="Pin GPU").click()
    expect(item).to_contain_text("pinned")
    expect(panel.get_by_role("button", name="Unpin the GPU of Untitled.ipynb")).to_be_enabled()
    expect(user.run("kept")).to_contain_text("42")


def test_panel_shows_changes_by_other_clients_within_a_second(user: LabPage) -> None:
    panel = user.panel()
    expect(panel).to_contain_text("You have no GPU leases")
    delays_s = []
    for _ in range(3):
        token = new_token()
        requested = time.monotonic()
        lease = user.server.pool.request("full", notebook="elsewhere.ipynb", token=token)
        expect(user.item("elsewhere.ipynb")).to_be_visible()
        held = time.monotonic()
        user.server.pool.release(lease["id"], token)
        expect(panel).to_contain_text("You have no GPU leases")
        delays_s.append(max(held - requested, time.monotonic() - held))
    assert min(delays_s) < 1  # on a busy machine single updates may take longer


def test_release_dialog_can_be_cancelled_and_restores_focus(user: LabPage) -> None:
    user.start_notebook()
    expect(user.run(WORK)).to_contain_text(WORK_SAYS)
    button = user.panel().get_by_role("button", name="Release the GPU of Untitled.ipynb")
    button.click()
    user.dialog().get_by_role("button", name="Cancel").click()
    expect(user.dialog()).to_have_count(0)
    expect(button).to_be_focused()
    expect(user.status()).to_contain_text("A100")
    button.press("Enter")
    user.dialog().get_by_role("button", name="Release", exact=True).press("Enter")
    expect(button).to_have_count(0)
    expect(user.section("leases")).to_be_focused()


def test_kernel_with_invalid_size_is_refused_with_message(user: LabPage, screenshots: Path) -> None:
    user.launcher().locator(".jp-LauncherCard[data-category='Notebook']", has_text="Nonsense").first.click()
    expect(user.dialog()).to_contain_text("gigantic")
    expect(user.dialog()).to_contain_text("full, half, quarter")
    user.page.screenshot(path=screenshots / "refused.png")
    user.dialog().get_by_role("button", name="OK").or_(user.dialog().get_by_role("button", name="Dismiss")).click()
    user.dialog().get_by_role("button", name="No Kernel").click()  # JupyterLab offers another kernel
    expect(user.panel()).to_contain_text("You have no GPU leases")


def test_panel_shows_why_pool_cannot_start(
    page: Page, lab: LabProcess, monkeypatch: pytest.MonkeyPatch, screenshots: Path
) -> None:
    monkeypatch.setenv("FASTGPU_SIMULATE", "3xNoSuchModel")
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.launcher()
    expect(user.panel()).to_contain_text("The pool manager does not respond")
    expect(user.panel()).to_contain_text("NoSuchModel")
    expect(user.panel().get_by_role("button", name="Retry now")).to_be_visible()
    page.screenshot(path=screenshots / "no-pool.png")


def test_notebook_7_runs_kernel_and_shows_panel(page: Page, user: LabPage, screenshots: Path) -> None:
    spec = {"display_name": "Python 3 (FastGPU)", "language": "python", "name": "fastgpu"}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%fastgpu")], metadata={"kernelspec": spec})
    nbformat.write(notebook, user.server.folder / "notebooks/job.ipynb")
    classic = LabPage(page, user.server)
    classic.open("notebooks/job.ipynb")
    classic.wait_until_idle()
    expect(classic.run("%fastgpu")).to_contain_text("simulated")
    page.get_by_role("menuitem", name="View", exact=True).click()
    page.get_by_role("menuitem", name="Show GPU Leases").click()
    expect(page.locator("#fastgpu-panel")).to_be_visible()
    expect(page.locator("#fastgpu-panel .fg-Item", has_text="job.ipynb")).to_contain_text("Active")
    page.screenshot(path=screenshots / "notebook.png")


def test_demo_trains_while_another_notebook_waits(user: LabPage, screenshots: Path) -> None:
    shutil.copy(ROOT / "binder/digits.ipynb", user.server.folder / "notebooks")
    page = user.page
    page.evaluate(
        "async () => { await window.jupyterapp.commands.execute('docmanager:open', {path: 'digits.ipynb'}); }"
    )
    user.wait_until_idle()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    user.server.start_session("report.ipynb")
    panel = user.panel()
    expect(panel.locator(".fg-Request", has_text="report.ipynb")).to_contain_text("waiting")
    plot = page.locator(".jp-RenderedImage img")
    expect(plot).to_be_visible(timeout=60_000)
    expect(page.locator(".jp-Cell-outputArea", has_text="The training runs on the CPU, with NumPy")).to_be_visible()
    expect(user.item("digits.ipynb")).to_contain_text("Active")
    plot.scroll_into_view_if_needed()
    page.screenshot(path=screenshots / "demo.png")


def install_kernel(name: str, display_name: str, config: dict[str, str]) -> None:
    """Install a copy of the FastGPU kernelspec with another request."""
    kernels = Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels"
    spec = json.loads((kernels / "fastgpu/kernel.json").read_text())
    spec["display_name"] = display_name
    spec["metadata"]["kernel_provisioner"]["config"] = config
    (kernels / name).mkdir()
    (kernels / name / "kernel.json").write_text(json.dumps(spec))
