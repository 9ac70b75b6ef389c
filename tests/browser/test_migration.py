"""Migration of a lease from an unhealthy GPU, requested in the panel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import LabProcess
from tests.browser.lab_page import LabPage
from tests.nvml.machine import FakeMachine
from tests.views import device_of
from tests.waiting import wait_until


def test_lease_on_unhealthy_gpu_migrates_after_click_and_restart(
    lab: LabProcess, page: Page, use_machine: Callable[..., FakeMachine], screenshots: Path
) -> None:
    machine = use_machine("2xA100-SXM4-80GB MIG")
    lab.start()
    user = LabPage(page, lab)
    user.open()
    user.start_notebook()
    item = user.panel().locator(".fg-Item[data-lease-id]").first
    expect(item).to_have_attribute("data-state", "active")
    migrate = item.get_by_role("button", name="Migrate Untitled.ipynb to another GPU")
    expect(migrate).to_have_count(0)
    (before,) = lab.pool.leases()
    old = next(gpu for gpu in machine.gpus if gpu.uuid == device_of(before))

    old.xid(63)
    expect(migrate).to_be_visible()
    page.screenshot(path=screenshots / "migration-offered.png")
    migrate.press("Enter")
    expect(item).to_contain_text("restart")
    expect(migrate).to_have_count(0)
    page.screenshot(path=screenshots / "migration-accepted.png")
    assert device_of(lab.pool.lease(before["id"])) == old.uuid

    page.evaluate("() => { void window.jupyterapp.commands.execute('notebook:restart-kernel'); }")
    user.dialog().locator(".jp-mod-accept").click()
    after = wait_until(lambda: moved(lab, before["id"], old.uuid), "the lease is on the other device", 60)
    assert after["state"] == "active"
    user.wait_until_idle()
    expect(user.run("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])")).to_contain_text("MIG-")
    assert not old.instances


def moved(lab: LabProcess, lease_id: str, old: str) -> dict[str, object] | None:
    """Return the lease once it is active on another GPU than ``old``."""
    lease = dict(lab.pool.lease(lease_id))
    return lease if lease["state"] == "active" and device_of(lease) != old else None
