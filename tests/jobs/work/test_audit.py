"""The audit of a job's process: each way to read something is recorded, and what is no input is not.

One process runs all programs, each under a watch of its own, because a hook stays for the life of its process.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fastgpu_jupyter.jobs.cache import not_cached
from fastgpu_jupyter.messages import render

ROOT = Path(__file__).parents[3]

RUNNER = """
import json, os, sys
from pathlib import Path
from fastgpu_jupyter.jobs.work.audit import watch

folder = Path.cwd()
os.environ["HOME"] = str(folder)
sys.path.insert(0, str(folder))
programs = json.load(sys.stdin)
answers = {}
for name, program in programs.items():
    log = folder / "audit.log"
    log.unlink(missing_ok=True)
    with watch([str(folder / "declared.csv"), str(folder / "declared"), str(folder / "known.py")],
               ignored=[str(folder / "job")], log=log if "log" in name else None) as opened:
        try:
            exec(compile(program, f"<{name}>", "exec"), {"PORT": int(sys.argv[1])})
        except Exception as error:
            answers[name] = [repr(error)]
            continue
        finally:
            records = opened.end()
    answers[name] = sorted(f"{one['why']} {os.path.relpath(one['path'], folder) if '/' in one['path'] else one['path']}"
                           for one in records)
open("undeclared.csv").close()  # after the watches
print(json.dumps(answers))
"""

#: Name -> program and what is recorded of it.
PROGRAMS: dict[str, tuple[str, list[str]]] = {
    "open": ("open('undeclared.csv').read()", ["read undeclared.csv"]),
    "open twice": ("open('undeclared.csv').read(); open('undeclared.csv').read()", ["read undeclared.csv"]),
    "os.open": ("import os; os.close(os.open('undeclared.csv', os.O_RDONLY))", ["read undeclared.csv"]),
    "pathlib": ("from pathlib import Path; Path('undeclared.csv').read_bytes()", ["read undeclared.csv"]),
    "link": ("import os; os.symlink('undeclared.csv', 'link'); open('link').read()", ["read undeclared.csv"]),
    "read and write": ("open('undeclared.csv', 'r+').close()", ["read undeclared.csv"]),
    "numpy": ("import numpy; numpy.load('array.npy')", ["read array.npy"]),
    "memory map": ("import numpy; numpy.load('array.npy', mmap_mode='r')", ["read array.npy"]),
    "database": ("import sqlite3; sqlite3.connect('base.db').close()", ["read base.db"]),
    "declared": ("open('declared.csv').read()", []),
    "declared folder": ("import os; open('declared/a.csv').read(); os.listdir('declared')", []),
    "missing": ("try:\n    open('missing.csv')\nexcept FileNotFoundError: pass", []),
    "written": ("open('new.csv', 'w').write('1'); open('new.csv').read()", []),
    "replaced": ("open('old.csv', 'w').write('1'); open('old.csv').read()", []),
    "appended": ("open('undeclared.csv', 'a').close()", []),
    "appended and read": ("open('old.log', 'a').close(); open('old.log').read()", ["read old.log"]),
    "written and renamed": ("import os; open('a', 'w').close(); os.rename('a', 'b'); open('b').read()", []),
    "temporary": (
        "import tempfile, os\nwith tempfile.TemporaryDirectory() as t:\n    open(t + '/x', 'w').close()\n"
        "    os.listdir(t); open(t + '/x').read()", []),
    "temporary file": ("import tempfile\nwith tempfile.NamedTemporaryFile('r+') as t:\n    open(t.name).read()", []),
    "new database": ("import sqlite3; c = sqlite3.connect('own.db'); c.close(); sqlite3.connect('own.db').close()", []),
    "job's folder": ("open('job/input').read()", []),
    "system": ("open('/proc/self/stat').read(); open('/etc/passwd').read(); open('/dev/null').read()", []),
    "library": ("import email.mime.text, wave, numpy.testing", []),
    "time zone": ("import zoneinfo; zoneinfo.ZoneInfo('Europe/Paris')", []),
    "listing": ("import os; os.listdir('.')", ["listed ."]),
    "glob": ("import glob; glob.glob('*.csv')", ["listed ."]),
    "walk": ("import os; list(os.walk('data'))", ["listed data"]),
    "known module": ("import known", []),
    "undeclared module": ("import importlib; importlib.import_module('strange')", ["imported strange.py"]),
    "undeclared module, compiled": (
        "import sys, importlib; sys.modules.pop('strange'); importlib.import_module('strange')", ["imported strange.py"]),
    "traceback": ("import traceback\ntry:\n    import known; known.fail()\nexcept ValueError: traceback.format_exc()", []),
    "network": ("import socket\nwith socket.create_connection(('127.0.0.1', PORT)): pass", ["connected 127.0.0.1:PORT"]),
    "program": ("import subprocess; subprocess.run(['true'])", ["started true"]),
    "shell": ("import os; os.system('true')", ["started true"]),
    "library that asks the system": ("import ctypes.util; ctypes.util.find_library('m')", []),
    "compiled library": (
        "import ctypes\ntry:\n    ctypes.CDLL('./lib.so')\nexcept OSError: pass", ["loaded lib.so"]),
    "fork": ("import os\npid = os.fork()\nif not pid: os._exit(0)\nos.waitpid(pid, 0)", ["unseen fork"]),
    "fork with a log": (
        "import os\npid = os.fork()\nif not pid:\n    open('undeclared.csv').read()\n    os._exit(0)\nos.waitpid(pid, 0)",
        ["read undeclared.csv"]),
    "thread": (
        "import threading\nt = threading.Thread(target=lambda: open('undeclared.csv').read())\nt.start(); t.join()",
        ["read undeclared.csv"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What was recorded of each program."""
    folder = tmp_path_factory.mktemp("audit")
    (folder / "declared").mkdir()
    (folder / "data").mkdir()
    (folder / "job").mkdir()
    for name in ("undeclared.csv", "declared.csv", "declared/a.csv", "old.csv", "old.log", "job/input", "lib.so"):
        (folder / name).write_text("1\n")
    (folder / "base.db").touch()
    (folder / "strange.py").write_text("x = 1\n")
    (folder / "known.py").write_text("def fail():\n    raise ValueError\n")
    make = f"import numpy; numpy.save({str(folder / 'array.npy')!r}, numpy.zeros(3))"
    subprocess.run([sys.executable, "-c", make], check=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", RUNNER, str(port)], input=json.dumps({name: one for name, (one, _) in PROGRAMS.items()}),
            capture_output=True, text=True, cwd=folder, check=False, env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return {name: [one.replace(str(port), "PORT") for one in records] for name, records in found.items()}


@pytest.mark.parametrize("name", PROGRAMS)
def test_audit_records_what_is_read_and_not_what_is_no_input(name: str, answers: dict[str, list[str]]) -> None:
    assert answers[name] == PROGRAMS[name][1]


def test_sentence_names_what_was_read() -> None:
    message = not_cached([{"path": "/data/x.csv", "why": "read"}])
    assert message is not None
    assert render(message) == "Result kept, but not cached, because it read undeclared /data/x.csv."
    both = not_cached([{"path": "/data/x.csv", "why": "read"}, {"path": "host:80", "why": "connected"}])
    assert both is not None
    assert "read undeclared /data/x.csv and used the network (host:80)" in render(both)
    many = not_cached([{"path": f"/data/{number}", "why": "read"} for number in range(9)])
    assert many is not None
    assert render(many).endswith("/data/4 and 4 more.")
    assert not_cached([]) is None
