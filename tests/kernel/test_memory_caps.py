"""Memory limits of frameworks, which are simulated here, before and after they are imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastgpu_jupyter.compat.jax import MEMORY_FRACTIONS
from fastgpu_jupyter.kernel import memory_caps as caps_module
from fastgpu_jupyter.kernel.memory_caps import CAP_BYTES, CAP_FRACTION, FRAMEWORKS, TORCH_VARIABLE, MemoryCaps
from tests.kernel.fakes import FakePool, active_view
from tests.kernel.test_gate import make_gate

HALF = {CAP_BYTES: str(40 * 2**30), CAP_FRACTION: "0.5"}
QUARTER = {CAP_BYTES: str(20 * 2**30), CAP_FRACTION: "0.25"}
NEW, OLD = MEMORY_FRACTIONS
WHOLE = {"CUDA_VISIBLE_DEVICES": "GPU-1"}

#: Each notes what it was told in ``told``; ``begin`` is its first use of a device.
PLAYED = {
    "torch": """
        told, _queued, _begun = [], [], []
        class cuda:
            is_initialized = staticmethod(lambda: bool(_begun))
            _lazy_call = staticmethod(_queued.append)
            @staticmethod
            def set_per_process_memory_fraction(fraction, device=None):
                begin()
                told.append(fraction)
        def begin():
            if not _begun:
                _begun.append(1)
                for call in _queued: call()
    """,
    "cupy": """
        told = []
        class _Pool:
            def set_limit(self, size=None, fraction=None): told.append(size)
        get_default_memory_pool = _Pool
        def begin(): pass
    """,
    "tensorflow": """
        told, _begun = [], []
        class config:
            @staticmethod
            def LogicalDeviceConfiguration(memory_limit): return memory_limit
            @staticmethod
            def list_physical_devices(kind): return ["GPU:0"]
            @staticmethod
            def set_logical_device_configuration(gpu, limits):
                if _begun: raise RuntimeError("Virtual devices cannot be modified after being initialized")
                told.append(limits)
        def begin(): _begun.append(1)
    """,
    "jax": """
        import os
        told, _begun = [], []
        class _src:
            class xla_bridge:
                backends_are_initialized = staticmethod(lambda: bool(_begun))
        def begin():
            _begun.append(1)
            told.append(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION"))
    """,
    "rmm": """
        told = []
        class mr:
            current = "plain"
            class LimitingResourceAdaptor:
                def __init__(self, upstream, allocation_limit): told.append(allocation_limit)
            @classmethod
            def get_current_device_resource(cls): return cls.current
            @classmethod
            def set_current_device_resource(cls, resource): cls.current = resource
        def begin(): pass
    """,
}
Play = Callable[[str], ModuleType]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """Makes a library that can be imported, and imports it."""
    import textwrap

    assert not set(FRAMEWORKS) & set(sys.modules)
    for name, text in PLAYED.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module
    for name in PLAYED:
        sys.modules.pop(name, None)


@pytest.fixture
def caps() -> Iterator[MemoryCaps]:
    made = MemoryCaps()
    yield made
    made.close()


APPLIED: dict[str, tuple[Any, Any, Any]] = {
    # half, then a quarter, then all of the device
    "torch": (0.5, 0.25, 1.0),
    "cupy": (40 * 2**30, 20 * 2**30, 0),
    "tensorflow": ([40 * 1024], [20 * 1024], None),
}


@pytest.mark.parametrize("name", APPLIED)
def test_apply_limits_a_framework_that_is_imported_later(play: Play, caps: MemoryCaps, name: str) -> None:
    assert caps.apply(dict(HALF)) is None
    assert name not in sys.modules, "nothing is imported for it"
    library: Any = play(name)
    library.begin()
    assert library.told == [APPLIED[name][0]]
    assert type(library.__spec__.loader).__module__ == library.__loader__.__class__.__module__
    assert "caps" not in type(library.__loader__).__module__


@pytest.mark.parametrize("name", APPLIED)
def test_apply_limits_an_imported_framework_at_once(play: Play, caps: MemoryCaps, name: str) -> None:
    library: Any = play(name)
    for number, environ in enumerate((HALF, QUARTER, WHOLE)):
        assert caps.apply(dict(environ)) is None
        if name == "torch" and number == 0:
            assert library.told == [], "a device is not begun to be used for it"
            library.begin()
        assert library.told[-1] == APPLIED[name][number]


def test_apply_of_the_same_limit_calls_no_framework(play: Play, caps: MemoryCaps) -> None:
    library: Any = play("cupy")
    caps.apply(dict(HALF))
    caps.apply(dict(HALF))
    assert len(library.told) == 1


@pytest.mark.parametrize("name", ["tensorflow", "jax", "rmm"])
def test_apply_names_frameworks_that_need_a_restart(play: Play, caps: MemoryCaps, name: str) -> None:
    caps.apply(dict(HALF))
    library: Any = play(name)
    library.begin()
    said = caps.apply(dict(QUARTER))
    assert caps_module.DISPLAY_NAMES[name] in str(said)
    assert "restart the kernel" in str(said)


def test_apply_limits_all_allocations_of_rapids(play: Play, caps: MemoryCaps) -> None:
    caps.apply(dict(HALF))
    rmm: Any = play("rmm")
    assert rmm.told == [40 * 2**30]
    assert isinstance(rmm.mr.current, rmm.mr.LimitingResourceAdaptor)


def test_apply_survives_a_framework_with_another_interface(play: Play, caps: MemoryCaps) -> None:
    torch: Any = play("torch")
    del torch.cuda.is_initialized
    assert "PyTorch" in str(caps.apply(dict(HALF)))
    caps.close()
    sys.modules.pop("torch")
    again = MemoryCaps()
    again.apply(dict(HALF))
    assert play("torch").__name__ == "torch"
    again.close()


def test_import_hook_finds_nothing_by_itself(caps: MemoryCaps) -> None:
    caps.apply(dict(HALF))
    with pytest.raises(ModuleNotFoundError, match="torch"):
        importlib.import_module("torch")


@pytest.mark.parametrize(
    ("version", "before", "said"),
    [
        ("2.10.0+cu130", None, "per_process_memory_fraction:0.5"),
        ("2.11.1", "expandable_segments:True", "expandable_segments:True,per_process_memory_fraction:0.5"),
        ("2.9.1", None, None),
        ("odd", None, None),
        ("2.10.0", "per_process_memory_fraction:0.1", "per_process_memory_fraction:0.1"),
    ],
)
def test_apply_sets_the_variable_that_child_processes_with_pytorch_read(
    monkeypatch: pytest.MonkeyPatch, caps: MemoryCaps, version: str, before: str | None, said: str | None
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: version)
    environ = {**HALF, **({TORCH_VARIABLE: before} if before else {})}
    caps.apply(environ)
    assert environ.get(TORCH_VARIABLE) == said
    environ |= QUARTER
    caps.apply(environ)
    assert environ.get(TORCH_VARIABLE) == (said and said.replace("0.5", "0.25"))
    del environ[CAP_BYTES]
    environ |= WHOLE
    caps.apply(environ)
    assert environ.get(TORCH_VARIABLE) == before


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128"}, "max_split_size_mb:128,per_process_memory_fraction:0.5"),
        (
            {TORCH_VARIABLE: "backend:native", "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128"},
            "backend:native,per_process_memory_fraction:0.5",
        ),
        ({"PYTORCH_CUDA_ALLOC_CONF": "per_process_memory_fraction:0.1"}, None),
    ],
)
def test_apply_merges_what_the_user_set_for_pytorch_by_an_older_name(
    monkeypatch: pytest.MonkeyPatch, caps: MemoryCaps, own: dict[str, str], said: str | None
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.10.0")
    environ = {**HALF, **own}
    caps.apply(environ)
    assert environ.get(TORCH_VARIABLE) == said
    assert environ["PYTORCH_CUDA_ALLOC_CONF"] == own["PYTORCH_CUDA_ALLOC_CONF"]
    del environ[CAP_BYTES]
    caps.apply(environ)
    assert {name: environ.get(name) for name in own} == own
    assert environ.keys() - own.keys() == {CAP_FRACTION}


def test_variable_that_a_cell_sets_before_it_imports_pytorch_is_merged(
    monkeypatch: pytest.MonkeyPatch, play: Play, caps: MemoryCaps
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.10.0")
    environ = dict(HALF)
    caps.apply(environ)
    environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    play("torch")
    assert environ[TORCH_VARIABLE] == "expandable_segments:True,per_process_memory_fraction:0.5"


@pytest.mark.parametrize(
    ("jaxlib", "own", "said"),
    [
        ("0.4.31", {}, {OLD: "0.5"}),
        ("0.4.34", {}, {NEW: "0.5"}),
        ("0.10.2", {}, {NEW: "0.5"}),
        ("0.10.2", {OLD: "0.2"}, {NEW: "0.2"}),
        ("0.10.2", {NEW: ".9"}, {NEW: "0.5"}),
        ("0.10.2", {NEW: "x", OLD: "0.5"}, {NEW: "0.5"}),
        ("0.4.20", {NEW: "0.2"}, {OLD: "0.2"}),
        ("odd", {}, {OLD: "0.5"}),
    ],
)
def test_apply_sets_exactly_one_variable_of_jax_by_its_version(
    monkeypatch: pytest.MonkeyPatch, caps: MemoryCaps, jaxlib: str, own: dict[str, str], said: dict[str, str]
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: jaxlib)
    environ = {**HALF, OLD: HALF[CAP_FRACTION], **own}  # the pool sets the name that every version reads
    caps.apply(environ)
    assert {name: environ[name] for name in (NEW, OLD) if name in environ} == said
    # As the gate does when the lease becomes a whole device.
    for name in (CAP_BYTES, CAP_FRACTION):
        del environ[name]
    environ.pop(OLD, None)
    caps.apply(environ)
    kept = {name: value for name, value in own.items() if value != HALF[CAP_FRACTION] and name == NEW}
    assert {name: environ[name] for name in (NEW,) if name in environ} == kept


def test_gate_applies_limits_between_two_cells(tmp_path: Path, play: Play) -> None:
    library: Any = play("cupy")
    gate = make_gate(FakePool(), tmp_path / "token")
    gate.update_lease(active_view(environment={"CUDA_VISIBLE_DEVICES": "GPU-1", **HALF}))  # type: ignore[arg-type]
    assert library.told == []
    gate.apply_changes()
    assert library.told == [40 * 2**30]
    gate.update_lease(active_view(environment={"CUDA_VISIBLE_DEVICES": "GPU-1", **QUARTER}, version=3))  # type: ignore[arg-type]
    gate.apply_changes()
    assert library.told == [40 * 2**30, 20 * 2**30]
    gate.update_lease(active_view(state="ended", end_reason="released", version=4))  # type: ignore[arg-type]
    gate.apply_changes()
    assert library.told == [40 * 2**30, 20 * 2**30], "what has ended gives no right to more"
    assert gate.environment.memory_caps is not None
    gate.environment.memory_caps.close()


def test_gate_of_a_granted_start_with_a_limit_has_changes(tmp_path: Path) -> None:
    gate = make_gate(FakePool(), tmp_path / "token", "active", **HALF)
    assert gate.has_changes
    assert not make_gate(FakePool(), tmp_path / "token", "active").has_changes


def test_gate_notes_a_limit_message_once(tmp_path: Path) -> None:
    gate = make_gate(FakePool(), tmp_path / "token")
    over = {"limit_message": "It uses 45 GiB of its GPU, more than the 40 GiB that it has."}
    gate.update_lease(active_view(**over))  # type: ignore[arg-type]
    gate.update_lease(active_view(version=3, **over))  # type: ignore[arg-type]
    assert [note for note in gate.apply_changes() if "45 GiB" in note] == [f"FastGPU: {over['limit_message']}"]


@pytest.mark.parametrize("name", ["jax", "rmm"])
def test_apply_of_the_followed_limit_needs_no_restart(play: Play, caps: MemoryCaps, name: str) -> None:
    caps.apply(dict(HALF))
    library: Any = play(name)
    library.begin()
    caps.apply(dict(QUARTER))
    assert list(caps.needs_restart) == [caps_module.DISPLAY_NAMES[name]]
    assert caps.apply(dict(HALF)) is None
    assert list(caps.needs_restart) == []


def test_gate_prints_urgent_notes_in_the_running_cell_only(tmp_path: Path) -> None:
    gate, said = make_gate(FakePool(), tmp_path / "token"), list[str]()
    gate.notify_now = said.append
    gate.update_lease(active_view())  # type: ignore[arg-type]
    over = {"limit_message": "It was parked because it used 45 GiB of its GPU."}
    gate.update_lease(active_view(version=3, limit_message="It uses 45 GiB."))  # type: ignore[arg-type]
    assert (said, len(gate.apply_changes())) == ([], 1), "no cell runs: the next one says it"
    cell = gate.activity.begin()
    gate.update_lease(active_view(version=4, state="parked", **over))  # type: ignore[arg-type]
    assert said == [f"FastGPU: {over['limit_message']}"]
    gate.activity.end(cell)
    assert gate.apply_changes() == []
