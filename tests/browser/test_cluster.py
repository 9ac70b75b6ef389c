"""A user chooses a GPU of a cluster: sees why it waits, cancels, tries again, works, and reads why it was lost."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from fastgpu_jupyter.wire.locate import user_state_dir
from tests.browser.axe import violations
from tests.browser.conftest import LabProcess
from tests.browser.lab_page import KERNEL, LabPage
from tests.slurm.cluster import SlurmCluster
from tests.waiting import wait_until

Site = Callable[..., None]


class ClusterPage(LabPage):
    """JupyterLab with a pool whose leases a cluster grants."""

    def bar(self) -> Locator:
        """Return the bar above the current notebook."""
        return self.page.locator(".jp-NotebookPanel:visible .fg-ClusterBar-section")

    def choose(self, model: str, **fields: str) -> None:
        """Open the form for a new notebook, set fields of *Advanced* by label, and start."""
        self.launcher().locator(".jp-LauncherCard", has_text="Choose size").click()
        dialog = self.dialog()
        dialog.get_by_label("Model").select_option(model)
        dialog.locator("summary", has_text="Advanced").click()
        for label, value in fields.items():
            field = dialog.get_by_label(label.replace("_", " "), exact=True)
            if field.evaluate("node => node.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(value)
        models = dialog.get_by_label("Model").locator("option")
        expect(models.filter(has_text=" on the cluster")).to_have_count(2)
        assert violations(self.page, ".fg-ChooseSizeDialog") == []
        self.shot("form")
        dialog.get_by_role("button", name="Start and wait").click()

    def until_dead(self) -> None:
        """Wait until JupyterLab knows that the kernel of the current notebook has ended."""
        kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel"
        self.page.wait_for_function(f"() => {kernel}?.status === 'dead'")

    def shot(self, name: str) -> None:
        """Take a screenshot."""
        self.page.screenshot(path=self.folder / f"cluster-{name}.png")

    folder: Path


@pytest.fixture
def site(lab: LabProcess) -> Site:
    """A simulated cluster whose faults can be set, and a JupyterLab that uses it."""
    config = Path(os.environ["JUPYTER_CONFIG_DIR"]) / "jupyter_fastgpu_config.py"
    with config.open("a") as file:
        file.write('\nc.FastGPUPool.cluster = "fake:2xA100-80GB, 1xH100-80GB"\n')

    def control(**faults: Any) -> None:
        folder = user_state_dir() / "cluster" / "fake"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "control.new").write_text(json.dumps({"hold": False, "silent": False, **faults}))
        (folder / "control.new").rename(folder / "control.json")

    control(hold=True)
    lab.start()
    return control


def test_user_waits_for_a_gpu_of_the_cluster_works_on_it_and_reads_why_it_was_lost(
    page: Page, lab: LabProcess, site: Site, screenshots: Path
) -> None:
    user = ClusterPage(page, lab)
    user.folder = screenshots
    user.open()
    user.choose("h100-80gb", Partition="gpu", Time_limit="2h")
    bar = user.bar()
    expect(bar.get_by_role("status").first).to_have_text("Waiting for h100-80gb on the simulated cluster: position 1.")
    expect(bar).to_contain_text("starts no job, as it was set")
    user.panel()
    expect(user.section("queue")).to_contain_text("starts no job, as it was set")
    assert violations(page, ".fg-ClusterBar", "#fastgpu-panel") == []
    user.shot("waiting")
    (waiting,) = lab.pool.leases()
    assert waiting["cluster"] is not None
    assert (waiting["cluster"]["partition"], waiting["cluster"]["time_limit_ms"]) == ("gpu", 7_200_000)

    # Cancelled, nothing is left: no request, no kernel and no dialog.
    bar.get_by_role("button", name="Cancel request").click()
    user.dialog().get_by_role("button", name="Cancel the request").click()
    expect(bar).to_have_count(0)
    expect(user.notebook().locator(".jp-KernelName")).to_have_text("No Kernel")
    assert lab.call("GET", "api/kernels") == (200, [])

    # Again, by the picker of kernels, with what the notebook remembers; a page that is loaded again goes on with it.
    user.notebook().locator(".jp-KernelName").click()
    user.dialog().locator("select").first.select_option(label=KERNEL)
    user.dialog().get_by_role("button", name="Select Kernel").click()
    expect(bar).to_contain_text("Waiting for h100-80gb")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
    page.reload()
    # JupyterLab asks for the kernel of a notebook that never had one.
    user.dialog().get_by_role("button", name="Select Kernel").click()
    expect(bar).to_contain_text("Waiting for h100-80gb")
    assert [one["state"] for one in lab.pool.leases()].count("waiting") == 1

    # A cluster that does not answer changes nothing.
    site(hold=True, silent=True)
    expect(bar).to_contain_text(re.compile("(has not answered|not answer)"))
    user.theme("JupyterLab Dark")
    assert violations(page, ".fg-ClusterBar") == []
    page.set_viewport_size({"width": 560, "height": 700})
    user.shot("silent")
    page.set_viewport_size({"width": 1280, "height": 800})
    site(hold=True)

    # Meanwhile on the CPU; the grant moves nothing by itself.
    local = bar.get_by_role("button", name="Run on this machine's CPU meanwhile")
    local.focus()
    page.keyboard.press("Enter")
    user.wait_until_idle()
    expect(user.run("x = 1; x + 1")).to_contain_text("2")
    toolbar = user.notebook().locator(".fg-Toolbar-button")
    expect(toolbar).to_contain_text("position 1")  # of the request beside the kernel that runs here
    site()
    expect(bar.get_by_role("status").first).to_have_text("The GPU is ready: h100-80gb, on n2.")
    expect(bar).to_contain_text("variables of the kernel that runs here are lost")
    expect(user.run("x + 2")).to_contain_text("3")
    user.shot("ready")
    bar.get_by_role("button", name="Move to the GPU").click()
    expect(bar).to_have_count(0)
    user.wait_until_idle()
    expect(user.run("import os; os.environ['CUDA_VISIBLE_DEVICES'], 'x' in globals()")).to_contain_text("('0', False)")

    # Widgets work in a notebook that had no kernel at first, and over the connection of the node.
    expect(user.run("from fastgpu_jupyter import GPUWidget; GPUWidget()")).to_contain_text("On a cluster a GPU can be")
    expect(user.run("%fastgpu request a100-80gb")).to_contain_text("Nothing was requested.")

    # What a cluster cannot do is not offered, with the reason.
    page.locator(".fg-Toolbar-button").click()
    popover = page.locator(".fg-Popover")
    expect(popover).to_contain_text("on n2")
    expect(popover).to_contain_text(re.compile("ends in (2 h|1 h 5)"))
    expect(popover).to_contain_text("can be neither parked nor resized")
    expect(popover.get_by_role("button", name=re.compile("^(Park|Pin|Resize)"))).to_have_count(0)
    expect(popover.get_by_role("slider")).to_have_count(0)
    assert violations(page, ".fg-Popover", ".fg-Toolbar") == []
    user.shot("popover")
    page.keyboard.press("Escape")
    expect(user.panel()).to_contain_text("on n2")
    expect(user.section("devices")).to_contain_text("h100-80gb in partition gpu")
    assert violations(page, "#fastgpu-panel") == []
    user.shot("panel")

    active = next(one["cluster"] for one in lab.pool.leases() if one["state"] == "active")
    assert active is not None
    site(lose=[active["job_name"]])
    expect(bar.get_by_role("status").first).to_have_text("The GPU on n2 was lost.")
    expect(bar).to_contain_text("NODE_FAIL")
    expect(bar).to_contain_text("Nothing was requested again")
    user.until_dead()
    expect(page.locator(".jp-Dialog")).to_have_count(0)  # JupyterLab's would say that the kernel is restarted
    user.shot("lost")
    assert not [one for one in lab.pool.leases() if one["state"] in ("waiting", "active")]


def test_user_waits_for_a_gpu_of_slurm_cancels_tries_again_works_and_loses_it(
    page: Page, lab: LabProcess, slurm: SlurmCluster, screenshots: Path
) -> None:
    with (Path(os.environ["JUPYTER_CONFIG_DIR"]) / "jupyter_fastgpu_config.py").open("a") as file:
        file.write(
            '\nc.FastGPUPool.cluster = "slurm"\nc.FastGPUPool.cluster_memory = {"a100": "80GiB", "h100": "80GiB"}\n'
        )
    lab.start()
    user = ClusterPage(page, lab)
    user.folder = screenshots
    user.open()

    # While another job has all of them, the request waits with Slurm's reason; cancelled, Slurm has no job of it.
    script = "#!/bin/sh\nsleep 600\n"
    other = slurm.run("sbatch", "--parsable", "--gres=gpu:h100:4", "--output=/dev/null", stdin=script).strip()
    user.choose("h100", Time_limit="1h")
    bar = user.bar()
    expect(bar.get_by_role("status").first).to_have_text("Waiting for h100 on Slurm: position 1.")
    expect(bar).to_contain_text("All GPUs that could serve it are in use")
    user.shot("slurm-waiting")
    bar.get_by_role("button", name="Cancel request").click()
    user.dialog().get_by_role("button", name="Cancel the request").click()
    expect(bar).to_have_count(0)
    wait_until(lambda: slurm.run("squeue", "--noheader", "--format=%i").split() == [other], "no job is left")
    slurm.run("scancel", other)

    # Tried again, it is granted.
    user.notebook().locator(".jp-KernelName").click()
    user.dialog().locator("select").first.select_option(label=KERNEL)
    user.dialog().get_by_role("button", name="Select Kernel").click()
    user.wait_until_idle()
    output = user.run("import os; int(os.environ['SLURM_JOB_ID']) > 0, os.environ['CUDA_VISIBLE_DEVICES']")
    expect(output).to_contain_text("(True, '0')")
    expect(user.run("%fastgpu")).to_contain_text(re.compile("Host.*Time left", re.DOTALL))
    expect(user.run("from fastgpu_jupyter import GPUWidget; GPUWidget()")).to_contain_text("Slurm holds it")
    active = next(one["cluster"] for one in lab.pool.leases() if one["state"] == "active")
    assert active is not None
    slurm.run("scancel", str(active["job_id"]))
    expect(user.bar()).to_contain_text("was lost")
    expect(user.bar()).to_contain_text("The cluster ended its job.")
    user.until_dead()
    expect(page.locator(".jp-Dialog")).to_have_count(0)
    user.shot("slurm-lost")
