"""Who is billed: names of directory services, a user database that fails or hangs, users that are seen as others."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import HostFault, InvalidRequest
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.wire.client import PoolClient, new_token
from tests.compiled import session_compiler
from tests.helpers import PoolProcess, fastgpu
from tests.pool.served import ServedPool
from tests.security.test_authorization import OTHER_USER, USER, Call, Held, call_as, held, pool
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
__all__ = ["held", "pool"]  # the fixtures

#: Names as directory services and administrators have them, and names that an address or a command could mistake.
NAMES = (
    *(
        "alice",
        "bob.smith",
        "eve@example.org",
        "EXAMPLE\\dave",
        "josé",
        "דנה",
        "a b",
        "o'neil",
        "svc_job$",
        "x+y",
        "a/b",
    ),
    *("n" * 64, "50%", "..", "a?b", "a#b", "%2F", "<b>", "domain users;", "*", "user%40example.org"),
)


def test_every_name_can_have_a_quota_a_budget_and_a_reservation(tmp_path: Path) -> None:
    served = ServedPool(tmp_path, "4xA100-80GB")
    try:
        for weight, name in enumerate(NAMES, start=1):
            assert served.client.set_tenant(name, {"weight": weight})["tenant"]["name"] == name
            assert served.client.set_budget(name, weight, "warn")["tenant"]["name"] == name
            assert served.client.reserve(name, "a100:1/16", "month")["tenant"]["name"] == name
            assert served.client.set_group(name, {"weight": weight})["group"] == name
            served.client.set_tenant(name, {"weight": weight, "group": name})
        tenants = {view["tenant"]["name"]: view for view in served.client.tenants()}
        assert {name: tenants[name]["weight"] for name in NAMES} == {name: n for n, name in enumerate(NAMES, start=1)}
        assert all(tenants[name]["group"] == name for name in NAMES)
        for name in ("", "a\nb", "a\x1b[2J", "n" * 300):
            with pytest.raises(InvalidRequest):
                served.client.set_tenant(name, {"weight": 1})
            with pytest.raises(InvalidRequest):
                served.client.set_group(name, {"weight": 1})
    finally:
        served.stop()


def test_command_sets_the_quota_of_a_user_that_is_a_number(isolated: Path) -> None:
    pool = PoolProcess(isolated, "1xA100-80GB")
    pool.start()
    try:
        assert fastgpu("quota", "1000770000", "--weight=50").returncode == 0
        assert fastgpu("budget", "EXAMPLE\\dave", "20").returncode == 0
        assert fastgpu("quota", "--weight=7", "--", "-rf").returncode == 0
        keys = [view["tenant"]["key"] for view in json.loads(fastgpu("quota", "--json").stdout)["tenants"]]
        assert keys == ["account:-rf", "account:EXAMPLE\\dave", "uid:1000770000"]
    finally:
        pool.end()


class Directory:
    """The user database of a pool's process, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.set(ann=1001)

    def set(self, **users: int) -> None:
        (self.folder / "users").write_text("".join(f"{name}:{uid}\n" for name, uid in users.items()))

    def fail(self, how: str) -> None:
        (self.folder / how).touch()

    def work(self) -> None:
        for how in ("down", "hang"):
            (self.folder / how).unlink(missing_ok=True)


@pytest.fixture
def directory(
    isolated: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Directory]:
    source = Path(__file__).with_name("users.c")
    library = session_compiler(tmp_path_factory).library("users", "libusers.so", [source]) / "libusers.so"
    folder = isolated / "users"
    folder.mkdir()
    monkeypatch.setenv("FASTGPU_TEST_USERS", str(folder))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    directory = Directory(folder)
    yield directory
    directory.work()


@pytest.fixture
def process(isolated: Path, directory: Directory) -> Iterator[PoolProcess]:
    process = PoolProcess(isolated, "1xA100-80GB")
    process.start()
    yield process
    directory.work()
    process.end()


@pytest.mark.parametrize("how", ["down", "hang"])
def test_failure_of_the_user_database_bills_no_other_tenant(
    process: PoolProcess, directory: Directory, how: str
) -> None:
    client = process.client
    assert client.set_tenant("ann", {"weight": 5})["tenant"] == {"key": "uid:1001", "name": "ann"}
    lease_id = client.request("half", token=new_token())["id"]
    directory.fail(how)
    assert client.set_budget("ann", 20, "stop")["tenant"]["key"] == "uid:1001"
    for change in (
        lambda: client.set_tenant("bob", {"weight": 5}),
        lambda: client.set_budget("bob", 20, "stop"),
        lambda: client.reserve("bob", "a100:1/4", "month"),
        lambda: client.transfer(lease_id, "bob"),
    ):
        with pytest.raises(HostFault) as refused:
            change()
        assert text_of(refused.value).startswith("It cannot be found out now who bob is.")
    assert client.lease(lease_id)["tenant"]["key"] == f"uid:{os.getuid()}"
    assert [view["tenant"]["key"] for view in client.tenants() if view["weight"] == 5] == ["uid:1001"]
    directory.set(ann=1001, bob=1002)
    directory.work()

    def answered() -> bool:
        try:
            return client.set_tenant("bob", {"weight": 6})["tenant"]["key"] == "uid:1002"
        except HostFault:
            return False  # it asks again some seconds after a failure

    wait_until(answered, "the user database is asked again")


def test_hanging_user_database_delays_no_other_request(process: PoolProcess, directory: Directory) -> None:
    directory.fail("hang")
    view = process.client.request("half", token=new_token())
    assert view["state"] == "active"
    began_s = time.monotonic()
    other = PoolClient(process.client.path)
    for _ in range(20):
        other.status()
    quick_s = time.monotonic() - began_s
    with pytest.raises(HostFault):
        process.client.set_tenant("bob", {"weight": 1})
    assert quick_s < time.monotonic() - began_s - quick_s  # only who asks for a name waits for it


def test_lease_that_was_transferred_stays_visible_to_the_user_that_holds_it(pool: ServedPool, held: Held) -> None:
    pool.client.transfer(held.lease_id, "physics")
    path = f"/v1/leases/{held.lease_id}"
    activity = Call("POST", f"{path}/activity", {"busy": True}, held.token)
    (status, text), (reported, _), (listed, leases) = call_as(
        pool, USER, [Call("GET", path), activity, Call("GET", "/v1/leases")]
    )
    assert (status, reported, listed) == (200, 200, 200)
    assert json.loads(text)["tenant"] == {"key": "account:physics", "name": "physics"}
    assert [view["id"] for view in json.loads(leases)["leases"]] == [held.lease_id]
    assert call_as(pool, OTHER_USER, [Call("GET", path)])[0][0] == 404


def test_kernel_that_is_seen_as_another_user_gets_no_404(pool: ServedPool, held: Held) -> None:
    path = f"/v1/leases/{held.lease_id}"
    calls = [Call("GET", path, token=held.token), Call("GET", f"/v1/events?lease={held.lease_id}", token=held.token)]
    for status, text in call_as(pool, OTHER_USER, calls):
        assert (status, json.loads(text)["code"]) == (403, "forbidden")
        assert f"seen as here (uid {OTHER_USER})" in json.loads(text)["detail"]
    assert call_as(pool, OTHER_USER, [Call("GET", path), Call("GET", path, token=new_token())])[0][0] == 404


#: Paths with names as no client of ours sends them.
RAW_NAMES = ("%FF", "%C3%28", "%00", "%0A", "%2F%2E%2E", "%F0%9F%98%80", "%ED%A0%80", "%", "%zz", "a%20b", "a+b", "%25")
VERSIONS = (
    "",
    "2",
    "0.1.0; interface=2; x",
    "0.1.0; interface=-1",
    "; interface=2",
    "0.1.0; interface=" + "9" * 400,
)


def test_raw_names_and_versions_are_answered_with_a_refusal_or_done(pool: ServedPool) -> None:
    body = b'{"weight": 3}'
    for name in RAW_NAMES:
        answers = [
            pool.raw("PUT", f"/v1/{path}", body, Content_Type="application/json")
            for path in (f"tenants/{name}", f"groups/{name}", f"tenants/{name}/budget", f"reservations/{name}")
        ]
        assert all(answer.status in {200, 201, 400, 404} for answer in answers), (name, [one.status for one in answers])
    for version in VERSIONS:
        answer = pool.raw("GET", "/v1/status", FastGPU_Version=version)
        assert (answer.status, answer.json["code"]) in {(400, "version_mismatch"), (400, "http_error")}, version
    names = {view["tenant"]["name"] for view in pool.client.tenants()}
    assert {"\U0001f600", "a b", "a+b", "%"} <= names
    assert not any(name == "" or "\0" in name or "\n" in name for name in names)


def test_name_that_another_user_gets_inherits_no_budget_and_no_bill(process: PoolProcess, directory: Directory) -> None:
    client = process.client
    former = client.set_budget("ann", 7, "stop")
    directory.set(ann=1050)
    process.end()  # a new process has no remembered answers
    process.start()
    now = client.set_tenant("ann", {"weight": 3})
    assert (former["tenant"]["key"], now["tenant"]["key"]) == ("uid:1001", "uid:1050")
    assert now["budget_micro_per_month"] is None
    budgets = {view["tenant"]["key"]: view["budget_micro_per_month"] for view in client.tenants()}
    assert budgets == {"uid:1001": 7, "uid:1050": None}
