"""``%%fastgpu cpu`` and ``%%fastgpu profile``, ``%fastgpu history``, completion, and the line on used-up memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.error import UsageError

from fastgpu_jupyter.errors import FastGPUError, PoolSilent
from fastgpu_jupyter.kernel import cell_profile, cpu_cell, framework_memory, magics, memory_peaks, out_of_memory
from fastgpu_jupyter.kernel.cell_cost import Cell, Known
from fastgpu_jupyter.kernel.cell_kinds import cell_verb, only_asks, without_cell_verb
from fastgpu_jupyter.kernel.completion import PROFILES, Sizes, complete
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.usage_chart import chart, means
from fastgpu_jupyter.kernel.verbs import VERBS, Context
from tests.kernel.fakes import FakePool, active_view, changed, lease_view, logical_gpu
from tests.waiting import wait_until

GIB = 2**30


class Pool(FakePool):
    """A pool with a history and with sizes."""

    def __init__(self, view: dict[str, Any]) -> None:
        super().__init__(view)
        self.quick_error: FastGPUError | None = None
        self.history = history([50] * 300)
        self.options = [option("half", 40, "now"), option("full", 80, "after_parking"), option("2xa100", 160, "queued")]

    def lease_history(self, lease_id: str, resolution: str = "1s", since: int | None = None) -> dict[str, Any]:
        """What the test set."""
        self.calls.append(("history", resolution))
        return self.history

    def sizes(self, lease_id: str | None = None) -> dict[str, Any]:
        """What the test set."""
        if self.quick_error is not None:
            raise self.quick_error
        self.calls.append(("sizes", lease_id))
        return {"options": self.options}


def history(utilization: list[int | None], *, started_at: int = 0, **more: Any) -> dict[str, Any]:
    """Return a history by the second."""
    memory = [None if one is None else one * GIB // 10 for one in utilization]
    return {
        "resolution_ms": 1000, "started_at": started_at, "utilization_percent": utilization,
        "memory_used_bytes": memory, "memory_used_bytes_max": memory, "energy_millijoule": None, **more,
    }  # fmt: skip


def option(size: str, gib: int, effect: str) -> dict[str, Any]:
    """Return a size that can be had."""
    return {"size": size, "memory_bytes": gib * GIB, "effect": effect}


@pytest.fixture
def pool() -> Pool:
    return Pool(active_view(limit_bytes=20 * GIB, size="quarter", gpu=logical_gpu(mechanism="shared")))


@pytest.fixture
def gate(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    token = tmp_path / "token"
    token.write_text("secret")
    environ = {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    gate = Gate("lease-1", "active", token, environ, pool.connect, granted=dict(environ), hidden=hidden)
    monkeypatch.setattr(gate.pool, "quick", pool.connect)
    gate.refresh()
    return gate


# -- which cells -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "verb"),
    [
        ("%%fastgpu cpu\nx = 1", "cpu"),
        ("\n  %%fastgpu PROFILE  # how much\nx", "profile"),
        ("%%fastgpu cpu", "cpu"),
        ("%%fastgpu cpu now\nx", None),
        ("%fastgpu cpu\nx", None),
        ("x\n%%fastgpu cpu", None),
    ],
)
def test_cell_verb_is_the_word_of_the_first_line(code: str, verb: str | None) -> None:
    assert cell_verb(code) == verb
    assert not only_asks(f"{code}\nx = 1")


@pytest.mark.parametrize(
    ("code", "rest"),
    [
        ("%%fastgpu cpu\nx = 1\ny\n", "\nx = 1\ny\n"),
        ("%%fastgpu profile\n%%time\nx\n", "%%time\nx\n"),
        ("%%fastgpu other\nx\n", "%%fastgpu other\nx\n"),
        ("x\n", "x\n"),
    ],
)
def test_without_cell_verb_keeps_the_numbers_of_the_lines(code: str, rest: str) -> None:
    assert "".join(without_cell_verb(code.splitlines(keepends=True))) == rest


# -- without the GPU ---------------------------------------------------------------------------------------------------


def test_without_gpu_hides_the_device_and_shows_it_again(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_cell, "driver_is_loaded", lambda: False)
    monkeypatch.setattr(cpu_cell, "blind_libraries", lambda _: [])
    notes: list[str] = []
    environ = gate.environment.environ
    with cpu_cell.without_gpu(gate, notes.append):
        assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert (environ["CUDA_VISIBLE_DEVICES"], notes) == ("GPU-1", [])
    with cpu_cell.without_gpu(gate, notes.append):
        environ["CUDA_VISIBLE_DEVICES"] = "3"
    assert environ["CUDA_VISIBLE_DEVICES"] == "3"  # the cell has set it


def test_without_gpu_names_a_library_that_looked_in_the_cell(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_cell, "driver_is_loaded", lambda: False)
    answers = iter([["JAX"], ["JAX", "PyTorch"]])
    monkeypatch.setattr(cpu_cell, "blind_libraries", lambda _: next(answers))
    notes: list[str] = []
    with cpu_cell.without_gpu(gate, notes.append):
        assert notes == []
    (note,) = notes
    assert note.startswith("FastGPU: PyTorch looked for GPUs before this kernel had one")


def test_without_gpu_says_what_happens_where_a_library_uses_the_gpu(
    gate: Gate, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_cell, "driver_is_loaded", lambda: True)
    notes: list[str] = []
    with cpu_cell.without_gpu(gate, notes.append):
        assert gate.environment.environ["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    parked: Any = changed(pool.view, state="parked", version=9)
    gate.update_lease(parked)
    with cpu_cell.without_gpu(gate, notes.append):
        pass
    assert "may be parked for others" in notes[0]
    assert "`jupyter fastgpu resume lease-1`" in notes[1]


# -- what a cell used --------------------------------------------------------------------------------------------------


def test_use_counts_each_sample_by_its_part_of_the_span() -> None:
    samples = history([0, 100, 50, None, 100], started_at=10_000)
    assert cell_profile.use_of(samples, 11_500, 13_500) == (1500, 1000, 10 * GIB)  # type: ignore[arg-type]
    assert cell_profile.use_of(samples, 13_100, 13_200) == (0, None, None)  # type: ignore[arg-type]


def test_profile_shows_time_memory_and_cost_and_what_is_not_known(
    gate: Gate, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_profile, "SAMPLES_WITHIN_S", 0)
    known = Known("lease-1", 0, 0, 3_600_000, "USD")
    profile = cell_profile.Profile(gate)
    pool.history = history([100, 50, 50], started_at=1000)
    shown = profile.end(Cell(1, 1000, 4000, known, known)).text
    for row in ("2000 ms, 67 % of the time", "10 GiB of 20 GiB", "other leases can be on the device", "0.0030 USD"):
        assert row in shown, shown
    pool.history = history([100, None, None], started_at=1000)
    assert "only 1000 ms of it were measured" in profile.end(Cell(1, 1000, 4000, known, known)).text
    assert "no sample" in profile.end(Cell(1, 1_000_000, 1_000_100, None, None)).text
    gate.lease_id = None
    assert "there is no lease" in profile.end(Cell(1, 1000, 4000, None, None)).text


def test_profile_shows_energy_only_of_a_device_without_other_leases(gate: Gate, pool: Pool) -> None:
    pool.view = active_view(version=5)
    gate.refresh()
    pool.history = history([100], energy_millijoule=5_000)
    profile = cell_profile.Profile(gate)
    pool.history = history([100] * 5, energy_millijoule=125_000)
    assert "120 J, of the whole device" in profile.end(Cell(1, 0, 4000, None, None)).text


def test_peaks_are_those_of_the_frameworks_and_unknown_where_they_did_not_rise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(framework_memory, "_KEPT", {})
    reset: list[int] = []
    highest = 5 * GIB
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 2,
        reset_peak_memory_stats=reset.append,
        max_memory_allocated=lambda index: highest * (index + 1),
        max_memory_reserved=lambda index: highest * (index + 1),
    )
    stats = {"peak_bytes_in_use": 5}
    bridge = SimpleNamespace(xla_bridge=SimpleNamespace(backends_are_initialized=lambda: True))
    jax = SimpleNamespace(
        _src=bridge, local_devices=lambda: [SimpleNamespace(platform="gpu", memory_stats=lambda: stats)]
    )
    modules = {"torch": SimpleNamespace(cuda=cuda), "jax": jax, "tensorflow": object()}
    before = memory_peaks.begin(modules)
    assert reset == [0, 1]
    highest = GIB
    # What the advice reads does not get less by that.
    assert framework_memory.read({"torch": modules["torch"]}) == (15 * GIB, 15 * GIB)
    assert memory_peaks.end(before, modules) == [("PyTorch", 3 * GIB), ("TensorFlow", None), ("JAX", None)]
    stats["peak_bytes_in_use"] = 7
    assert memory_peaks.end(before, modules)[-1] == ("JAX", 7)


# -- the use over time -------------------------------------------------------------------------------------------------


def test_history_shows_a_chart_with_its_numbers_and_gaps(gate: Gate, pool: Pool) -> None:
    context = Context(gate, gated=True)
    pool.history = history([None] * 100 + [0] * 100 + [100] * 100)
    shown = magics.run(context, "history")
    assert "used 50 % of the time on average, at most 100 %. At most 10 GiB of 20 GiB" in shown.text
    assert "It is known for 3 min 20 s of 5 min." in shown.text
    assert "·····▁" in shown.text
    assert 'role="img" aria-label="In the last 5 min' in shown.html
    assert shown.html.count("<path") == 2
    assert "stroke-dasharray" in shown.html
    pool.history = {**pool.history, "resolution_ms": 60_000}
    magics.run(context, "history 2h")
    assert [call[1] for call in pool.calls] == ["1s", "1m"]
    pool.history = history([])
    assert "Nothing is known of the last" in magics.run(context, "history 1m").text
    for wrong, sentence in (("history soon", "not a time"), ("history 1s", "from 10 s to"), ("history 9d", "to 168 h")):
        with pytest.raises(UsageError, match=sentence):
            magics.run(context, wrong)


def test_chart_of_a_whole_device_has_no_limit() -> None:
    shown = chart(history([10] * 20), 20_000, None)  # type: ignore[arg-type]
    assert "At most 1 GiB of memory were in use." in shown.text


def test_means_leave_out_what_is_not_known() -> None:
    assert means([1, None, None, None, 3, 5], 6, 3) == [1, None, 4]
    assert means([1.0], 3, 10) == [None, None, 1.0]


# -- completion, and the nearest verb ----------------------------------------------------------------------------------


def test_complete_offers_verbs_sizes_options_and_their_values() -> None:
    def sizes() -> tuple[str, ...]:
        return ("half", "full")

    assert set(complete("%fastgpu re", "re", sizes)) == {name for name in VERBS if name}
    assert complete("%%fastgpu p", "p", sizes) == ["cpu", "profile", "job", "compare"]
    assert complete("%fastgpu resize ha", "ha", sizes) == ["half", "full"]
    assert complete("%fastgpu resize half ", "", sizes) == []
    asked = complete("%fastgpu request half --priority low --", "--", sizes)
    assert "half" not in asked
    assert "--priority" not in asked
    assert "--hold" in asked
    assert complete("%fastgpu request --priority ", "", sizes) == ["low", "normal", "high"]
    assert complete("%fastgpu request --wait ", "", sizes) == []
    assert complete("%fastgpu pin ", "", sizes) == []
    assert complete("%fastgpu unknown ", "", sizes) == []


def test_sizes_are_asked_once_and_a_silent_pool_offers_the_profiles(gate: Gate, pool: Pool) -> None:
    pool.quick_error = PoolSilent("No answer.")
    sizes = Sizes(gate)
    assert sizes.names() == PROFILES
    pool.quick_error = None
    wait_until(lambda: sizes.names() == ("half", "full", "2xa100"), "the sizes are known")
    sizes.names()
    assert [call for call in pool.calls if call[0] == "sizes"] == [("sizes", "lease-1")]


def test_unknown_verb_is_answered_with_the_nearest(gate: Gate) -> None:
    with pytest.raises(UsageError, match="did you mean `%fastgpu resize`"):
        magics.run(Context(gate, gated=True), "resise half")
    with pytest.raises(UsageError, match=r"no verb 'x'\. Use one of"):
        magics.run(Context(gate, gated=True), "x")


# -- memory that is used up --------------------------------------------------------------------------------------------


def error_of(module: str, name: str, text: str = "used up") -> Exception:
    """Return an error as a framework raises it."""
    cls: type[Exception] = type(name, (RuntimeError,), {"__module__": module})
    return cls(text)


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (error_of("torch", "OutOfMemoryError"), True),
        (error_of("torch.cuda", "OutOfMemoryError"), True),
        (error_of("cupy.cuda.memory", "OutOfMemoryError"), True),
        (error_of("jaxlib.xla_extension", "XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory"), True),
        (error_of("jaxlib.xla_extension", "XlaRuntimeError", "INVALID_ARGUMENT"), False),
        (error_of("another", "OutOfMemoryError"), False),
        (MemoryError(), False),
    ],
)
def test_is_out_of_memory_knows_the_errors_of_frameworks(error: Exception, known: bool) -> None:
    assert out_of_memory.is_out_of_memory(error) is known


def test_line_names_the_larger_sizes_that_can_be_had_and_leaves_the_error_as_it_is(gate: Gate, pool: Pool) -> None:
    error = error_of("torch", "OutOfMemoryError")
    with out_of_memory.noted(error, gate):
        (line,) = error.__notes__
        assert line == (
            "FastGPU: this lease (quarter) may use 20 GiB of GPU memory. Larger sizes that can be had now: half "
            "(40 GiB) and full (80 GiB); for example `%fastgpu resize half`."
        )
    assert not hasattr(error, "__notes__")
    error.add_note("its own")
    pool.options = [option("half", 40, "queued")]
    with out_of_memory.noted(error, gate):
        assert "No larger size can be had at the moment" in error.__notes__[-1]
    assert error.__notes__ == ["its own"]
    pool.quick_error = PoolSilent("No answer.")
    assert "`%fastgpu resize SIZE`" in (out_of_memory.advice(gate) or "")
    pool.quick_error, pool.options = None, [option("quarter", 20, "now")]
    assert out_of_memory.advice(gate) is None  # there is nothing larger
    with out_of_memory.noted(ValueError(), gate):
        pass


def test_line_is_not_there_for_a_lease_that_waits(pool: Pool) -> None:
    waiting = Gate(None, "", None, dict(os.environ), pool.connect)
    assert out_of_memory.advice(waiting) is None
    assert lease_view()["gpu"] is None
    assert "torch" not in sys.modules
