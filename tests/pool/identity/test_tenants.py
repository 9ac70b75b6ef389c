"""Keys and display names of tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fastgpu_jupyter.core.model.tenant import Tenant
from fastgpu_jupyter.errors import Conflict, HostFault, InvalidRequest, Message
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.pool.host.threads import DaemonThreads
from fastgpu_jupyter.pool.identity import TenantNames, key_of_uid, with_display_name
from fastgpu_jupyter.pool.identity.known_users import FRESH_S, KnownUsers
from tests.pool.identity.users import FakeTime, FakeUsers

#: Users as a directory service has them.
DIRECTORY = {"eve@example.org": 2001, "EXAMPLE\\dave": 2002, "josé": 2003, "דנה": 2004, "svc_job$": 2005, "42": 2006}


class Bench:
    """Names of tenants with a database, a clock and tenants that the test decides."""

    def __init__(self) -> None:
        self.database, self.time = FakeUsers(ann=1001, **DIRECTORY), FakeTime()
        self.tenants: dict[str, Tenant] = {}
        self.users = KnownUsers(self.database, DaemonThreads, self.time)
        self.names = TenantNames(self.users, lambda: self.tenants)

    def key_of(self, tenant: str) -> str:
        return asyncio.run(self.names.key_of(tenant))

    def name_of(self, key: str) -> str:
        asyncio.run(self.names.learn(key))
        return self.names.name_of(key)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.database.answer()
    bench.users.close()


def test_key_of_uid_has_the_tag() -> None:
    assert key_of_uid(1001) == "uid:1001"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("uid:1001", "ann"),
        ("uid:2002", "EXAMPLE\\dave"),
        ("uid:7", "uid-7"),
        ("uid:99999999999999999999", "99999999999999999999"),
        ("uid:me", "me"),
        ("account:physics", "physics"),
        ("account:a:b", "a:b"),
        ("untagged", "untagged"),
    ],
)
def test_name_of_a_key_is_the_login_name_or_the_rest(bench: Bench, key: str, name: str) -> None:
    assert bench.name_of(key) == name


def test_name_of_a_key_is_recorded_while_the_database_fails_or_the_user_is_removed(bench: Bench) -> None:
    bench.tenants["uid:1001"] = Tenant(name="ann")
    bench.database.fault = "It is down."
    assert bench.name_of("uid:1001") == "ann"
    bench.tenants["uid:7"] = Tenant(name="former")
    bench.database.fault = None
    assert bench.name_of("uid:7") == "former"


def test_name_of_a_key_does_not_wait_for_a_database_that_hangs(bench: Bench) -> None:
    bench.database.hang()
    assert bench.names.name_of("uid:1001") == "uid-1001"


@pytest.mark.parametrize(
    ("tenant", "key"),
    [
        ("uid:7", "uid:7"),
        ("uid:007", "uid:7"),
        ("hub:alice", "hub:alice"),
        ("account:a/b", "account:a/b"),
        ("ann", "uid:1001"),
        ("physics", "account:physics"),
        ("42", "uid:2006"),
        ("1000770000", "uid:1000770000"),
        ("O'Neil", "account:O'Neil"),
        ("a b", "account:a b"),
        ("a/b", "account:a/b"),
        ("50%", "account:50%"),
        ("-rf", "account:-rf"),
        ("cafe\u0301", "account:caf\u00e9"),
        *((name, f"uid:{uid}") for name, uid in DIRECTORY.items()),
    ],
)
def test_key_of_a_key_a_user_a_number_or_another_name(bench: Bench, tenant: str, key: str) -> None:
    assert bench.key_of(tenant) == key


@pytest.mark.parametrize(
    "tenant", ["", "a\nb", "a\x00b", "a\x9bb", "a\u2028b", "n" * 265, "uid:", "uid:ann", "uid:4294967295", "usr:ann"]
)
def test_key_of_what_names_no_tenant_is_refused(bench: Bench, tenant: str) -> None:
    with pytest.raises(InvalidRequest):
        bench.key_of(tenant)


@pytest.mark.parametrize("number", ["4294967295", "99999999999999999999"])
def test_key_of_digits_that_are_no_number_of_a_user_is_refused(bench: Bench, number: str) -> None:
    with pytest.raises(InvalidRequest, match="4294967294"):
        bench.key_of(number)


def test_key_of_a_name_while_the_database_fails_is_that_of_the_known_user(bench: Bench) -> None:
    assert bench.key_of("ann") == "uid:1001"
    bench.database.fault, bench.time.s = "It is down.", bench.time.s + FRESH_S
    assert bench.key_of("ann") == "uid:1001"
    bench.tenants["uid:2001"] = Tenant(name="eve@example.org")
    assert bench.key_of("eve@example.org") == "uid:2001"


@pytest.mark.parametrize("name", ["bob", "1000770000"])
def test_key_of_an_unknown_name_while_the_database_fails_is_refused(bench: Bench, name: str) -> None:
    bench.database.fault = "It is down."
    with pytest.raises(HostFault) as refused:
        bench.key_of(name)
    assert text_of(refused.value).startswith(
        f"It cannot be found out now who {name} is. It is down. Nothing was changed"
    )


def test_key_of_a_former_user_is_its_own_and_a_new_user_of_that_name_has_another(bench: Bench) -> None:
    bench.tenants["uid:7"] = Tenant(name="bob")
    assert bench.key_of("bob") == "uid:7"
    bench.database.users["bob"] = 1002
    bench.time.s += FRESH_S
    assert bench.key_of("bob") == "uid:1002"


def test_key_of_the_name_of_several_former_users_is_refused(bench: Bench) -> None:
    bench.tenants |= {"uid:7": Tenant(name="bob"), "uid:8": Tenant(name="bob")}
    with pytest.raises(Conflict) as refused:
        bench.key_of("bob")
    assert "uid:7 and uid:8" in text_of(refused.value)


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({"tenant": "uid:1001", "spent_percent": 50}, {"tenant": "ann", "spent_percent": 50}),
        ({"spent_percent": 50}, {"spent_percent": 50}),
    ],
)
def test_with_display_name_replaces_the_key_of_a_tenant(
    bench: Bench, params: dict[str, Any], shown: dict[str, Any]
) -> None:
    assert bench.name_of("uid:1001") == "ann"
    assert with_display_name(Message("a.b", params), bench.names.name_of) == Message("a.b", shown)
