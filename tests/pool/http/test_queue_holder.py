"""The lease that a waiting request waits for is named to its own user and to no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import LeaseRequest
from fastgpu_jupyter.core.scheduling.queue_report import QueueReport
from fastgpu_jupyter.pool.http.views.queue import queue_holder
from tests.core.world import World, holder, spec
from tests.views import text

SECRET = "secret plans.ipynb"
PATH = f"/home/ann/{SECRET}"


def holder_view(world: World) -> object:
    entry = QueueReport(world.state).find("b")
    assert entry is not None
    return queue_holder(world.state, world.state.leases["b"], entry)


@pytest.mark.parametrize(("tenant", "uid", "own"), [("ann", 1, True), ("bob", 1, False)])
def test_queue_holder_has_the_name_of_an_own_job_only(tenant: str, uid: int, own: bool) -> None:
    world = World(spec("gpu", parkable=True))
    job = LeaseRequest("full", None, None, PATH, job="job 17 · secret")
    world.do(c.RequestLease("a", "ann", job, holder(1), "0" * 64))
    world.prepared("a")
    world.do(c.ReportActivity("a", busy=True))
    second = LeaseRequest("full", None, None, "mine.ipynb")
    world.do(c.RequestLease("b", tenant, second, replace(holder(2), uid=uid), "0" * 64))
    view = holder_view(world)
    assert isinstance(view, dict)
    name = "“job 17 · secret”" if own else "A job of another user"
    assert text(view["message"]) == f"{name} has a GPU and computes."
    assert own or "secret" not in str(view)


@pytest.mark.parametrize(
    ("tenant", "uid", "own"),
    [("ann", 1, True), ("bob", 1000, True), ("bob", 1, False)],
    ids=["same tenant", "same user", "another user"],
)
def test_queue_holder_has_the_name_of_an_own_notebook_only(tenant: str, uid: int, own: bool) -> None:
    world = World(spec("gpu", parkable=True))
    first = LeaseRequest("full", None, None, PATH)
    world.do(c.RequestLease("a", "ann", first, holder(1), "0" * 64))
    world.prepared("a")
    world.do(c.ReportActivity("a", busy=False))
    second = LeaseRequest("full", None, None, "mine.ipynb")
    world.do(c.RequestLease("b", tenant, second, replace(holder(2), uid=uid), "0" * 64))
    world.do(c.ReportActivity("b", busy=False))
    view = holder_view(world)
    assert isinstance(view, dict)
    said = str(text(view["message"]))
    name = f"“{SECRET}”" if own else "A notebook of another user"
    assert (view["lease_id"], view["notebook"]) == (("a", PATH) if own else (None, None))
    assert own or SECRET not in str(view)
    if tenant == "ann":
        assert world.states()["a"] == "parking", "at first it was unknown whether b needs a device now"
        assert (said, view["yields_at"]) == (f"{name} is giving its GPU back.", None)
    else:
        assert said == f"{name} has a GPU and is idle, so that it is parked for this request."
        assert view["yields_at"] == world.at.wall_ms + 5000
