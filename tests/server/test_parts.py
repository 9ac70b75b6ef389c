"""Token files, adopted processes, and the events that the server's logger gets."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
from io import StringIO
from logging import StreamHandler
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger

from fastgpu_jupyter.compat.jax import MEMORY_FRACTIONS
from fastgpu_jupyter.server import token_files
from fastgpu_jupyter.server.extension import LEASE_SCHEMA
from fastgpu_jupyter.server.kernel_lease import KernelLease
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.pidfd_process import PidfdProcess
from fastgpu_jupyter.wire.process_identity import start_time
from tests.waiting import DEADLINE_S, wait_until


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("own", [{}, {"XLA_CLIENT_MEM_FRACTION": "0.9"}, {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9"}])
def test_environment_of_a_kernel_has_one_variable_that_limits_jax(folder: Path, own: dict[str, str]) -> None:
    granted = {"CUDA_VISIBLE_DEVICES": "GPU-1", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.4938"}
    view: Any = {"id": "lease-1", "state": "active", "environment": granted, "hidden_environment": {}}
    lease = KernelLease("kernel-1", logging.getLogger())
    env = lease.environment(PoolClient(folder / "pool.sock"), view, own, gate=True)
    assert {name: env[name] for name in MEMORY_FRACTIONS if name in env} == {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.4938"}


@pytest.mark.parametrize("umask", [0o000, 0o277])
def test_token_file_is_private_with_any_umask(folder: Path, umask: int) -> None:
    token_files.token_folder()
    before = os.umask(umask)
    try:
        path = token_files.write_token_file("kernel-1", "first")
        path = token_files.write_token_file("kernel-1", "second")
    finally:
        os.umask(before)
    assert path.read_text() == "second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_token_file_follows_neither_links_nor_kernel_ids(folder: Path) -> None:
    victim = folder / "victim"
    victim.write_text("mine")
    path = token_files.token_path("../../etc/passwd")
    assert path.parent == token_files.token_folder()
    path.symlink_to(victim)
    token_files.write_token_file("../../etc/passwd", "secret")
    assert victim.read_text() == "mine"
    token_files.remove_token_file("../../etc/passwd")
    token_files.remove_token_file("../../etc/passwd")
    assert not path.exists()


def test_remove_stale_tokens_keeps_live_and_new_files(folder: Path) -> None:
    live, gone, new = (token_files.write_token_file(name, "t") for name in ("live", "gone", "new"))
    for path in (live, gone):
        os.utime(path, (1, 1))
    token_files.remove_stale_tokens(["live"])
    assert [path.exists() for path in (live, gone, new)] == [True, False, True]


def test_pidfd_process_is_polled_signalled_and_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = start_time(child.pid)
        adopted = PidfdProcess(child.pid, started)
        assert adopted.poll() is None
        with pytest.raises(TimeoutError):
            adopted.wait(0.01)
        adopted.send_signal(signal.SIGTERM)
        assert adopted.wait(DEADLINE_S) == -1
        assert adopted.poll() == -1
        adopted.kill()  # is not an error, and signals no process
        assert child.wait() == -signal.SIGTERM


def test_pidfd_process_works_with_more_than_1024_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    held: list[int] = []
    try:
        while not held or held[-1] <= 1024:  # more than `select` can look at
            held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        test_pidfd_process_is_polled_signalled_and_waited_for()
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_pidfd_process_with_another_start_time_has_ended() -> None:
    assert PidfdProcess(os.getpid(), 1).poll() == -1
    assert PidfdProcess(os.getpid(), None).poll() == -1
    assert PidfdProcess(2**22 - 1, 1).poll() == -1
    assert start_time(2**22 - 1) is None


def test_lease_event_matches_its_schema() -> None:
    out = StringIO()
    logger = EventLogger(handlers=[StreamHandler(out)])
    schema = Path(token_files.__file__).parent / "event_schemas" / "lease" / "v1.yaml"
    logger.register_event_schema(schema)
    data = {
        "lease_id": "a",
        "state": "active",
        "end_reason": None,
        "park_reason": "idle",
        "kernel_id": None,
        "device_id": "d",
        "size": "full",
    }
    logger.emit(schema_id=LEASE_SCHEMA, data={**data, "simulated": True})
    wait_until(out.getvalue, "the event is written")
    assert json.loads(out.getvalue())["state"] == "active"
