"""The work process of calls: values, exceptions, and what is left of one call for the next."""

from __future__ import annotations

import importlib
import linecache
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastgpu_jupyter.jobs.work.seeding import SEED_VARIABLE
from tests.jobs.work_process import WorkProcess, work_process
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkProcess]:
    """One process for all tests that leave it usable."""
    with work_process(tmp_path_factory.mktemp("work")) as one:
        yield one


def of_main(source: str) -> dict[str, Any]:
    """What a notebook or script that contains ``source`` defines."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(textwrap.dedent(source), names)
    return names


def test_call_returns_its_value_and_what_it_printed_comes_before_the_end(process: WorkProcess) -> None:
    names = of_main("""
        import os
        SCALE = 3
        def helper(x): return x * SCALE
        def work(x, *, offset):
            print("from the call")
            return helper(x) + offset, os.getpid()
    """)
    ended = process.call(names["work"], np.arange(100_000), offset=1)
    value, pid = process.value(ended)
    assert value.tolist()[:3] == [1, 4, 7]
    assert pid == process.process.pid
    assert ended["keep"]
    assert "from the call\n" in process.output


def test_seed_makes_the_random_numbers_of_each_call_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw() -> tuple[float, float]:
        import random

        return random.random(), float(np.random.rand())

    monkeypatch.setenv(SEED_VARIABLE, "7")
    with work_process(tmp_path) as process:
        values = [process.value(process.call(draw)) for _ in range(2)]
    assert values[0] == values[1]


def test_exception_comes_with_the_traceback_of_the_users_frames_only(process: WorkProcess) -> None:
    names = of_main("""
        class Refused(ValueError): pass
        def work(): raise Refused("no such rate")
    """)
    ended = process.call(names["work"])
    exception, text = process.exception(ended)
    assert type(exception) is names["Refused"]  # the class of this process, not another one with its name
    assert str(exception) == "no such rate"
    assert ended["error"]["name"].endswith("Refused")
    assert text == "".join(ended["error"]["traceback"])
    assert text.count("File ") == 1


def test_traceback_shows_the_lines_of_a_cell_whose_file_only_the_notebook_has(process: WorkProcess) -> None:
    source, file = "def work():\n    raise ValueError('of a cell')\n", "/tmp/ipykernel_0/1234.py"
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), names)
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        _, text = process.exception(process.call(names["work"]))
    finally:
        del linecache.cache[file]
    assert "raise ValueError('of a cell')" in text


#: An exception that cannot be pickled.
ODD = """
import threading
class Odd(Exception):
    def __init__(self): self.lock = threading.Lock()
def work(): raise Odd()
"""


@pytest.mark.parametrize(
    ("source", "name", "says"),
    [
        ("def work(): return (i for i in range(3))", "UnpicklableResult", "cannot pickle"),
        ("import sys\ndef work(): sys.exit(3)", "SystemExit", "3"),
        (ODD, "Odd", "cannot be sent between processes"),
    ],
)
def test_call_fails_with_an_exception_that_can_be_read(process: WorkProcess, source: str, name: str, says: str) -> None:
    ended = process.call(of_main(source)["work"])
    exception, _ = process.exception(ended)
    assert ended["error"]["name"].endswith(name)
    assert says in str(exception)
    assert ended["keep"]


def test_damaged_call_file_is_not_opened(process: WorkProcess, tmp_path: Path) -> None:
    path = tmp_path / "call"
    path.write_bytes(b"cposix\nsystem\n(S'touch opened'\ntR.")
    process.send(path, "0" * 64)
    ended = process.end_of_call()
    assert ended["error"]["name"].endswith("DamagedCall")
    assert not (process.folder / "opened").exists()


def test_next_call_finds_folder_variables_and_path_as_at_the_start(process: WorkProcess, tmp_path: Path) -> None:
    names = of_main("""
        import os, sys
        def spoil(folder):
            os.chdir(folder); os.environ["SPOILT"] = "1"; os.environ.pop("PATH"); sys.path.insert(0, folder)
        def look():
            seen = os.environ.get("SPOILT"), "PATH" in os.environ
            return os.getcwd(), *seen, sys.path[0], os.environ["FASTGPU_JOB"]
    """)
    before = process.value(process.call(names["look"]))
    process.call(names["spoil"], str(tmp_path))
    after = process.value(process.call(names["look"]))
    assert after[:4] == before[:4]
    assert before[4] != after[4]  # the job


def test_local_module_travels_by_value_and_its_edited_file_is_imported_again(
    process: WorkProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "local_rates.py"
    module.write_text("RATE = 1\ndef rate(): return RATE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    imported = importlib.import_module("local_rates")
    names = of_main("def late():\n import local_rates\n return local_rates.RATE")
    try:
        assert process.value(process.call(names["late"])) == 1
        module.write_text("RATE = 22\ndef rate(): return RATE\n")
        assert process.value(process.call(imported.rate)) == 1  # as it is in this process
        assert process.value(process.call(names["late"])) == 22
    finally:
        sys.modules.pop("local_rates", None)


def test_interrupt_ends_the_call_and_the_process_is_not_kept(tmp_path: Path) -> None:
    names = of_main("""
        import pathlib, time
        def work(path):
            pathlib.Path(path).touch()
            time.sleep(60)
    """)
    with work_process(tmp_path) as process:
        process.begin(names["work"], str(tmp_path / "began"))
        wait_until((tmp_path / "began").exists, "the call runs")
        process.interrupt()
        ended = process.end_of_call()
        assert ended["error"]["name"] == "KeyboardInterrupt"
        assert not ended["keep"]
        assert process.process.wait(30) == 0


def test_call_that_leaves_a_child_process_is_not_kept(tmp_path: Path) -> None:
    names = of_main("""
        import subprocess
        def work(): return subprocess.Popen(["sleep", "60"]).pid
    """)
    with work_process(tmp_path) as process:
        ended = process.call(names["work"])
        os.kill(process.value(ended), 9)
        assert not ended["keep"]
        assert process.process.wait(30) == 0


def test_cached_call_is_watched_and_its_process_not_kept(tmp_path: Path) -> None:
    names = of_main("""
        import fastgpu_jupyter, pathlib
        def work(*paths):
            fastgpu_jupyter.progress(1, 2)
            return [pathlib.Path(path).read_text() for path in paths]
    """)
    files = [tmp_path / "declared.txt", tmp_path / "undeclared.txt"]
    for file in files:
        file.write_text("1")
    own = tmp_path / "own"
    own.mkdir()
    with work_process(own) as process:
        process.declared = [str(files[0])]
        ended = process.call(names["work"], *map(str, files))
    assert process.value(ended) == ["1", "1"]
    assert ended["opened"] == [{"path": str(files[1]), "why": "read"}]
    assert not ended["keep"]


def test_process_ends_with_its_runner_also_while_a_call_has_threads(tmp_path: Path) -> None:
    names = of_main("""
        import threading, time
        def work(): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    """)
    with work_process(tmp_path) as process:
        assert process.call(names["work"])["keep"]
        assert process.close() == 0
