"""Keys and display names of tenants."""

from __future__ import annotations

import pwd
from typing import Any

import pytest

from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.pool.identity import TenantNames, key_of_uid, with_display_name

ANN = pwd.struct_passwd(("ann", "x", 1001, 1001, "", "/home/ann", "/bin/sh"))


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A user database with one user; the lookups in it are recorded."""
    found: list[Any] = []

    def by_uid(uid: int) -> pwd.struct_passwd:
        found.append(uid)
        if uid == 1001:
            return ANN
        raise KeyError(uid)

    def by_name(name: str) -> pwd.struct_passwd:
        found.append(name)
        if name == "ann":
            return ANN
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwuid", by_uid)
    monkeypatch.setattr(pwd, "getpwnam", by_name)
    return found


def test_key_of_uid_has_the_tag() -> None:
    assert key_of_uid(1001) == "uid:1001"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("uid:1001", "ann"),
        ("uid:7", "uid-7"),
        ("uid:99999999999999999999", "uid-99999999999999999999"),
        ("uid:me", "me"),
        ("account:physics", "physics"),
        ("account:a:b", "a:b"),
        ("untagged", "untagged"),
    ],
)
def test_name_of_a_key_is_the_login_name_or_the_rest(lookups: list[Any], key: str, name: str) -> None:
    assert TenantNames().name_of(key) == name


def test_name_of_a_key_is_looked_up_once(lookups: list[Any]) -> None:
    names = TenantNames()
    assert [names.name_of("uid:1001") for _ in range(3)] == ["ann"] * 3
    assert lookups == [1001]


@pytest.mark.parametrize(
    ("tenant", "key"),
    [("uid:7", "uid:7"), ("hub:alice", "hub:alice"), ("ann", "uid:1001"), ("physics", "account:physics")],
)
def test_key_of_a_key_a_user_or_another_name(lookups: list[Any], tenant: str, key: str) -> None:
    assert TenantNames().key_of(tenant) == key


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({"tenant": "uid:1001", "spent_percent": 50}, {"tenant": "ann", "spent_percent": 50}),
        ({"spent_percent": 50}, {"spent_percent": 50}),
    ],
)
def test_with_display_name_replaces_the_key_of_a_tenant(
    lookups: list[Any], params: dict[str, Any], shown: dict[str, Any]
) -> None:
    assert with_display_name(Message("a.b", params), TenantNames().name_of) == Message("a.b", shown)
