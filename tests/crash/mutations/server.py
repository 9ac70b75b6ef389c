"""Plugin of pytest that runs mutations instead of tests, each in a child that is forked from this process.

It reads the name of a mutation from each line of standard input and answers with one line of JSON, the failures. This
process has one thread and imports the package and the tests unedited. A child applies the edits of its mutation, runs
the test or the simulator, reports the failures through a pipe, and ends; nothing of the edits is left. Where a test
starts processes itself, the child also puts an edited copy of the package before the original on their search path.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import logging
import os
import pkgutil
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crash.mutations.edits import apply, edited_sources, read_source, source_path
from tests.crash.mutations.model import ROOT, Fails, Failure, Mutation, Violates
from tests.crash.mutations.runner import PLUGINS

PACKAGE = "fastgpu_jupyter"
#: How long a child may take on a busy machine.
TIMEOUT_S = 240


def pytest_cmdline_main(config: pytest.Config) -> int:
    """Serve until standard input ends, in place of collecting tests."""
    from tests.crash.mutations.catalogue import MUTATIONS  # once assertions are rewritten in what it imports

    _import_package()
    for mutation in MUTATIONS:
        for edit in mutation.edits:
            read_source(source_path(edit))  # which is what was imported, also when the file changes later
    mutations = {mutation.name: mutation for mutation in MUTATIONS}
    replies = os.dup(sys.stdout.fileno())
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 (what a child prints is no reply)
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    with tempfile.TemporaryDirectory(prefix="fastgpu-mutations-") as folder, os.fdopen(replies, "w") as answers:
        for number, line in enumerate(sys.stdin):
            failures, cpu_s = _fork(mutations[json.loads(line)], Path(folder) / str(number))
            answers.write(json.dumps({"failures": failures, "cpu_s": cpu_s}) + "\n")
            answers.flush()
    return 0


def _import_package() -> None:
    """Import what tests import late, so that it is imported once for all children."""
    for name in ("core", "pool", "wire"):
        package = importlib.import_module(f"{PACKAGE}.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    importlib.import_module("tests.sim.simulation")


def _fork(mutation: Mutation, folder: Path) -> tuple[list[Any], float]:
    """Run ``mutation`` in a child; return its failures as lists, and the processor time that it took."""
    folder.mkdir()
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        os.close(readable)
        os.setpgid(0, 0)
        _report(writable, lambda: _failures(mutation, folder))
    os.close(writable)
    content = bytearray()
    deadline_s = time.monotonic() + TIMEOUT_S
    with os.fdopen(readable, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
            if not (read := pipe.read(65536)):
                break
            content += read
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    usage = os.wait4(child, 0)[2]
    shutil.rmtree(folder, ignore_errors=True)
    late = Failure("", "", ("TimeoutError",), f"no end within {TIMEOUT_S} s")
    failures = list(json.loads(content)) if content else [dataclasses.astuple(late)]
    return failures, usage.ru_utime + usage.ru_stime


def _report(writable: int, run: Callable[[], list[Failure]]) -> None:
    """Write what ``run`` returns, and end this process without any of the parent's exit handlers."""
    try:
        failures = run()
    except BaseException as error:  # noqa: BLE001 (it has to be reported, whatever it is)
        failures = [Failure("", "", _errors(error), "".join(traceback.format_exception(error)))]
    with os.fdopen(writable, "wb") as pipe:
        pipe.write(json.dumps([dataclasses.astuple(failure) for failure in failures]).encode())
    os._exit(0)


def _failures(mutation: Mutation, folder: Path) -> list[Failure]:
    """Apply the mutation to this process and run what must reveal it."""
    if mutation.in_processes:
        _write_package(mutation, folder / "edited")
        os.chdir(folder / "edited")
        os.environ["PYTHONPATH"] = str(folder / "edited")
    apply(mutation.edits)
    logged: list[Failure] = []
    _watch_log(logged)
    expected = mutation.expected
    found = _simulate(expected) if isinstance(expected, Violates) else _test(expected, folder)
    return [*logged, *found]


def _write_package(mutation: Mutation, folder: Path) -> None:
    """Write a copy of the package with the edits into ``folder``, beside the tests as they are."""
    folder.mkdir()
    shutil.copytree(ROOT / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("labextension"))
    for path, source in edited_sources(mutation.edits).items():
        (folder / path.relative_to(ROOT)).write_text(source, encoding="utf-8")
    (folder / "tests").symlink_to(ROOT / "tests")


def _simulate(expected: Violates) -> list[Failure]:
    """Run simulations until one reports the expected violation."""
    from tests.sim.simulation import simulate

    found: list[Failure] = []
    for seed in range(expected.first, expected.first + expected.seeds):
        try:
            simulate(seed, expected.steps)
        except Exception as error:  # noqa: BLE001 (the judge looks at its type)
            found.append(Failure(f"seed {seed}", "call", _errors(error), str(error)))
            if expected.is_met_by(found[-1]) or found[-1].is_programming_error:
                break
    return found


def _test(expected: Fails, folder: Path) -> list[Failure]:
    """Run the test that must fail."""
    reports = _Reports()
    code = pytest.main(
        [
            "-q", "-p", "no:cacheprovider", "-o", "addopts=", "--import-mode=importlib", "--hypothesis-seed=0",
            "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), f"--basetemp={folder / 'tests'}",
            str(ROOT / expected.node_id),
        ],
        plugins=[reports, *(importlib.import_module(name) for name in PLUGINS)],
    )  # fmt: skip
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        reports.found.append(Failure(expected.node_id, "", ("UsageError",), f"pytest ended with {code!r}"))
    return reports.found


class _Reports:
    """Plugin of pytest that collects failures with the types of their exceptions."""

    def __init__(self) -> None:
        self.found: list[Failure] = []

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        if call.excinfo is None:
            return
        error, skipped = call.excinfo.value, isinstance(call.excinfo.value, pytest.skip.Exception)
        self.found.append(Failure(item.nodeid, "skip" if skipped else call.when, _errors(error), str(error)))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.found.append(Failure(report.nodeid, "collect", ("CollectError",), str(report.longrepr)))


def _errors(error: BaseException) -> tuple[str, ...]:
    """Return the names of the types of ``error``, of its causes, and of what it holds where it is a group."""
    names: list[str] = []
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        one = todo.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        names.append(type(one).__name__)
        todo += [one.__cause__, None if one.__suppress_context__ else one.__context__]
        todo += getattr(one, "exceptions", ())
    return tuple(names)


def _watch_log(logged: list[Failure]) -> None:
    """Add to ``logged`` every programming error that the package reports in its log instead of raising it."""

    def watched(log: Callable[..., None]) -> Callable[..., None]:
        def wrapper(self: logging.Logger, message: object, *args: object, **options: Any) -> None:
            error = options.get("exc_info")
            error = sys.exception() if error is True else error
            errors = _errors(error) if isinstance(error, BaseException) else ("",)
            failure = Failure(f"log of {self.name}", "", errors, str(message))
            if self.name.startswith("fastgpu") and failure.is_programming_error:
                logged.append(failure)
            log(self, message, *args, **options)

        return wrapper

    for name in ("warning", "error", "exception", "critical"):
        setattr(logging.Logger, name, watched(getattr(logging.Logger, name)))
