"""Commands for administrators and bills for everybody, over the socket and on the command line."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

import pytest

from fastgpu_jupyter.errors import Conflict, InvalidRequest, NoSuchDevice
from fastgpu_jupyter.wire.client import new_token
from tests.helpers import PoolProcess, fastgpu
from tests.views import pending_reason_of, text, value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
DEVICE = "SIM-0-A100-80GB"


def test_resize_to_half_grants_the_other_half_to_the_queue(shared: PoolProcess) -> None:
    lease = shared.client.request("full", token=new_token())
    waiting = shared.client.request("half", token=new_token())
    assert pending_reason_of(waiting) == "capacity"
    done = fastgpu("resize", lease["id"], "half")
    assert (done.returncode, done.stdout) == (0, f"{lease['id']} is half now (40 GiB).\n")
    shared.wait_state(waiting["id"], "active")
    refused = fastgpu("resize", lease["id"], "full")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "no room for 'full' on this device" in refused.stderr
    assert shared.lease(lease["id"])["request"]["size"] == "half"


def test_sizes_with_models_and_counts_are_granted(shared: PoolProcess) -> None:
    assert shared.client.request("a100:1/4", token=new_token())["memory"]["limit_bytes"] == 20 * 2**30
    with pytest.raises(NoSuchDevice, match="No device of this pool is 'h100'"):
        shared.client.request("h100", token=new_token())
    with pytest.raises(NoSuchDevice, match="has 1 such device,"):
        shared.client.request("2xany", token=new_token())
    with pytest.raises(InvalidRequest, match="at character 6"):
        shared.client.request("a100:lots", token=new_token())
    unknown: Any = {"priority": "urgent"}
    with pytest.raises(InvalidRequest, match="no priority 'urgent'"):
        shared.client.request("half", token=new_token(), options=unknown)


def test_request_with_a_higher_priority_is_first_in_the_queue(shared: PoolProcess) -> None:
    shared.client.request("full", token=new_token(), options={"retention": "hold"})
    low = shared.client.request("full", token=new_token(), options={"priority": "low"})
    high = shared.client.request("full", token=new_token(), options={"priority": "high"})
    assert [entry["lease_id"] for entry in shared.client.queue()] == [high["id"], low["id"]]
    table = fastgpu("queue").stdout
    assert table.index(high["id"]) < table.index(low["id"])
    assert json.loads(fastgpu("queue", "--json").stdout)["queue"][0]["priority"] == "high"


def test_request_past_its_maximum_wait_ends(shared: PoolProcess) -> None:
    shared.client.request("full", token=new_token())
    lease = shared.client.request("full", token=new_token(), options={"wait_ms_max": 1})
    shared.wait_state(lease["id"], "ended")
    assert value_of(shared.lease(lease["id"])["end_reason"]) == "expired"


def test_drained_device_gets_no_leases_until_it_returns_to_service(shared: PoolProcess) -> None:
    drained = fastgpu("drain", DEVICE)
    assert "gets no new leases; 0 still hold it" in drained.stdout
    assert "drained" in fastgpu("status").stdout
    lease = shared.client.request("full", token=new_token())
    assert (lease["state"], pending_reason_of(lease)) == ("waiting", "drained")
    assert "in service again" in fastgpu("drain", "--undo", DEVICE).stdout
    shared.wait_state(lease["id"], "active")
    missing = fastgpu("drain", "GPU-nowhere")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "There is no device 'GPU-nowhere'" in missing.stderr


def test_quota_is_set_shown_and_enforced(pool: PoolProcess) -> None:
    (tenant,) = {one["tenant"]["name"] for one in [pool.client.request("half", token=new_token())]}
    assert fastgpu("quota", tenant, "--weight=300", "--limit=0.75").returncode == 0
    with pytest.raises(InvalidRequest, match=r"may hold at most 0\.75 at once"):
        pool.client.request("full", token=new_token())
    waiting = pool.client.request("half", token=new_token())
    assert pending_reason_of(waiting) == "quota"
    pool.kill()
    pool.start()
    shown = json.loads(fastgpu("quota", "--json").stdout)["tenants"]
    assert [(one["tenant"]["name"], one["weight"], one["limit_milli"], one["held_milli"]) for one in shown] == [
        (tenant, 300, 750, 500)
    ]
    assert fastgpu("quota", tenant, "--guaranteed=0.5").returncode == 0  # keeps the rest
    (kept,) = json.loads(fastgpu("quota", "--json").stdout)["tenants"]
    assert (kept["weight"], kept["limit_milli"], kept["guaranteed_milli"]) == (300, 750, 500)
    wrong = fastgpu("quota", tenant, "--weight=0")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)


def test_group_limit_applies_to_its_tenants_together(pool: PoolProcess) -> None:
    (tenant,) = {one["tenant"]["name"] for one in [pool.client.request("half", token=new_token())]}
    assert fastgpu("quota", "lab", "--of-group", "--limit=0.75", "--guaranteed=0.25").returncode == 0
    shown = fastgpu("quota", tenant, "--group=lab").stdout
    assert "group lab" in shown
    assert pool.client.groups()[0] == {
        "group": "lab",
        "weight": 100,
        "guaranteed_milli": 250,
        "limit_milli": 750,
        "held_milli": 500,
        "held_cpu_milli": 0,
        "held_memory_bytes": 0,
    }
    assert pool.client.request("quarter", token=new_token())["state"] == "active"
    assert pending_reason_of(pool.client.request("eighth", token=new_token())) == "quota"
    wrong = fastgpu("quota", "lab", "--of-group", "--limit=1", "--guaranteed=2")
    assert "more than the limit allows" in wrong.stderr


def test_parked_lease_waits_and_resumes_when_a_cell_begins(shared: PoolProcess) -> None:
    token = new_token()
    lease = shared.client.request("full", token=token)
    shared.client.park(lease["id"])
    shared.wait_state(lease["id"], "parked")
    other = shared.client.request("full", token=new_token())
    assert other["state"] == "active"
    assert shared.client.activity(lease["id"], token, busy=True)["state"] == "waiting"
    shared.client.release(other["id"])
    shared.wait_state(lease["id"], "active")
    back = shared.lease(lease["id"])
    assert (back["usage"]["busy"], back["parking"]["parked_bytes"], value_of(back["parking"]["reason"])) == (
        True,
        0,
        "requested",
    )
    shared.client.pin(lease["id"], pinned=True)
    assert shared.lease(lease["id"])["parking"]["retention"] == "hold"


def test_parked_lease_survives_a_restart_of_the_pool_manager(pool: PoolProcess) -> None:
    lease = pool.client.request("full", token=new_token())
    pool.client.park(lease["id"])
    pool.wait_state(lease["id"], "parked")
    pool.kill()
    pool.start()
    assert pool.lease(lease["id"])["state"] == "parked"
    pool.client.resume(lease["id"])
    pool.wait_state(lease["id"], "active")


def test_statement_lines_sum_to_the_total_in_all_formats(pool: PoolProcess) -> None:
    lease = pool.client.request("full", notebook="=a,b.ipynb", token=new_token())
    wait_until(lambda: pool.lease(lease["id"])["money"]["cost_micro"] > 0, "it costs something")
    pool.client.resize(lease["id"], "quarter")
    pool.client.release(lease["id"])
    pool.wait_state(lease["id"], "ended")
    month = time.strftime("%Y-%m", time.gmtime())
    (statement,) = json.loads(fastgpu("statement", "--json", f"--month={month}").stdout)["statements"]
    assert [line["size"] for line in statement["lines"]] == ["full", "quarter"]
    assert sum(line["amount_micro"] for line in statement["lines"]) == statement["total_micro"]
    assert statement["total_micro"] == pool.lease(lease["id"])["money"]["cost_micro"]
    rows = list(csv.DictReader(io.StringIO(fastgpu("statement", "--csv").stdout)))
    assert [int(row["amount_micro"]) for row in rows] == [line["amount_micro"] for line in statement["lines"]]
    assert fastgpu("statement").stdout.splitlines()[-1].startswith("Total ")
    assert fastgpu("statement", "--month=1999-01").stdout == "No usage in this month.\n"
    assert "write it like 2026-11" in fastgpu("statement", "--month=November").stderr


def test_transferred_lease_is_billed_to_the_other_tenant(pool: PoolProcess) -> None:
    lease = pool.client.request("half", token=new_token())
    assert pool.client.transfer(lease["id"], "physics")["tenant"] == {"key": "account:physics", "name": "physics"}
    over = pool.client.request("half", token=new_token())
    pool.client.release(over["id"])
    with pytest.raises(Conflict, match="cannot be transferred"):
        pool.client.transfer(over["id"], "chemistry")


def test_rates_are_listed_by_model(shared: PoolProcess) -> None:
    assert json.loads(fastgpu("rates", "--json").stdout)["rates"] == [
        {
            "model": "A100-80GB",
            "devices": 1,
            "rate_micro_per_hour": 2_500_000,
            "month_micro_per_hour": 2_000_000,
            "year_micro_per_hour": 1_500_000,
            "currency": "USD",
        }
    ]
    shown = fastgpu("rates").stdout
    assert all(price in shown for price in ("2.50 USD", "2.00 USD", "1.50 USD"))


def test_spent_budget_with_policy_stop_blocks_requests(pool: PoolProcess) -> None:
    lease = pool.client.request("half", token=new_token())
    tenant = lease["tenant"]["name"]
    assert fastgpu("budget").stdout.splitlines()[1].split()[:2] == [tenant, "-"]
    shown = fastgpu("budget", tenant, "250.5", "--policy=stop").stdout
    assert "250.50 USD" in shown
    assert "stop" in shown
    assert pool.client.request("eighth", token=new_token())["state"] == "active"
    mistyped = fastgpu("budget", tenant, "0", "--polcy=warn")
    assert mistyped.returncode == 1
    assert "There is no option --polcy, and nothing was done." in mistyped.stderr
    (one,) = json.loads(fastgpu("budget", "--json").stdout)["tenants"]
    assert one["budget_micro_per_month"] == 250_500_000
    (one,) = json.loads(fastgpu("budget", tenant, "0", "--json").stdout)["tenants"]  # keeps the policy
    assert (one["budget_micro_per_month"], one["budget_policy"]) == (0, "stop")
    waiting = pool.client.request("eighth", token=new_token())
    assert pending_reason_of(waiting) == "budget"
    wait_until(lambda: text(pool.lease(lease["id"])["money"]["message"]), "the lease has the warning")
    assert "100 %" in str(text(pool.lease(lease["id"])["money"]["message"]))
    pool.kill()
    pool.start()
    assert pool.lease(waiting["id"])["state"] == "waiting"
    assert fastgpu("budget", tenant, "none").returncode == 0
    pool.wait_state(waiting["id"], "active")
    for amount in ("much", "-1", "0.0000001", "nan"):
        wrong = fastgpu("budget", tenant, "--", amount)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1), wrong.stderr
        assert "is not an amount of money" in wrong.stderr


def test_lease_budget_is_set_and_shown(shared: PoolProcess) -> None:
    lease = shared.client.request("half", token=new_token(), options={"budget_micro": 10**9})
    assert (lease["money"]["budget_micro"], lease["money"]["budget_percent"]) == (10**9, None)
    done = fastgpu("budget", "--lease", lease["id"], "2.5")
    assert f"{lease['id']} may cost 2.50 USD; so far it is" in done.stdout
    assert shared.lease(lease["id"])["money"]["budget_micro"] == 2_500_000
    wrong = fastgpu("budget", "--lease", lease["id"], "0")
    assert "must be more than the lease has cost already" in wrong.stderr


def test_reservation_covers_leases_and_is_on_the_statement(pool: PoolProcess) -> None:
    lease = pool.client.request("half", token=new_token())
    tenant = lease["tenant"]["name"]
    made = fastgpu("reserve", tenant, "a100:1/2", "--plan=year").stdout.splitlines()
    reservation_id = made[1].split()[0]
    assert "0.5 a100" in made[1]
    assert "0.7500 USD" in made[1]
    held = pool.lease(lease["id"])
    assert (held["money"]["billed_micro_per_hour"], held["money"]["covered_milli"]) == (0, 500)
    assert (
        "1 a100 cannot be reserved for bob: the pool has 1 such GPUs, and 0.5 of all"
        in fastgpu("reserve", "bob", "a100").stderr
    )
    assert "within 24 months" in fastgpu("reserve", "bob", "half", "--from=2099-01-01").stderr
    pool.kill()
    pool.start()
    (kept,) = json.loads(fastgpu("reserve", "--json").stdout)["reservations"]
    assert (kept["id"], kept["state"], kept["plan"], kept["milli"]) == (reservation_id, "running", "year", 500)
    assert "ended" in fastgpu("reserve", "--cancel", reservation_id).stdout
    assert pool.lease(lease["id"])["money"]["billed_micro_per_hour"] == 1_250_000
    (statement,) = json.loads(fastgpu("statement", "--json").stdout)["statements"]
    assert [line["kind"] for line in statement["lines"]][-1] == "reservation"
    assert sum(line["amount_micro"] for line in statement["lines"]) == statement["total_micro"]
    assert f"(reserved {reservation_id})" in fastgpu("statement").stdout
    assert "write it like 2026-12-01" in fastgpu("reserve", "bob", "half", "--from=soon").stderr
    assert "a number of devices" in fastgpu("reserve", "bob", "24GiB").stderr


def test_repeated_reservation_is_one_reservation(pool: PoolProcess) -> None:
    body = {"tenant": "ann", "size": "half", "plan": "month"}
    first = pool.client._call("PUT", "/v1/reservations/mine", body)
    assert pool.client._call("PUT", "/v1/reservations/mine", body) == first
    with pytest.raises(InvalidRequest, match="another reservation with this id"):
        pool.client._call("PUT", "/v1/reservations/mine", {**body, "tenant": "bob"})
    assert len(pool.client.reservations()) == 1


def test_command_line_parks_resumes_and_pins_a_lease(shared: PoolProcess) -> None:
    lease = shared.client.request("full", token=new_token())["id"]
    assert fastgpu("pin", lease).stdout == f"{lease} is pinned: it keeps its GPU while no cell runs.\n"
    assert "active (pinned)" in fastgpu("status").stdout
    assert json.loads(fastgpu("unpin", "--json", lease).stdout)["parking"]["retention"] == "yield"
    assert fastgpu("park", lease).stdout in (f"{lease} is parking.\n", f"{lease} is parked.\n")
    shared.wait_state(lease, "parked")
    assert "parked (requested)" in fastgpu("status").stdout
    other = shared.client.request("full", token=new_token(), options={"retention": "hold"})
    assert fastgpu("resume", lease).stdout == f"{lease} is waiting at position 1.\n"
    shared.client.release(other["id"])
    shared.wait_state(lease, "active")
    for words in (("park",), ("park", "nothing")):
        refused = fastgpu(*words)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
