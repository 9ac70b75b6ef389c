"""The sizes that the pool manager offers over HTTP, and that choosing one does what it said."""

from __future__ import annotations

from typing import Any

import pytest

from fastgpu_jupyter.errors import Conflict, InvalidRequest, NotFound
from fastgpu_jupyter.wire.client import new_token
from tests.pool.conftest import Serve
from tests.views import text
from tests.waiting import wait_until


def by_size(found: Any) -> dict[str, Any]:
    return {option["size"]: option for option in found["options"]}


def test_sizes_of_a_request_and_of_a_lease_are_what_choosing_one_does(serve: Serve) -> None:
    pool = serve("1xA100-80GB")
    found = pool.client.sizes()
    assert (found["lease_id"], found["applied"], found["requested"]) == (None, None, None)
    assert [(one["model"], one["devices"]) for one in found["models"]] == [("A100-80GB", 1)]
    assert {option["effect"] for option in found["options"]} == {"now"}
    assert by_size(found)["half"]["rate_micro"] * 2 == by_size(found)["full"]["rate_micro"]

    token = new_token()
    lease, other = (pool.client.request("half", token=token)["id"] for _ in range(2))
    options = by_size(pool.client.sizes(lease))
    assert (options["half"]["effect"], options["full"]["effect"]) == ("now", "unavailable")
    with pytest.raises(Conflict) as caught:
        pool.client.resize(lease, "full")
    assert str(caught.value) == text(options["full"]["reason"])

    pool.client.activity(other, token, busy=False)
    assert by_size(pool.client.sizes(lease))["full"]["effect"] == "after_parking"
    view = pool.client.resize(lease, "full", seen="half")
    assert (view["request"]["size"], view["size"]["requested"]) == ("half", "full")
    wait_until(lambda: pool.client.lease(lease)["request"]["size"] == "full", "the other one is parked")
    assert pool.client.lease(other)["state"] == "parked"
    with pytest.raises(Conflict, match="The size of this lease is full by now"):
        pool.client.resize(lease, "quarter", seen="half")

    waiting = pool.client.request("full", token=token)["id"]
    options = by_size(pool.client.sizes(waiting, {"unit": "memory"}))
    assert {option["effect"] for option in options.values()} == {"queued"}
    assert options["1GiB"]["position"] == 1
    pool.client.resize(lease, "half")
    assert by_size(pool.client.sizes(waiting))["half"]["effect"] == "now"
    pool.client.resize(waiting, "half")
    wait_until(lambda: pool.client.lease(waiting)["state"] == "active", "a smaller one starts at once")


def test_sizes_of_no_lease_and_of_nonsense_are_refused(serve: Serve) -> None:
    pool = serve(leases_max_per_tenant=1)
    with pytest.raises(NotFound):
        pool.client.sizes("0123456789abcdef")
    for query in ({"unit": "cores"}, {"isolation": "walls"}, {"priority": "urgent"}, {"model": "a100:"}):
        with pytest.raises(InvalidRequest):
            pool.client.sizes(None, query)
    pool.client.request("half", token=new_token())
    options = by_size(pool.client.sizes())
    assert {option["effect"] for option in options.values()} == {"unavailable"}, "a limit of the pool is reached"
    assert "You have 1 leases" in text(options["half"]["reason"])
