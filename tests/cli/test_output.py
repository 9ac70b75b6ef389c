"""What the command line prints: hostile names, other encodings, and readers that leave."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.cli import output
from fastgpu_jupyter.cli.command import table
from fastgpu_jupyter.cli.output import StatusLine
from fastgpu_jupyter.text import printable, shortened
from fastgpu_jupyter.wire.client import new_token
from tests.conftest import isolate
from tests.helpers import PoolProcess, fastgpu
from tests.waiting import DEADLINE_S

ROOT = Path(__file__).resolve().parents[2]

#: Names that clear a screen, forge a row, become a formula, reverse what follows, or are not in an encoding.
HOSTILE = [
    "\x1b]0;owned\x07\x1b[2Jclear.ipynb",
    "a\nSIM-0  forged row.ipynb",
    '=HYPERLINK("http://x").ipynb',
    'tab\there,comma"quote.ipynb',
    "\u202egnp.ipynb",
    "half\ud800.ipynb",
    "größe €.ipynb",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_printable_escapes_what_a_terminal_obeys_and_keeps_letters(name: str) -> None:
    shown = printable(name)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert shown.endswith(".ipynb")
    assert ("größe" in shown) == ("größe" in name)


def test_shortened_keeps_the_end() -> None:
    assert shortened("sub/run.ipynb", 13) == "sub/run.ipynb"
    assert shortened("sub/run.ipynb", 12) == "…b/run.ipynb"


@pytest.mark.parametrize("name", HOSTILE)
def test_table_has_one_line_for_each_row(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.write(*table(("LEASE", "NOTEBOOK"), [("a", name), ("b", "b.ipynb")], "Leases: none."))
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\uff1d"])
def test_csv_cell_of_a_name_is_no_formula(begin: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.write_csv([[f"{begin}1+1", "a", 5, -5, None]])
    assert next(csv.reader(io.StringIO(capsys.readouterr().out))) == [f"'{begin}1+1", "a", "5", "-5", ""]


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_of_a_hostile_name_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.write_csv([[name, 1], ["b", 2]])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


# -- the commands, with a pool whose leases have hostile names --------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolProcess]:
    """A pool with a lease for each hostile name."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        isolate(folder, patch)
        pool = PoolProcess(folder, "1xA100-80GB")
        pool.start()
        try:
            for name in HOSTILE:
                if "\ud800" not in name:  # half a character is refused
                    lease = pool.client.request("eighth", notebook=name, token=new_token())
                    pool.wait_state(lease["id"], "active")
            pool.client.request("full", notebook=HOSTILE[0], token=new_token())
            yield pool
        finally:
            pool.end()


COMMANDS = [("status",), ("queue",), ("statement",), ("statement", "--csv"), ("statement", "--json")]


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_prints_hostile_names_escaped(hostile: PoolProcess, words: tuple[str, ...]) -> None:
    done = fastgpu(*words)
    assert done.returncode == 0, done.stderr
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert "\nSIM-0  forged" not in done.stdout
    if words != ("queue",):
        assert "\\x1b" in done.stdout or "\\u001b" in done.stdout
    if "--csv" in words:
        notebooks = [row["notebook"] for row in csv.DictReader(io.StringIO(done.stdout))]
        assert any(one.startswith("'=HYPERLINK") for one in notebooks)


def run(*words: str, stdout: Any = subprocess.PIPE, **env: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "fastgpu_jupyter", *words]
    environment = {**os.environ, **env}
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, env=environment, timeout=DEADLINE_S, check=False
    )


@pytest.mark.slow
def test_devices_command_prints_a_line_for_each_device(hostile: PoolProcess) -> None:
    lines = fastgpu("devices").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["DEVICE", "SIM-0-A100-80GB"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["latin-1", "ascii", "C"],
)
def test_command_survives_an_encoding_without_its_letters(hostile: PoolProcess, env: dict[str, str]) -> None:
    done = run("status", **env)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u20ac" in done.stdout  # the currency sign that no legacy encoding has


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("status",), ("statement", "--csv"), ("--help-all",), ("pool", "--help"), ("nothing",)], ids=" ".join
)
def test_command_whose_reader_left_ends_without_a_word(hostile: PoolProcess, words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(*words, stdout=writer)
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode == output.READER_GONE


@pytest.mark.slow
def test_pool_manager_in_a_legacy_locale_logs_any_name(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}.items():
        monkeypatch.setenv(name, value)
    pool = PoolProcess(isolated, "1xA100-80GB")
    pool.start()
    try:
        pool.client.set_tenant("größe", {"weight": 5})
        pool.client.request("half", notebook="größe €.ipynb", token=new_token())
    finally:
        pool.end()
    assert "Traceback" not in (isolated / "pool.out").read_text(errors="replace")


def test_table_of_wide_letters_is_aligned_and_says_what_there_is_none_of() -> None:
    head, row, other = table(("租约", "状态"), [("a", "使用中"), ("bcdef", "ended")], "没有租约。")
    assert (head, row, other) == ("租约   状态", "a      使用中", "bcdef  ended")
    assert table(("租约",), [], "没有租约。") == ["没有租约。"]


def test_can_show_asks_for_the_encoding() -> None:
    assert output.can_show("utf-8", "中")
    assert not output.can_show("ascii", "中")
    assert not output.can_show("no such encoding", "中")


@pytest.mark.slow
def test_commands_speak_chinese_in_a_chinese_locale(isolated: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT), "LANG": "zh_CN.UTF-8"}
    command = [sys.executable, "-m", "fastgpu_jupyter", "park"]
    environment = {name: value for name, value in environment.items() if name not in ("LC_ALL", "LANGUAGE")}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, encoding="utf-8")
    assert said.stderr == "jupyter fastgpu: 请指明租约；`jupyter fastgpu status` 可列出租约。\n"
    environment["FASTGPU_LANGUAGE"] = "en"
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert said.stderr == "jupyter fastgpu: Name a lease; `jupyter fastgpu status` lists them.\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_status_line_is_drawn_in_place_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    line = StatusLine("run")
    line.show("Waiting: position 3 in the queue, behind others", "Waited 5 s.")
    line.show("Waiting: position 2", "Waited 6 s.")
    line.say("Granted.")
    drawn = terminal.getvalue().split("\r\x1b[K")
    assert drawn[1:] == [
        "run: Waiting: position 3 i… Waited 5 s.",
        "run: Waiting: position 2 Waited 6 s.",
        "run: Granted.\n",
    ]
    assert len(drawn[1]) == 39


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_status_line_elsewhere_has_a_line_for_each_change(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    log = _Terminal() if term == "dumb" else io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    monkeypatch.setenv("TERM", term)
    line = StatusLine("run")
    for second in range(3):
        line.show("Waiting: position 2\x1b[2J", f"Waited {second} s.")
    line.show("Waiting: position 1", "Waited 4 s.")
    line.clear()
    assert log.getvalue() == "run: Waiting: position 2\\x1b[2J\nrun: Waiting: position 1\n"
