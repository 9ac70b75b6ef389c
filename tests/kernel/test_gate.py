"""The gate and its follower, against a pool that the test drives."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastgpu_jupyter.errors import Conflict
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.lease_commands import LeaseCommands
from fastgpu_jupyter.kernel.lease_follower import LeaseFollower
from fastgpu_jupyter.wire.variables import ANCESTOR_LEASES, REPLACED, without_lease
from tests.kernel.fakes import FakePool, active_view, lease_view, message, queue_group
from tests.views import explanation_of, position_of
from tests.waiting import DEADLINE_S, wait_until


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("secret")
    return path


HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}


def make_gate(pool: FakePool, token_file: Path | None, state: str = "waiting", **environ: str) -> Gate:
    environ.setdefault("CUDA_VISIBLE_DEVICES", "GPU-1" if state == "active" else "")
    granted = {"CUDA_VISIBLE_DEVICES": "GPU-1"} if state == "active" else {}
    return Gate(
        "lease-1", state, token_file, environ, pool.connect, kernel_id="kernel-1", granted=granted, hidden=HIDDEN
    )


def env(gate: Gate) -> dict[str, str]:
    """The environment without what it says to the processes that the kernel starts."""
    return {name: value for name, value in gate.environment.environ.items() if name not in (ANCESTOR_LEASES, REPLACED)}


def test_gate_without_a_lease_is_open() -> None:
    gate = Gate.from_environment({})
    assert gate.open
    assert not gate.has_changes


def test_gate_leaves_children_no_lease_but_whose_device_they_use(token_file: Path) -> None:
    environ = {
        "FASTGPU_LEASE": "inner", "FASTGPU_TOKEN_FILE": str(token_file), "FASTGPU_LEASE_STATE": "active",
        "FASTGPU_KERNEL_ID": "kernel-1", "FASTGPU_GRANTED": '{"CUDA_VISIBLE_DEVICES": "GPU-1"}',
        "FASTGPU_REPLACED": '{"CUDA_VISIBLE_DEVICES": "1"}',
        "FASTGPU_HIDDEN": '{"CUDA_VISIBLE_DEVICES": ""}', "CUDA_VISIBLE_DEVICES": "GPU-1", ANCESTOR_LEASES: "outer",
    }  # fmt: skip
    gate = Gate.from_environment(environ)
    assert gate.open
    assert (gate.lease_id, gate.kernel_id, gate.pool.token()) == ("inner", "kernel-1", "secret")
    kept = {ANCESTOR_LEASES: "outer inner", "FASTGPU_REPLACED": '{"CUDA_VISIBLE_DEVICES": "1"}'}
    assert environ == {"CUDA_VISIBLE_DEVICES": "GPU-1", **kept}
    gate.forget_lease()
    gate.apply_changes()
    assert (environ["CUDA_VISIBLE_DEVICES"], environ[ANCESTOR_LEASES]) == ("", "outer inner")
    assert without_lease(environ) == {"CUDA_VISIBLE_DEVICES": "1"}, "as the server has it"


def test_gate_of_a_granted_start_keeps_the_environment(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file, "active")
    gate.environment.environ["CUDA_VISIBLE_DEVICES"] = "the user's own"
    gate.update_lease(active_view())  # type: ignore[arg-type]
    assert gate.open
    assert not gate.has_changes
    assert env(gate)["CUDA_VISIBLE_DEVICES"] == "the user's own"


def test_gate_replaces_what_a_program_between_has_made_of_the_grant() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "1", "FASTGPU_LEASE": "lease-1", "FASTGPU_LEASE_STATE": "active"}
    environ = {**given, "FASTGPU_GRANTED": '{"CUDA_VISIBLE_DEVICES": "GPU-1"}'}
    gate = Gate.from_environment(environ)
    assert gate.has_changes
    gate.apply_changes()
    assert environ["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def test_gate_opens_on_a_grant_and_sets_the_environment_between_cells(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    assert not gate.open
    gate.update_lease(lease_view())  # type: ignore[arg-type]
    assert not gate.open
    gate.handle_message({"type": "changed", "leases": [active_view()]})
    assert [gate.open] == [True]
    assert env(gate) == {"CUDA_VISIBLE_DEVICES": ""}
    assert gate.apply_changes() == []
    assert env(gate) == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert not gate.has_changes


@pytest.mark.parametrize("state", ["waiting", "preparing", "parking", "parked", "resuming"])
def test_gate_is_closed_in_states_without_a_gpu(token_file: Path, state: str) -> None:
    gate = make_gate(FakePool(), token_file, "active")
    gate.update_lease(active_view(state=state, version=9))  # type: ignore[arg-type]
    assert not gate.open


@pytest.mark.parametrize(
    ("reason", "said"), [("released", "was released"), ("expired", "waited as long"), ("device_lost", "GPU was lost")]
)
def test_gate_notes_an_end_elsewhere_once(token_file: Path, reason: str, said: str) -> None:
    gate = make_gate(FakePool(), token_file, "active", OTHER="1")
    gate.handle_message({"type": "changed", "leases": [active_view(state="draining", end_reason=reason, version=3)]})
    gate.handle_message({"type": "changed", "leases": [active_view(state="ended", end_reason=reason, version=4)]})
    (note,) = gate.apply_changes()
    assert said in note
    assert env(gate) == {"CUDA_VISIBLE_DEVICES": "", "OTHER": "1"}
    assert gate.apply_changes() == []
    assert gate.open


def test_gate_note_on_an_end_has_the_pools_explanation(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file, "active")
    why = "A process destroyed its MIG partition."
    ended = active_view(state="draining", end_reason="device_lost", notes=[message("end.detail", why)], version=3)
    gate.handle_message({"type": "changed", "leases": [ended]})
    assert f"Its GPU was lost. {why} Cells run" in gate.apply_changes()[0]


def test_gate_of_an_unknown_lease_hides_every_device(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file, "active")
    gate.forget_lease()
    gate.apply_changes()
    assert env(gate) == HIDDEN


def test_gate_hides_devices_with_the_variables_of_the_last_view(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    gate.update_lease(active_view(hidden_environment={"OTHER_VISIBLE_DEVICES": "-1"}))  # type: ignore[arg-type]
    gate.forget_lease()
    gate.apply_changes()
    assert env(gate)["OTHER_VISIBLE_DEVICES"] == "-1"


def test_gate_removes_every_variable_of_a_grant_at_its_end(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    both = {"CUDA_VISIBLE_DEVICES": "MIG-1", "CUDA_MPS_PIPE_DIRECTORY": "/x"}
    gate.update_lease(active_view(environment=both))  # type: ignore[arg-type]
    gate.apply_changes()
    assert env(gate) == both
    gate.update_lease(active_view(state="ended", end_reason="released", version=3))  # type: ignore[arg-type]
    gate.apply_changes()
    assert env(gate) == {"CUDA_VISIBLE_DEVICES": ""}


def test_gate_ignores_older_versions_except_in_snapshots(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    gate.update_lease(active_view(version=5))  # type: ignore[arg-type]
    gate.handle_message({"type": "changed", "leases": [lease_view(version=4)]})
    assert gate.open
    gate.handle_message({"type": "snapshot", "leases": [lease_view(version=4)], "queue": []})
    assert not gate.open


def test_gate_ignores_other_leases(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    gate.handle_message(
        {"type": "changed", "leases": [active_view(id="another")], "queue": [{"lease_id": None, "position": 1}]}
    )
    assert not gate.open


def test_gate_updates_position_and_usage(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    gate.update_lease(lease_view(position=3))  # type: ignore[arg-type]
    entry = {"lease_id": "lease-1", **queue_group(2, "another one is first")}
    gate.handle_message({"type": "changed", "leases": [], "queue": [entry]})
    assert gate.view is not None
    assert (position_of(gate.view), explanation_of(gate.view)) == (2, "another one is first")
    gate.update_lease(active_view())  # type: ignore[arg-type]
    gate.handle_message(
        {
            "type": "usage",
            "leases": [{"id": "lease-1", "usage": {"utilization_percent": 77, "surprise": 1}, "other": {}}],
        }
    )
    assert gate.view["usage"]["utilization_percent"] == 77
    assert "surprise" not in gate.view["usage"]
    assert "other" not in gate.view


def test_gate_stays_open_while_the_pool_is_unreachable(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file, "active")
    gate.report_pool_error("The pool manager went away.")
    assert gate.open
    assert gate.pool_error == "The pool manager went away."
    gate.update_lease(active_view())  # type: ignore[arg-type]
    assert gate.pool_error is None


def test_release_by_the_user_adds_no_note(token_file: Path) -> None:
    pool = FakePool(active_view())
    gate = make_gate(pool, token_file, "active")
    LeaseCommands(gate).release()
    assert pool.calls == [("release", "lease-1", "secret")]
    assert gate.open
    assert gate.apply_changes() == []
    assert env(gate) == {"CUDA_VISIBLE_DEVICES": ""}
    gate.handle_message({"type": "changed", "leases": [active_view(state="ended", end_reason="released", version=9)]})
    assert gate.apply_changes() == []


def test_request_after_release_uses_the_same_token_and_kernel(token_file: Path) -> None:
    pool = FakePool(active_view(size="24GiB"))
    gate = make_gate(pool, token_file, "active")
    with pytest.raises(Conflict, match=r"magic\.has_gpu"):
        LeaseCommands(gate).request()
    LeaseCommands(gate).release()
    view = LeaseCommands(gate).request()
    assert pool.calls[-1] == ("request", "24GiB", None, "kernel-1", "a.ipynb")
    assert view["id"] == gate.lease_id == "lease-2"
    assert not gate.open
    assert gate.wake_follower.is_set()
    gate.update_lease(active_view(id="lease-2", version=1))  # type: ignore[arg-type]
    gate.apply_changes()
    assert env(gate) == {"CUDA_VISIBLE_DEVICES": "GPU-1"}


def test_request_while_waiting_keeps_the_lease(token_file: Path) -> None:
    pool = FakePool()
    gate = make_gate(pool, token_file)
    before = gate.lease_id
    LeaseCommands(gate).request("half")
    assert [call[0] for call in pool.calls] == ["resize"]
    assert gate.lease_id == before


def test_close_binds_to_a_successor_or_releases(token_file: Path) -> None:
    pool = FakePool()
    for successor_pid, call in ((42, ("bind", "lease-1", "secret", 42)), (None, ("release", "lease-1", "secret"))):
        gate = make_gate(pool, token_file, "active")
        gate.pool.quick = pool.connect  # type: ignore[method-assign]
        gate.close(successor_pid)
        assert pool.calls[-1] == call
        assert gate.closed.is_set()
    pool.down = "gone"
    gate.close(7)  # is no error


def test_gate_in_a_forked_process_has_no_lease_to_release(token_file: Path) -> None:
    pool = FakePool()
    gate = make_gate(pool, token_file, "active")
    with gate._lock:  # another thread had it when the kernel forked
        gate.abandon()
    threading.Thread(target=gate.close, args=(None,), daemon=True).start()
    assert gate.open
    assert LeaseCommands(gate).release() is None
    assert gate.pool.token() is None
    assert pool.calls == []


def test_listeners_are_called_until_removed(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    calls: list[int] = []
    remove = gate.add_listener(lambda: calls.append(1))
    gate.update_lease(lease_view())  # type: ignore[arg-type]
    remove()
    remove()
    gate.update_lease(active_view())  # type: ignore[arg-type]
    assert calls == [1]


class Followed:
    """A gate with its follower running."""

    def __init__(self, pool: FakePool, gate: Gate) -> None:
        self.pool, self.gate = pool, gate
        self.thread = LeaseFollower(gate)
        self.thread._pause_s = 0.001
        self.thread.start()

    def put(self, message: dict[str, Any] | None) -> None:
        self.pool.stream.messages.put(message)

    def end(self) -> None:
        self.gate.closed.set()
        self.gate.wake_follower.set()
        self.put({"type": "keepalive"})
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()


@pytest.fixture
def followed(token_file: Path) -> Iterator[Followed]:
    pool = FakePool()
    one = Followed(pool, make_gate(pool, token_file))
    yield one
    one.end()


def test_follower_updates_the_gate_and_reconnects(followed: Followed) -> None:
    followed.put({"type": "snapshot", "leases": [lease_view()], "queue": []})
    wait_until(lambda: followed.gate.view, "the first view")
    followed.put(None)
    wait_until(lambda: followed.pool.calls.count(("events", "lease-1")) == 2, "it connects again")
    followed.put({"type": "changed", "leases": [active_view()]})
    wait_until(lambda: followed.gate.open, "the gate opens")


def test_follower_reports_an_unreachable_pool(followed: Followed) -> None:
    wait_until(lambda: followed.gate.view, "the first view")
    followed.pool.down = "No pool manager answers."
    followed.put(None)
    wait_until(lambda: followed.gate.pool_error == "No pool manager answers.", "the pool_error is known")
    followed.pool.down = None
    wait_until(lambda: followed.gate.pool_error is None, "and over")


def test_follower_of_a_lost_lease_opens_the_gate(token_file: Path) -> None:
    pool = FakePool(lease_view(id="another kernel's"))
    one = Followed(pool, make_gate(pool, token_file))
    wait_until(lambda: one.gate.open, "the gate opens")
    (note,) = one.gate.apply_changes()
    assert "It is unknown to the pool manager" in note
    one.end()


def test_follower_keeps_a_lease_that_another_pool_does_not_know(followed: Followed) -> None:
    pool, gate = followed.pool, followed.gate
    view, lease_id = pool.view, gate.lease_id
    followed.put({"type": "snapshot", "pool": {"id": "a-pool"}, "leases": [active_view()], "queue": []})
    wait_until(lambda: gate.open, "the gate opens")
    pool.pool_id, pool.view = "another-pool", lease_view(id="another kernel's")
    followed.put(None)
    wait_until(lambda: "Another pool" in (gate.pool_error or ""), "the kernel sees that it is another pool")
    assert (gate.lease_id, gate.open) == (lease_id, True)
    pool.pool_id, pool.view = "a-pool", view
    wait_until(lambda: gate.pool_error is None, "the pool is back")
    assert gate.lease_id == lease_id
    pool.view = lease_view(id="another kernel's")
    followed.put(None)
    wait_until(lambda: gate.lease_id is None, "its own pool does not know the lease")


def test_follower_follows_the_next_lease(followed: Followed) -> None:
    wait_until(lambda: followed.gate.view, "the first view")
    LeaseCommands(followed.gate).release()
    LeaseCommands(followed.gate).request("half")
    followed.put({"type": "keepalive"})
    wait_until(lambda: ("events", "lease-2") in followed.pool.calls, "it follows the next lease")


def test_gate_is_safe_to_update_from_many_threads(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    threads = [
        threading.Thread(
            target=lambda n=n: gate.handle_message({"type": "changed", "leases": [active_view(version=n)]})
        )
        for n in range(2, 12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gate.view is not None
    assert gate.view["version"] == 11


def test_gate_notes_a_fault_once(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file, "active")
    gate.update_lease(active_view(version=5))  # type: ignore[arg-type]
    fault = {"fault_message": "Your code read outside its memory: Xid 31."}
    gate.update_lease(active_view(version=6, **fault))  # type: ignore[arg-type]
    gate.update_lease(active_view(version=6, **fault))  # type: ignore[arg-type]
    assert gate.apply_changes() == ["FastGPU: Your code read outside its memory: Xid 31."]
    assert gate.apply_changes() == []


def test_gate_notes_each_budget_step_once(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file, "active")
    gate.update_lease(active_view(version=5))  # type: ignore[arg-type]
    half = {"budget_message": "It has cost 50 % of its budget."}
    gate.update_lease(active_view(version=6, **half))  # type: ignore[arg-type]
    gate.update_lease(active_view(version=7, **half))  # type: ignore[arg-type]
    assert gate.has_changes
    assert gate.apply_changes() == ["FastGPU: It has cost 50 % of its budget."]
    gate.update_lease(active_view(version=8, **half))  # type: ignore[arg-type]
    assert not gate.has_changes


def test_gate_drops_the_note_of_a_budget_that_was_raised(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file, "active")
    gate.update_lease(active_view(version=5, budget_message="Nothing more is granted."))  # type: ignore[arg-type]
    gate.update_lease(active_view(version=6))  # type: ignore[arg-type]
    assert gate.apply_changes() == []


@pytest.fixture
def jax_that_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A JAX that has created its backends."""
    bridge = SimpleNamespace(backends_are_initialized=lambda: True)
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(_src=SimpleNamespace(xla_bridge=bridge)))
    monkeypatch.setattr("fastgpu_jupyter.compat.torch.driver_is_loaded", lambda: False)


def test_gate_notes_that_a_library_looked_for_a_gpu_too_early(token_file: Path, jax_that_looked: None) -> None:
    gate = make_gate(FakePool(), token_file)
    gate.update_lease(active_view())  # type: ignore[arg-type]
    assert gate.apply_changes(with_notes=False) == []
    assert env(gate) == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert gate.has_changes  # the note is for a cell whose output a user reads
    gate.environment.environ["CUDA_VISIBLE_DEVICES"] = "the user's own"
    (note,) = gate.apply_changes()
    assert note.startswith("FastGPU: JAX looked for GPUs before this kernel had one")
    assert "Restart the kernel" in note
    assert env(gate) == {"CUDA_VISIBLE_DEVICES": "the user's own"}
    assert gate.apply_changes() == []


def test_gate_notes_nothing_where_the_gpu_was_visible_or_is_simulated(token_file: Path, jax_that_looked: None) -> None:
    gate = make_gate(FakePool(), token_file)
    simulated = {"CUDA_VISIBLE_DEVICES": "", "FASTGPU_SIMULATED": "1"}
    gate.update_lease(active_view(environment=simulated))  # type: ignore[arg-type]
    assert gate.apply_changes() == []
    granted = make_gate(FakePool(), token_file, "active")
    granted.update_lease(active_view(environment={"CUDA_VISIBLE_DEVICES": "GPU-1", "MORE": "1"}))  # type: ignore[arg-type]
    assert granted.apply_changes() == []


def test_gate_notes_a_driver_that_was_loaded_too_early(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgpu_jupyter.compat.torch.driver_is_loaded", lambda: True)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    gate = make_gate(FakePool(), token_file)
    gate.update_lease(active_view())  # type: ignore[arg-type]
    assert gate.apply_changes()[0].startswith("FastGPU: A library looked")


def test_uncounted_code_counts_once_it_is_blocked_on_a_parked_lease(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastgpu_jupyter.kernel.gate.BLOCKED_AFTER_S", 0.0)
    waiting = make_gate(FakePool(), token_file)
    with waiting.not_counted():
        pass
    gate = make_gate(FakePool(), token_file, "active")
    with gate.not_counted():
        assert not gate.activity.running
        gate.update_lease(active_view(state="parked", version=3))  # type: ignore[arg-type]
        wait_until(lambda: gate.activity.running, "the code counts")
        assert not waiting.activity.began
    assert not gate.activity.running


def test_gate_keeps_the_environment_while_the_gpu_is_missing(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file, "active")
    gone = active_view(version=3, environment={"CUDA_VISIBLE_DEVICES": ""}, missing_since=1)
    gate.update_lease(gone)  # type: ignore[arg-type]
    gate.apply_changes()
    assert (gate.open, env(gate)["CUDA_VISIBLE_DEVICES"]) == (True, "GPU-1")
    gate.update_lease(active_view(version=4, environment={"CUDA_VISIBLE_DEVICES": "GPU-2"}))  # type: ignore[arg-type]
    gate.apply_changes()
    assert env(gate)["CUDA_VISIBLE_DEVICES"] == "GPU-2"


# ---- cells that run on the CPU while the lease waits -----------------------------------------------------------------


def test_gate_runs_cells_on_the_cpu_only_while_the_lease_waits(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    gate.update_lease(lease_view())  # type: ignore[arg-type]
    assert not gate.runs_on_cpu
    gate.update_lease(lease_view(cpu_meanwhile=True, version=2))  # type: ignore[arg-type]
    assert (gate.open, gate.runs_on_cpu) == (False, True)
    gate.update_lease(lease_view(cpu_meanwhile=True, state="preparing", version=3))  # type: ignore[arg-type]
    assert not gate.runs_on_cpu
    gate.update_lease(active_view(version=4))  # type: ignore[arg-type]
    assert (gate.open, gate.runs_on_cpu) == (True, False)


def test_gate_says_once_that_cells_run_on_the_cpu_and_once_that_they_have_the_gpu(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    gate.update_lease(lease_view(cpu_meanwhile=True))  # type: ignore[arg-type]
    gate.begin_on_cpu()
    gate.begin_on_cpu()
    (note,) = gate.apply_changes()
    assert "this cell runs on the CPU" in note
    gate.update_lease(active_view())  # type: ignore[arg-type]
    (note,) = gate.apply_changes()
    assert "the GPU was granted" in note
    assert env(gate)["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert gate.apply_changes() == []


def test_gate_of_a_pool_that_knows_no_cells_on_the_cpu_lets_them_wait(token_file: Path) -> None:
    gate = make_gate(FakePool(), token_file)
    view = lease_view()
    del view["cpu_meanwhile"]
    gate.update_lease(view)  # type: ignore[arg-type]
    assert not gate.runs_on_cpu
