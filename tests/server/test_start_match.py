"""Whether a start is compared with all that a start depends on, and what that costs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fastgpu_jupyter.kernel.observed import CLOCK_TICK_NS
from fastgpu_jupyter.server.start_match import (
    CONNECTION_FILE,
    Miss,
    MissReason,
    Start,
    difference,
    never_matches,
    start_of,
    without_launch_variables,
)
from fastgpu_jupyter.wire import variables
from fastgpu_jupyter.wire.observed import UNSETTLED, Observed
from fastgpu_jupyter.wire.schemas.observed import read_observed

ROOT = Path(__file__).parent.parent.parent
REPORT = """
import sys
from fastgpu_jupyter.kernel import observed
start = observed.begin()
import json
during = sys.argv[1]
if during:
    open(during, "a").write("#")
import edited
print(json.dumps(start.report()))
"""


class Environment(NamedTuple):
    """A virtual environment, an editable installation, and a notebook's folder."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "venv/bin/python"

    @property
    def site(self) -> Path:
        """Where distributions are installed."""
        return next(self.folder.glob("venv/lib/python*/site-packages"))

    def start(self, **environment: str) -> Start:
        """A launch of its kernel."""
        base = {"HOME": str(self.folder / "home"), "PATH": "/usr/bin", "PYTHONPATH": str(ROOT)}
        return Start("own", (str(self.python), "-m", "kernel", CONNECTION_FILE), {**base, **environment})

    def observed(self, during: str = "") -> Observed:
        """What a standby kernel of it reports; the file ``during`` is changed while it starts."""
        run = subprocess.run(
            [self.python, "-c", REPORT, during],
            env=self.start().environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found = read_observed(json.loads(run.stdout))
        assert found is not None
        return found


@pytest.fixture
def own(tmp_path: Path) -> Environment:
    """An environment whose files are older than any start in it."""
    environment = Environment(tmp_path)
    # What ``venv`` creates, without the time that it takes.
    site = tmp_path / f"venv/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    for folder in (site, tmp_path / "venv/bin", tmp_path / "home", tmp_path / "notes"):
        folder.mkdir(parents=True)
    base = Path(sys.base_prefix) / "bin"
    (tmp_path / "venv/pyvenv.cfg").write_text(f"home = {base}\n")
    environment.python.symlink_to(Path(os.path.realpath(sys.executable)))
    for name in ("foo-1.0.dist-info", "foo"):
        (site / name).mkdir()
    (site / "foo/__init__.py").touch()
    (tmp_path / "source").mkdir()
    (tmp_path / "source/edited.py").write_text("A = 1\n")
    (site / "_edited.pth").write_text(f"{tmp_path}/source\n")
    time.sleep(CLOCK_TICK_NS / 1e9)  # a start does not take them for files that change while it begins
    return environment


def test_the_same_start_is_the_same(own: Environment) -> None:
    """In any folder; changes that a start does not depend on are none."""
    ready, seen = own.start(), own.observed()
    assert difference(ready, seen, own.start(), str(own.folder / "notes")) is None
    assert never_matches(ready, seen) is None
    (own.folder / "source/other.txt").touch()
    (own.folder / "notes/queue.py").touch()  # the standard library goes first
    assert difference(ready, seen, own.start(), str(own.folder / "notes")) is None


def other_program(own: Environment) -> Path:
    """A link to a program that is not the interpreter."""
    link = own.folder / "other"
    link.symlink_to("/bin/true")
    return link


Change = Callable[[Environment], object]
#: What is done while a standby kernel waits, the reason, and the end of what the miss names.
CHANGES: dict[str, tuple[Change, MissReason, str]] = {
    "upgraded": (
        lambda own: (own.site / "foo-1.0.dist-info").rename(own.site / "foo-1.1.dist-info"),
        MissReason.DISTRIBUTIONS,
        "site-packages",
    ),
    "installed": (lambda own: (own.site / "bar-1.dist-info").mkdir(), MissReason.DISTRIBUTIONS, "site-packages"),
    "removed": (lambda own: shutil.rmtree(own.site / "foo-1.0.dist-info"), MissReason.DISTRIBUTIONS, "site-packages"),
    "pth": (lambda own: (own.site / "_edited.pth").write_text("/\n"), MissReason.DISTRIBUTIONS, "_edited.pth"),
    "edited": (lambda own: (own.folder / "source/edited.py").write_text("A = 2\n"), MissReason.MODULES, "edited.py"),
    "edited_back": (
        lambda own: os.utime(own.folder / "source/edited.py", (1, 1)),
        MissReason.MODULES,
        "edited.py",
    ),
    "shadowing": (lambda own: (own.folder / "source/sitecustomize.py").touch(), MissReason.MODULES, "source"),
    "other_python": (
        lambda own: other_program(own).replace(own.python),
        MissReason.INTERPRETER,
        "bin/python",
    ),
    "no_python": (lambda own: own.python.unlink(), MissReason.INTERPRETER, "bin/python"),
    "new_venv": (
        lambda own: (own.folder / "venv/pyvenv.cfg").write_text("home = /usr/bin\n"),
        MissReason.INTERPRETER,
        "pyvenv.cfg",
    ),
    "folder": (lambda own: (own.folder / "notes/edited.py").touch(), MissReason.FOLDER, "notes/edited.py"),
    "package": (lambda own: (own.folder / "notes/fastgpu_jupyter").mkdir(), MissReason.FOLDER, "fastgpu_jupyter"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_while_it_waits_is_a_miss(own: Environment, name: str) -> None:
    """Each with its reason."""
    seen = own.observed()
    change, reason, what = CHANGES[name]
    change(own)
    miss = difference(own.start(), seen, own.start(), str(own.folder / "notes"))
    assert miss is not None
    assert miss.reason == reason
    assert miss.what.endswith(what)


def test_what_changes_while_it_starts_is_a_miss(own: Environment) -> None:
    """It is not known which of the two it has read."""
    during = own.folder / "source/edited.py"
    seen = own.observed(str(during))
    assert seen["files"]["modules"][str(during)] == UNSETTLED
    assert difference(own.start(), seen, own.start(), "/") == Miss(MissReason.MODULES, str(during))


@pytest.mark.parametrize(
    "name",
    [
        *("PYTHONHASHSEED", "PYTHONPATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "PATH", "VIRTUAL_ENV", "CONDA_PREFIX"),
        *("LANG", "LC_ALL", "TZ", "MALLOC_ARENA_MAX", "PYTORCH_CUDA_ALLOC_CONF", "OMP_NUM_THREADS", "HOME", "OTHER"),
    ],
)
def test_each_variable_counts(own: Environment, name: str) -> None:
    """Set, changed and removed; the miss does not tell its value."""
    seen = nothing_but(own.python)
    with_it, other = own.start(**{name: "/bin"}), own.start(**{name: "/usr"})
    without = with_it._replace(
        environment={key: with_it.environment[key] for key in with_it.environment if key != name}
    )
    for ready, wanted in ((with_it, other), (with_it, without), (without, with_it)):
        assert difference(ready, seen, wanted, "/") == Miss(MissReason.ENVIRONMENT, name)


def test_the_command_and_the_modules_count(own: Environment) -> None:
    """Any other word is another start."""
    seen, ready = own.observed(), own.start()
    longer = ready._replace(command=(*ready.command, "--debug"))
    assert difference(ready, seen, longer, "/") == Miss(MissReason.COMMAND)
    assert difference(ready, seen, ready._replace(preload=("torch",)), "/") == Miss(MissReason.PRELOAD)


def test_a_program_before_the_interpreter_is_not_compared() -> None:
    """``env`` and ``conda run`` read files of their own: no standby kernel of theirs is used."""
    seen = nothing_but(Path(sys.executable))
    wrapped = Start("own", ("env", sys.executable, "-m", "kernel"), {"PATH": "/usr/bin:/bin"})
    assert never_matches(wrapped, seen) == Miss(MissReason.INTERPRETER, "env")


EMPTY: dict[str, Any] = {
    "pid": 1,
    "executable": [0, 0],
    "prefix": "",
    "sys_path": [],
    "files": {},
    "listed": {},
    "names": {},
    "modules": 0,
    "variables": [],
    "memory_bytes": 0,
}


def nothing_but(interpreter: Path) -> Observed:
    """The report of an interpreter that has read no file."""
    found = interpreter.stat()
    seen = read_observed({**EMPTY, "executable": [found.st_dev, found.st_ino]})
    assert seen is not None
    return seen


@pytest.mark.parametrize(
    ("name", "value"),
    [("PATH", ".:/bin"), ("PYTHONPATH", ":/lib"), ("LD_LIBRARY_PATH", "lib"), ("LD_PRELOAD", "./a.so")],
)
def test_a_path_that_depends_on_the_folder_is_a_miss(name: str, value: str) -> None:
    """A standby kernel starts in another folder; the empty path is the current one."""
    start = Start("own", (sys.executable, "-m", "kernel"), {name: value})
    assert never_matches(start, nothing_but(Path(sys.executable))) == Miss(MissReason.ENVIRONMENT, name)
    start = start._replace(environment={name: "", "LD_PRELOAD": "libjemalloc.so"})
    assert never_matches(start, nothing_but(Path(sys.executable))) is None


@pytest.mark.parametrize("report", [None, [], {}, {**EMPTY, "files": 1}, {**EMPTY, "listed": {"/": {}}}])
def test_a_report_that_is_not_understood_is_none(report: Any) -> None:
    """As of another version of the package."""
    assert read_observed(report) is None


def test_what_differs_from_launch_to_launch_is_left_out() -> None:
    """The variables of the lease and of the grant, and those that these replaced."""
    own = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "FASTGPU_OTHER": "en"}
    launch = {
        **own,
        "CUDA_VISIBLE_DEVICES": "GPU-1",
        "GRANTED": "1",
        variables.REPLACED: json.dumps({"CUDA_VISIBLE_DEVICES": "1", "GRANTED": None}),
        variables.HIDDEN: json.dumps({"CUDA_VISIBLE_DEVICES": ""}),
        variables.LEASE: "lease-1",
        variables.ANCESTOR_LEASES: "lease-0",
        "JPY_SESSION_NAME": "a.ipynb",
        "JPY_PARENT_PID": "7",
    }
    assert without_launch_variables(launch) == own
    start = start_of("own", ["python", "-f", "/run/kernel-1.json"], "/run/kernel-1.json", launch, ["torch"])
    assert start._replace(launch={}) == Start(
        "own", ("python", "-f", CONNECTION_FILE), own, ("torch",), {"CUDA_VISIBLE_DEVICES": ""}, {}
    )
    assert start.launch.items() == launch.items() - own.items()


def test_a_variable_that_a_module_has_read_counts() -> None:
    """Also one that differs from launch to launch: the module has kept what it was."""
    seen = nothing_but(Path(sys.executable))
    seen["variables"] = ["DEVICES", "JPY_SESSION_NAME", "LIMIT"]
    base = Start("own", (sys.executable,), {"DEVICES": "all"}, hidden={"DEVICES": ""})
    assert difference(base, seen, base, "/") is None
    assert difference(base, seen, base._replace(launch={"DEVICES": "", "OTHER": "1"}), "/") is None
    for name in ("DEVICES", "LIMIT"):
        launch = base._replace(launch={name: "1"})
        assert difference(base, seen, launch, "/") == Miss(MissReason.PRELOAD, name)
