"""The panel and the dashboard with many leases, a budget, a reload, the keyboard only, and a user who may only look."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from fastgpu_jupyter.wire.client import new_token
from tests.browser.axe import violations
from tests.browser.conftest import LabProcess
from tests.browser.fake_stream import FakeStream
from tests.browser.lab_page import LabPage
from tests.waiting import wait_until

#: Elements of the panel with 300 leases; there were 10,729 when all were rendered.
ELEMENTS_MAX = 700


@pytest.fixture
def user(page: Page, lab: LabProcess) -> LabPage:
    """A JupyterLab that is started, in which no page is open yet."""
    lab.start()
    wait_until(lab.pool_answers, "the pool manager answers")
    return LabPage(page, lab)


def test_many_leases_are_filtered_folded_and_reached_by_keyboard_and_share_a_stream(
    user: LabPage, screenshots: Path
) -> None:
    page, context = user.page, user.page.context
    with FakeStream(user.server.pool, devices=20, leases=300) as stream:
        stream.connect(context)
        user.open()
        user.launcher()
        panel = user.panel()
        leases = user.section("leases")
        rows = leases.locator(".fg-ListRow")
        expect(panel.get_by_role("button", name="My leases: 300")).to_be_visible()
        expect(rows.first).to_be_visible()
        assert panel.locator("*").count() < ELEMENTS_MAX
        page.screenshot(path=screenshots / "panel-many.png")
        assert violations(page, "#fastgpu-panel") == []

        # One Tab stop; arrow keys move through groups and leases, also to those that are not rendered yet.
        waiting = leases.get_by_role("button", name=re.compile(r"^Waiting: 140$"))
        expect(leases.locator("li [tabindex='0']")).to_have_count(1)
        waiting.focus()
        page.keyboard.press("ArrowLeft")
        expect(waiting).to_have_attribute("aria-expanded", "false")
        page.keyboard.press("ArrowDown")
        active = leases.get_by_role("button", name=re.compile(r"^Active: 160"))
        expect(active).to_be_focused()
        page.keyboard.press("End")
        expect(page.locator(".fg-ListRow-toggle:focus")).to_have_count(1)
        page.keyboard.press("Enter")
        opened = page.locator(".fg-ListRow-toggle:focus")
        expect(opened).to_have_attribute("aria-expanded", "true")
        expect(leases.locator(".fg-ListBody")).to_have_count(1)
        assert violations(page, "#fastgpu-panel") == []
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowRight")
        expect(page.locator(".fg-ListRow-actions button:focus")).to_have_count(1)
        page.keyboard.press("Escape")
        expect(opened).to_be_focused()

        box = leases.locator(".jp-FilterBox input")
        box.fill("notebook-0150 active")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("notebook-0150.ipynb")
        box.fill("no such lease")
        expect(leases).to_contain_text("No lease matches.")
        leases.get_by_role("button", name="Clear").click()
        expect(active).to_be_visible()

        # Folds and the order are kept, and a second page takes the messages of the first.
        leases.get_by_label("Order of the leases").select_option("name")
        other = context.new_page()
        LabPage(other, user.server).open()
        expect(other.locator(".fg-Header, .jp-LabShell").first).to_be_visible()
        wait_until(lambda: stream.opened >= 1, "a page reads the stream")
        page.reload()
        user.launcher()
        user.panel()
        expect(waiting).to_have_attribute("aria-expanded", "false")
        expect(leases.get_by_label("Order of the leases")).to_have_value("name")
        other.locator(".jp-SideBar [data-id='fastgpu-panel']").click()
        expect(other.get_by_role("button", name="My leases: 300")).to_be_visible()
        assert stream.open == 1
        page.close()
        wait_until(lambda: stream.open == 1, "the other page reads the stream")
        expect(other.locator(".fg-Connection")).to_have_text("live")


def test_spending_dashboard_and_reload(user: LabPage, screenshots: Path) -> None:
    page, pool = user.page, user.server.pool
    lease = pool.request("half", notebook="=1+1.ipynb", token=new_token())
    pool.set_budget(lease["tenant"]["key"], 1, "stop")
    user.open()
    user.launcher()
    user.panel()
    spending = user.section("spending")
    bar = spending.get_by_role("meter", name="Budget")
    expect(bar).to_have_attribute("data-level", "full")
    expect(spending).to_contain_text("The budget is spent: leases continue, and nothing more is granted.")
    page.screenshot(path=screenshots / "spending-spent.png")
    assert violations(page, "#fastgpu-panel") == []
    with page.expect_download() as statement:
        spending.get_by_role("button", name="Statement (CSV)").click()
    rows = read_csv(statement.value.path())
    assert [(row["lease_id"], row["notebook"]) for row in rows] == [(lease["id"], "'=1+1.ipynb")]

    spending.get_by_role("button", name="Dashboard").click()
    dashboard = page.locator(".fg-Dashboard")
    parts = dashboard.get_by_role("list", name="Memory of GPU 0").get_by_role("listitem")
    expect(parts).to_have_count(2)
    expect(parts.nth(0)).to_have_text("=1+1.ipynb · half")
    expect(parts.nth(1)).to_have_text("40 GiB free")
    assert violations(page, ".fg-Dashboard") == []
    with page.expect_download() as devices:
        dashboard.get_by_role("button", name="Export CSV").click()
    shown = read_csv(devices.value.path())
    assert [(row["holder"], row["size"], row["leased_bytes"]) for row in shown] == [
        ("yours", "half", str(40 * 2**30)),
        ("free", "", str(40 * 2**30)),
    ]
    dashboard.get_by_role("radio", name="1 hour").check()
    dashboard.get_by_role("button", name="Table").click()
    expect(dashboard.get_by_role("table").get_by_role("row").nth(1)).to_contain_text("40 GiB")
    page.screenshot(path=screenshots / "dashboard-table.png")
    assert violations(page, ".fg-Dashboard") == []
    workspaces = user.server.folder / "config/lab/workspaces"
    wait_until(lambda: any('"hour"' in path.read_text() for path in workspaces.glob("*")), "the layout is saved")
    page.reload()
    expect(dashboard.get_by_role("table")).to_be_visible()
    expect(dashboard.get_by_role("radio", name="1 hour")).to_be_checked()
    user.theme("JupyterLab Dark")
    page.screenshot(path=screenshots / "dashboard-dark.png")
    assert violations(page, ".fg-Dashboard", "#fastgpu-panel") == []


def test_user_who_may_only_look_sees_all_and_can_change_nothing(page: Page, lab: LabProcess) -> None:
    (lab.folder / "config/jupyter_server_config.py").write_text(READ_ONLY)
    lab.start()
    wait_until(lab.pool_answers, "the pool manager answers")
    lab.pool.request("full", notebook="seen.ipynb", token=new_token())
    user = LabPage(page, lab)
    user.open()
    user.panel()
    leases = user.section("leases")
    expect(leases).to_contain_text("You may see the leases of this server and not change them.")
    item = user.open_item("seen.ipynb")
    expect(item.get_by_role("button", name="Release the GPU of seen.ipynb")).to_be_disabled()


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file by their headings."""
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))


READ_ONLY = """
from jupyter_server.auth import Authorizer

class ReadOnly(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return not (resource.startswith("fastgpu:") and action == "write")

c = get_config()
c.ServerApp.authorizer_class = ReadOnly
"""
