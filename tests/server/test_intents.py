"""Intents: the choice of a size for a kernel that the browser starts next."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import Conflict, FastGPUError, Forbidden, InvalidRequest, LimitReached
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.server.intents import INTENTS_OF_USER_MAX, LIFETIME_S, IntentStore
from fastgpu_jupyter.server.kernel_lease import Wanted
from fastgpu_jupyter.server.requested_leases import CLAIM_S, RequestedLeases, wanted_of
from fastgpu_jupyter.server.token_files import token_path
from fastgpu_jupyter.wire.options import OPTIONS, ParsedRequest
from fastgpu_jupyter.wire.schemas.parameters import parameters
from tests.helpers import PoolProcess, ServerProcess
from tests.server.conftest import PLAIN, Running, write_kernelspec
from tests.waiting import wait_until

KERNEL = "0b6ff2c2-7b1e-4f0a-9d3e-5f1c8a1f4c11"
HALF = {"size": "half", "priority": "low", "hold": True, "budget": "2.50", "wait": "10m", "isolation": "none"}
OPTIONS_OF_HALF = {
    "priority": "low", "retention": "hold", "budget_micro": 2_500_000, "wait_ms_max": 600_000, "isolation": "none",
}  # fmt: skip


class Clock:
    """A clock that a test moves."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def refusal(error: type[FastGPUError], call: Any) -> str:
    """Return the sentence with which ``call`` is refused."""
    with pytest.raises(error) as raised:
        call()
    return text_of(raised.value)


def test_take_returns_the_choice_once() -> None:
    store = IntentStore(Clock())
    store.put(KERNEL, "ann", HALF)
    assert store.take(KERNEL, "ann") == ("half", OPTIONS_OF_HALF, None)
    assert "was used before" in refusal(Conflict, lambda: store.take(KERNEL, "ann"))
    assert "another kernel" in refusal(Conflict, lambda: store.put(KERNEL, "ann", HALF))
    assert store.take(str(uuid.uuid4()), "ann") is None


def test_empty_texts_and_missing_parameters_choose_nothing() -> None:
    store = IntentStore(Clock())
    store.put(KERNEL, "ann", {"budget": "", "wait": ""})
    assert store.take(KERNEL, "ann") == (None, {}, None)


@pytest.mark.parametrize("user", ["bob", None])
def test_take_by_another_user_is_refused_and_keeps_the_intent(user: str | None) -> None:
    store = IntentStore(Clock())
    store.put(KERNEL, "ann", HALF)
    assert "Another user chose" in refusal(Forbidden, lambda: store.take(KERNEL, user))
    assert "another kernel" in refusal(Conflict, lambda: store.put(KERNEL, "bob", {"size": "full"}))
    assert store.take(KERNEL, "ann") == ("half", OPTIONS_OF_HALF, None)


def test_put_again_replaces_the_choice() -> None:
    store = IntentStore(Clock())
    store.put(KERNEL, "ann", HALF)
    store.put(KERNEL, "ann", {"size": "24GiB"})
    assert store.take(KERNEL, "ann") == ("24GiB", {}, None)


def test_expired_intent_is_refused_once_and_then_forgotten() -> None:
    clock = Clock()
    store = IntentStore(clock)
    store.put(KERNEL, "ann", HALF)
    clock.now_s += LIFETIME_S
    assert "for 120 seconds" in refusal(Conflict, lambda: store.take(KERNEL, "ann"))
    assert store.take(KERNEL, "ann") is None


def test_intents_of_a_user_are_bounded_and_others_are_not_affected() -> None:
    clock = Clock()
    store = IntentStore(clock)
    for _ in range(INTENTS_OF_USER_MAX):
        store.put(str(uuid.uuid4()), "ann", HALF)
    assert "try again in 120 seconds" in refusal(LimitReached, lambda: store.put(KERNEL, "ann", HALF))
    store.put(KERNEL, "bob", HALF)
    clock.now_s += 2 * LIFETIME_S
    store.put(str(uuid.uuid4()), "ann", HALF)


@pytest.mark.parametrize(
    ("kernel_id", "body", "sentence"),
    [
        ("../etc", HALF, "must be a UUID"),
        (KERNEL.upper(), HALF, "must be a UUID"),
        (KERNEL, {"size": 1}, "Expected `str`, got `int` - at `$.size`"),
        (KERNEL, {"size": ""}, "length >= 1"),
        (KERNEL, {"size": "ha" * 101}, "length <= 200"),
        (KERNEL, {"size": "a100:9/8"}, "'a100:9/8'"),
        (KERNEL, {"priority": "system"}, "'system'"),
        (KERNEL, {"priority": "urgent"}, "'urgent'"),
        (KERNEL, {"isolation": "total"}, "'total'"),
        (KERNEL, {"hold": "yes"}, "Expected `bool`"),
        (KERNEL, {"budget": "-1"}, "$.budget"),
        (KERNEL, {"budget": "0"}, "budget of 0"),
        (KERNEL, {"wait": "a while"}, "$.wait"),
        (KERNEL, {"wait": "99d"}, "from 0 to 30 days"),
        (KERNEL, {"cpu": "64"}, "no parameter 'cpu'"),
        (KERNEL, {"parkable": False}, "no parameter 'parkable'"),
    ],
)
def test_put_of_a_malformed_intent_is_refused_with_a_sentence(kernel_id: str, body: Any, sentence: str) -> None:
    store = IntentStore(Clock())
    assert sentence in refusal(InvalidRequest, lambda: store.put(kernel_id, "ann", body))
    assert store.take(KERNEL, "ann") is None


def test_kernelspec_has_the_parameters_as_jep_87_shapes_them() -> None:
    root = Path(__file__).resolve().parents[2]
    spec = json.loads((root / "kernels" / "fastgpu" / "kernel.json").read_text())
    assert spec["metadata"]["parameters"] == parameters()
    properties = parameters({"size": "half", "priority": "low"})["properties"]
    assert [*properties] == ["size", "isolation", "priority", "hold", "budget", "wait"]
    assert (properties["size"]["default"], properties["priority"]["default"]) == ("half", "low")
    assert set(properties) - {"size"} <= set(OPTIONS)


def put(jupyter: ServerProcess, body: Any, **options: Any) -> str:
    """Register an intent for a new kernel, and return the kernel's id."""
    kernel_id = str(uuid.uuid4())
    status, answer = jupyter.call("PUT", f"fastgpu/api/intents/{kernel_id}", body, **options)
    assert (status, answer) == (200, {"kernel_id": kernel_id, "expires_in_ms": 120_000, "start": "sessions"})
    return kernel_id


def session(notebook: str, kernel: dict[str, str]) -> dict[str, Any]:
    """Return the body of a request for a session."""
    return {"path": notebook, "name": notebook, "type": "notebook", "kernel": kernel}


@pytest.mark.slow
def test_session_with_the_id_of_an_intent_starts_with_the_choice_and_restarts_with_it(running: Running) -> None:
    pool, jupyter = running
    kernel_id = put(jupyter, HALF)
    status, made = jupyter.call("POST", "api/sessions", session("a.ipynb", {"name": "fastgpu", "id": kernel_id}))
    assert (status, made["kernel"]["id"]) == (201, kernel_id)
    (lease,) = pool.live()
    assert (lease["request"]["size"], lease["parking"]["retention"]) == ("half", "hold")
    assert lease["holder"]["kernel_id"] == kernel_id
    assert str(lease["holder"]["notebook"]).endswith("a.ipynb")
    # Used once: the id of a kernel that lives, and afterwards of one that lived, takes no other choice.
    status, answer = jupyter.call("PUT", f"fastgpu/api/intents/{kernel_id}", {"size": "full"})
    assert (status, answer["code"]) == (409, "conflict")
    assert jupyter.call("POST", f"api/kernels/{kernel_id}/restart")[0] == 200
    assert [view["id"] for view in pool.live()] == [lease["id"]]
    # A lease that was released is requested again as it was chosen.
    jupyter.call("DELETE", f"fastgpu/api/leases/{lease['id']}")
    pool.wait_state(lease["id"], "ended")
    assert jupyter.call("POST", f"api/kernels/{kernel_id}/restart")[0] == 200
    assert [view["request"]["size"] for view in pool.live()] == ["half"]
    jupyter.close_sessions()
    status, answer = jupyter.call("POST", "api/sessions", session("a.ipynb", {"name": "fastgpu", "id": kernel_id}))
    assert (status, "was used before" in answer["message"]) == (500, True)


@pytest.mark.slow
def test_kernel_with_the_id_of_an_intent_replaces_that_of_a_session(running: Running) -> None:
    pool, jupyter = running
    made = jupyter.start_session("a.ipynb")
    kernel_id = put(jupyter, {"size": "quarter"})
    # A session cannot be given a kernel that does not run, and keeps the one that it has.
    status, _ = jupyter.call("PATCH", f"api/sessions/{made['id']}", {"kernel": {"id": kernel_id}})
    assert status == 400
    status, _ = jupyter.call("POST", "api/kernels", {"name": "fastgpu", "path": "", "kernel_id": kernel_id})
    assert status == 201
    status, after = jupyter.call("PATCH", f"api/sessions/{made['id']}", {"kernel": {"id": kernel_id}})
    assert (status, after["kernel"]["id"]) == (200, kernel_id)
    lease = wait_until(lambda: pool.live() if len(pool.live()) == 1 else None, "the old lease ends")[0]
    assert lease["request"]["size"] == "quarter"
    # Without the name of a session at its start, the lease gets it from the session.
    wait_until(lambda: str(pool.lease(lease["id"])["holder"]["notebook"]).endswith("a.ipynb"), "the lease has the name")


@pytest.mark.slow
def test_choice_that_no_device_can_serve_is_refused_and_nothing_is_left(running: Running) -> None:
    pool, jupyter = running
    write_kernelspec(jupyter.folder, "plain", argv=PLAIN, fastgpu={"gate": False})
    for kernel in ("fastgpu", "plain"):
        kernel_id = put(jupyter, {"size": "7xa100"})
        status, answer = jupyter.call("POST", "api/sessions", session("a.ipynb", {"name": kernel, "id": kernel_id}))
        assert status == 500
        assert "7xa100" in answer["message"]
    assert pool.live() == []
    assert jupyter.call("GET", "api/kernels") == (200, [])


TWO_USERS = """
from jupyter_server.auth import IdentityProvider, User

class ByHeader(IdentityProvider):
    def get_user(self, handler):
        name = handler.request.headers.get("X-User")
        return User(username=name) if name else super().get_user(handler)

    def should_check_origin(self, handler):
        return False

c = get_config()
c.ServerApp.identity_provider_class = ByHeader
c.ServerApp.disable_check_xsrf = True
"""


@pytest.mark.slow
def test_intent_of_another_user_starts_nothing_and_is_kept(pool: PoolProcess, jupyter: ServerProcess) -> None:
    (jupyter.folder / "config" / "jupyter_server_config.py").write_text(TWO_USERS)
    jupyter.start()
    ann, bob = {"X-User": "ann"}, {"X-User": "bob"}
    kernel_id = put(jupyter, HALF, token=None, headers=ann)
    body = session("a.ipynb", {"name": "fastgpu", "id": kernel_id})
    status, answer = jupyter.call("POST", "api/sessions", body, token=None, headers=bob)
    assert (status, "Another user chose" in answer["message"]) == (500, True)
    status, answer = jupyter.call("PUT", f"fastgpu/api/intents/{kernel_id}", HALF, token=None, headers=bob)
    assert (status, answer["code"]) == (409, "conflict")
    assert pool.live() == []
    status, _ = jupyter.call("POST", "api/sessions", body, token=None, headers=ann)
    assert status == 201
    assert [view["request"]["size"] for view in pool.live()] == ["half"]


@pytest.mark.slow
def test_provisioner_of_a_program_without_a_server_imports_no_server() -> None:
    code = "import sys, fastgpu_jupyter.server.provisioner; print({'jupyter_server', 'msgspec'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.slow
def test_lease_of_a_kernel_that_starts_later_is_requested_once_and_released_unless_it_is_used(
    running: Running,
) -> None:
    pool, jupyter = running
    kernel_id = str(uuid.uuid4())
    path = f"fastgpu/api/requests/{kernel_id}"
    body = {"kernel": "fastgpu", "notebook": "later.ipynb", "parameters": {"size": "half", "priority": "low"}}
    status, made = jupyter.call("POST", path, body)
    assert (status, made["lease"]["request"]["size"], made["kept_for_ms"]) == (200, "half", 600_000)
    holder = made["lease"]["holder"]
    assert (holder["kernel_id"], str(holder["notebook"]).endswith("later.ipynb")) == (kernel_id, True)
    assert jupyter.call("POST", path, body)[1]["lease"]["id"] == made["lease"]["id"]
    assert jupyter.call("GET", "api/kernels") == (200, [])
    assert jupyter.call("POST", path, {**body, "kernel": "nothing"})[0] == 404
    assert jupyter.call("POST", path, {**body, "parameters": {"partition": "--now"}})[0] == 400
    jupyter.call("DELETE", f"fastgpu/api/leases/{made['lease']['id']}")
    pool.wait_state(made["lease"]["id"], "ended")
    # An ended request is not made again: what was cancelled would come back.
    assert jupyter.call("POST", path, body)[1]["lease"]["state"] == "ended"

    async def use_none() -> None:
        clock = Clock()
        clock.now_s = time.time()
        requested = RequestedLeases(lambda: pool.client, lambda _: False, logging.getLogger("test"), clock)
        lease = await requested.request(kernel_id, "ann", Wanted("half", None, None, {}))
        with pytest.raises(Conflict):
            await requested.request(kernel_id, "bob", Wanted("half", None, None, {}))
        await requested.check()
        assert pool.lease(lease["id"])["state"] == "active"
        assert token_path(kernel_id).exists()
        clock.now_s += CLAIM_S + 1
        await requested.check()
        pool.wait_state(lease["id"], "ended")
        assert not token_path(kernel_id).exists()

    asyncio.run(use_none())


def test_request_of_a_kernelspec_keeps_its_options_for_the_cluster_that_the_user_did_not_choose() -> None:
    metadata = {"fastgpu": {"memory": "24GiB", "partition": "gpu", "time": "8h", "priority": "low"}}
    chosen = ParsedRequest("2xh100", {"priority": "normal", "cluster": {"time_limit_ms": 3_600_000}})
    wanted = wanted_of(metadata, chosen, None)
    assert (wanted.size, wanted.memory_bytes) == ("2xh100", None)
    assert wanted.options == {"priority": "normal", "cluster": {"partition": "gpu", "time_limit_ms": 3_600_000}}
    assert wanted_of(metadata, ParsedRequest(None, {}), None).memory_bytes == 24 * 2**30
