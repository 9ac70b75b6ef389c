"""Versions that processes state to each other, and the sentences about a difference."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter import __version__
from fastgpu_jupyter.errors import VersionMismatch
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.messages import render, text_of
from fastgpu_jupyter.wire import variables, version
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.version import INTERFACE, OURS, UNSTATED, StatedVersion, read, stated
from tests.pool.served import ServedPool


def test_read_gives_what_was_stated() -> None:
    assert read(stated()) == OURS == (__version__, INTERFACE)
    assert read("12.0.1rc1; interface=34") == ("12.0.1rc1", 34)


@pytest.mark.parametrize(
    "text", [None, "", "0.1.0", "0.1.0; interface=", "a b; interface=2", "<b>; interface=2", "x" * 999]
)
def test_read_of_another_text_is_a_version_from_before(text: str | None) -> None:
    assert read(text) == StatedVersion(None, UNSTATED)
    assert not read(text).fits


@contextmanager
def answering(folder: Path, *answers: tuple[dict[str, str], Any]) -> Iterator[PoolClient]:
    """A pool manager that gives these answers, one for each connection."""
    path = folder / "pool.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            for headers, body in answers:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(2**16)
                    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
                    connection.sendall(f"HTTP/1.0 200 OK\r\n{''.join(lines)}\r\n{json.dumps(body)}".encode())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield PoolClient(path)
        finally:
            thread.join()


@pytest.mark.parametrize(
    ("interface", "what_to_do"),
    [(INTERFACE - 1, "Restart the pool manager"), (INTERFACE + 1, "Upgrade fastgpu-jupyter in the environment")],
)
def test_answer_of_another_interface_is_one_sentence_with_both_versions(
    tmp_path: Path, interface: int, what_to_do: str
) -> None:
    headers = {version.HEADER: f"9.8.7; interface={interface}"}
    with answering(tmp_path, (headers, {"status": "unlike any"})) as client, pytest.raises(VersionMismatch) as error:
        client.status()
    sentence = text_of(error.value)
    assert f"is FastGPU 9.8.7 (interface {interface}) and this program is FastGPU {__version__}" in sentence
    assert what_to_do in sentence


@pytest.mark.parametrize(
    ("pool", "named"),
    [
        ({"version": "0.0.9"}, "FastGPU 0.0.9"),
        ({}, "FastGPU (older"),
        ([], "FastGPU (older"),
        ({"version": 1}, "(older"),
    ],
)
def test_answer_without_a_version_is_one_sentence_with_the_version_of_the_pool(
    tmp_path: Path, pool: Any, named: str
) -> None:
    with answering(tmp_path, ({}, {}), ({}, pool)) as client, pytest.raises(VersionMismatch) as error:
        client.leases()
    assert named in text_of(error.value)
    assert f"(interface {UNSTATED}) and this program is FastGPU {__version__}" in text_of(error.value)


def test_later_version_of_the_same_interface_is_understood(tmp_path: Path) -> None:
    headers = {version.HEADER: f"9.8.7; interface={INTERFACE}"}
    with answering(tmp_path, (headers, {"leases": [], "new": True})) as client:
        assert client.leases() == []
    differs = version.difference_in_status("9.8.7")
    assert differs is not None
    assert "FastGPU 9.8.7" in render(differs)
    assert version.difference_in_status(__version__) is None


@pytest.mark.parametrize(("server", "notes"), [(stated(), 0), ("9.8.7; interface=99", 1), (None, 1)])
def test_kernel_names_the_version_of_a_server_that_it_does_not_understand(server: str | None, notes: int) -> None:
    environ = {"FASTGPU_LEASE": "lease-1", "FASTGPU_LEASE_STATE": "active"}
    gate = Gate.from_environment(environ | ({variables.VERSION: server} if server else {}))
    found = gate.apply_changes()
    assert len(found) == notes
    assert all(f"this kernel is FastGPU {__version__}" in note for note in found)
    assert gate.apply_changes() == []


def test_kernel_without_a_lease_says_nothing_of_a_server() -> None:
    assert Gate.from_environment({}).apply_changes() == []


@pytest.mark.slow
def test_caller_of_another_interface_is_refused_and_its_lease_counts_as_used(tmp_path: Path) -> None:
    served = ServedPool(tmp_path)
    try:
        lease_id = served.client.request("half", token=new_token())["id"]
        assert not served.client.lease(lease_id)["usage"]["busy"]
        for path in (f"/v1/leases/{lease_id}", f"/v1/events?lease={lease_id}", "/v1/status"):
            refused = served.raw("GET", path, FastGPU_Version="9.8.7; interface=99")
            assert (refused.status, refused.json["code"]) == (400, "version_mismatch")
            assert (
                f"FastGPU 9.8.7 (interface 99) and the pool manager is FastGPU {__version__}" in refused.json["detail"]
            )
            assert refused.headers[version.HEADER] == stated()
        assert served.client.lease(lease_id)["usage"]["busy"]
        assert served.raw("GET", "/v1/health", FastGPU_Version="9.8.7; interface=99").status == 200
        assert served.raw("GET", "/v1/no-such-route").headers[version.HEADER] == stated()
    finally:
        served.stop()
