"""Which package may import which, how long a module may be, and what no committed file may contain.

The imports are read from the syntax tree of every module, late imports included. Each rule is also run on a small tree
that breaks it, which shows that the rule can fail.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "fastgpu_jupyter"
LINES_MAX = 800

#: Package -> the packages that it may import beside itself. An import that is not listed is not allowed.
MAY_IMPORT: Mapping[str, AbstractSet[str]] = {
    "errors": set(),
    "text": set(),
    "units": {"errors"},
    "messages": {"errors", "text", "units"},
    "core": {"errors", "units"},
    "compat": set(),
    "wire": {"errors", "units", "core", ""},
    "pool": {"errors", "units", "text", "messages", "core", "wire", ""},
    "jobs": {"errors", "units", "text", "messages", "wire", "compat", ""},
    "server": {"errors", "units", "text", "messages", "wire", "compat", "jobs", ""},
    "kernel": {"errors", "units", "text", "messages", "wire", "compat", "jobs", ""},
    "kernelspec": {"errors", "units", "core", "wire", ""},
    "cli": {"errors", "units", "text", "messages", "core", "wire", "pool", "jobs", "kernelspec", ""},
    # The package itself has only the functions that Jupyter looks for; each imports its package when it is called.
    "": {"server", "kernel", "jobs"},
    "__main__": {"cli"},
}
#: The same inside ``core``: each layer may import the layers below it, and never upwards.
CORE_MAY_IMPORT: Mapping[str, AbstractSet[str]] = {
    "model": set(),
    "placement": {"model"},
    "accounting": {"model", "placement"},
    "scheduling": {"model", "placement", "accounting"},
    "lease": {"model", "placement", "accounting"},
    "sizing": {"model", "placement", "accounting", "scheduling", "lease"},
    "decide": {"model", "placement", "accounting", "lease"},
    "apply": {"model", "placement", "accounting", "lease"},
    "pool": {"model", "placement", "accounting", "scheduling", "lease", "decide", "apply"},
}
#: The same inside ``pool``: ``loop`` knows no driver, effect, monitor or HTTP module; ``composition`` wires them.
POOL_MAY_IMPORT: Mapping[str, AbstractSet[str]] = {
    "host": set(),
    "journal": set(),
    "logging": set(),
    "supervisor": set(),
    "protocols": {"host", "journal"},
    "notifications": {"protocols"},
    "devices": {"host"},
    "config_source": set(),
    "rates": {"config_source", "devices"},
    "loop": {"journal", "protocols", "supervisor"},
    "doctor": {"devices", "host"},
    "effects": {"devices", "host", "protocols"},
    "standby_budget": set(),
    "monitors": {"devices", "host", "protocols", "standby_budget", "supervisor"},
    "identity": {"host"},
    "http": {
        "clusters", "devices", "host", "identity", "journal", "monitors", "protocols", "standby_budget", "supervisor",
    },
    "idle_settings": set(),
    "settings": {"devices", "effects", "host", "http", "idle_settings", "monitors"},
    "clusters": {"devices", "host", "monitors", "notifications", "protocols", "supervisor"},
    "cluster_settings": {"clusters"},
    "composition": {
        "clusters", "devices", "effects", "host", "http", "identity", "journal", "loop", "monitors", "notifications",
        "protocols", "supervisor",
    },
    "carry_over": {"host", "journal", "loop"},
    "shutdown": {"host", "http"},
    "app": {
        "carry_over", "cluster_settings", "clusters", "composition", "config_source", "devices", "effects",
        "host", "http", "identity", "idle_settings", "journal", "logging", "loop", "monitors", "notifications",
        "protocols", "rates", "settings", "shutdown", "supervisor",
    },
}  # fmt: skip
#: Part of the package -> its table of allowed imports.
LAYERS: Mapping[str, Mapping[str, AbstractSet[str]]] = {
    "": MAY_IMPORT,
    "core": CORE_MAY_IMPORT,
    "pool": POOL_MAY_IMPORT,
}

#: Modules that every part but ``compat`` may import: they import nothing of the package.
FOR_ALL = {f"{PACKAGE}.core.model.lifecycle"}

#: The modules of the standard library that ``core`` may import: none reads a clock, draws a number or does I/O.
CORE_STDLIB = {
    "__future__", "abc", "bisect", "collections", "dataclasses", "decimal", "enum", "fractions", "functools", "heapq",
    "itertools", "math", "operator", "re", "string", "types", "typing",
}  # fmt: skip

#: Third-party module -> the path prefixes of the modules that may import it.
ONLY_IN = {
    "pynvml": {"pool/devices/nvidia/"},
    "sqlite3": {"pool/", "jobs/"},
    "msgspec": {"wire/", "pool/", "jobs/"},
    "cloudpickle": {"jobs/"},
    "nbclient": {"jobs/"},
}

#: The part of ``wire`` that may import msgspec. The kernel imports the rest.
WIRE_WITH_MSGSPEC = ("wire/schemas/", "wire/interfaces/", "wire/openapi.py", "wire/kept_kernels.py")


#: Packages that import jobs only where they are used: no start of a kernel, a server or a command waits for them.
JOBS_WHEN_USED = ("server", "kernel", "cli", "")
#: Their modules that are about jobs, and are imported by others only where they are used, too.
ABOUT_JOBS = frozenset(f"{PACKAGE}.{name}" for name in ("kernel.job_verbs", "kernel.comparison", "cli.jobs"))


class Import(NamedTuple):
    """One import in a module."""

    line: int
    module: str  #: absolute, e.g. "fastgpu_jupyter.core.pool"
    at_start: bool = False  #: it runs when the module is imported


def imports_of(path: Path, package_root: Path) -> Iterator[Import]:
    """Yield every import of a module, made absolute, at any place in the module."""
    inside = path.relative_to(package_root.parent).with_suffix("").parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top_level = set(map(id, tree.body))
    for node in ast.walk(tree):
        at_start = id(node) in top_level
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, at_start) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(inside[: -node.level]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module in (PACKAGE, *(f"{PACKAGE}.{part}" for part in LAYERS)):  # the names may be subpackages
                yield from (Import(node.lineno, f"{module}.{alias.name}", at_start) for alias in node.names)
            else:
                yield Import(node.lineno, module, at_start)


def layer_of(module: str, part: str = "") -> str | None:
    """Return the layer of a dotted name within ``part`` of the package; "" for the package itself, None outside."""
    parts = module.split(".")[1:]
    if part:
        if parts[:1] != [part]:
            return None
        parts = parts[1:]
    known = LAYERS[part]
    return parts[0] if parts and parts[0] in known else ""


def broken_rules(package_root: Path) -> list[str]:
    """Return each import that is not allowed, as ``path:line: why``."""
    found = []
    for path in sorted(package_root.rglob("*.py")):
        inside = path.relative_to(package_root).as_posix()
        parts = path.relative_to(package_root.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        for line, module, at_start in imports_of(path, package_root):
            why = _objection(inside, name, module)
            about_jobs = layer_of(module) == "jobs" or module in ABOUT_JOBS
            if not why and at_start and about_jobs and layer_of(name) in JOBS_WHEN_USED and name not in ABOUT_JOBS:
                why = f"{inside} must import jobs where they are used"
            if why:
                found.append(f"{inside}:{line}: {why}")
    return found


def _objection(inside: str, name: str, module: str) -> str | None:
    top = module.partition(".")[0]
    package = layer_of(name) or ""
    if top == PACKAGE:
        if module.startswith(VENDOR_MODULE) and not inside.startswith((VENDOR_PACKAGE, REGISTRY)):
            return f"{inside} must not import a device driver: {REGISTRY} does"
        if module in FOR_ALL and package not in ("compat", "errors", "units"):
            return None
        return next(filter(None, (_wrong_direction(name, module, part) for part in LAYERS)), None)
    if package in ("core", "errors", "units") and top not in CORE_STDLIB:
        return f"{package} must not import {top}"
    if top in ONLY_IN and not any(inside.startswith(allowed) for allowed in ONLY_IN[top]):
        return f"{inside} must not import {top}"
    if top == "msgspec" and package == "wire" and not inside.startswith(WIRE_WITH_MSGSPEC):
        return "the client's side of wire must not import msgspec: the kernel imports it"
    return None


def _wrong_direction(name: str, module: str, part: str) -> str | None:
    """Return why a module of one layer of ``part`` must not import a module of another; None where it may."""
    source, target = layer_of(name, part), layer_of(module, part)
    if source is None or target is None or source == target:
        return None
    prefix = f"{part}/" if part else ""
    if part and (not source or not target):
        return None if not source else f"{prefix}{source} must import the module that it needs, not {part}"
    if target in LAYERS[part][source]:
        return None
    return f"{prefix}{source or 'the package'} must not import {prefix}{target or 'the package'}"


#: The package of a vendor's driver, and the only module that may import it.
VENDOR_PACKAGE = "pool/devices/nvidia/"
VENDOR_MODULE = f"{PACKAGE}.pool.devices.nvidia"
REGISTRY = "pool/devices/registry.py"
#: Words of a GPU vendor that only the vendor's driver may use, as a part of an identifier or in a string or comment.
VENDOR_WORDS = frozenset(
    {"cuda", "ecc", "libcuda", "libnvidia", "nvidia", "nvml", "pynvml", "smi", "volta", "xid", "xids"}
)
#: Path prefix -> the text of a line in which such a word may occur elsewhere, and why.
VENDOR_WORDS_ALLOWED: Mapping[str, str] = {
    # The one line by which a driver is registered, with its import.
    REGISTRY: r"^from \.nvidia\.registration import NVIDIA$|^DRIVERS\b.* = \((\w+, ?)*NVIDIA,.*\)$",
    # It carries what it needs of a driver to another host.
    "pool/clusters/agent/": "",
    # The sentences of the drivers.
    "messages/en_drivers.py": "",
    "messages/zh_CN_drivers.py": "",
    # The public API of PyTorch, and the library that it loads, have the word in their names.
    "kernel/memory_caps.py": r"torch\.cuda\.|cuda_initializes|initialize CUDA",
    "kernel/framework_memory.py": r"torch\.cuda\.",
    "kernel/memory_peaks.py": r"torch\.cuda\.",
    # What a program in an engine's job sees of its devices.
    "pool/clusters/bootstrap.py": r"CUDA_VISIBLE_DEVICES|CUDA_DEVICE_ORDER",
    # The names of the errors of libraries.
    "kernel/out_of_memory.py": r"CUDARuntimeError|cudaErrorMemoryAllocation|CudaAPIError|CUDA_ERROR_OUT_OF_MEMORY",
    # A folder of libraries, which are no input of a job.
    "jobs/work/audit.py": r'"/usr/local/cuda"',
    "compat/torch.py": r"torch\.cuda\.|cuda_initializes|initializes? CUDA|/libcuda\.so",
}
#: A part of an identifier in snake or camel case.
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
#: A text that the browser shows.
_SHOWN = re.compile(r"trans\.(?:__|_n|_p)\(((?:[^()]|\([^()]*\))*)\)")


def vendor_words(package_root: Path) -> list[str]:
    """Return each use of a vendor's word outside its driver, as ``path:line: word: text``."""
    found = []
    for path in sorted(package_root.rglob("*.py")):
        inside = path.relative_to(package_root).as_posix()
        if inside.startswith(VENDOR_PACKAGE):
            continue
        allowed = [re.compile(text) for prefix, text in VENDOR_WORDS_ALLOWED.items() if inside.startswith(prefix)]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            words = VENDOR_WORDS.intersection(part.lower() for part in _PART.findall(line))
            if words and not any(pattern.search(line) for pattern in allowed):
                found.append(f"{inside}:{number}: {', '.join(sorted(words))}: {line.strip()}")
    return found


def shown_vendor_words(text: str) -> list[str]:
    """Return the texts of a TypeScript source that the browser shows and that have a vendor's word."""
    shown = (match[1] for match in _SHOWN.finditer(text))
    return [one for one in shown if VENDOR_WORDS.intersection(part.lower() for part in _PART.findall(one))]


def too_long(package_root: Path) -> list[str]:
    """Return the modules with more lines than the hard limit."""
    sizes = ((path, len(path.read_text(encoding="utf-8").splitlines())) for path in package_root.rglob("*.py"))
    return [f"{path.relative_to(package_root)}: {lines} lines" for path, lines in sizes if lines > LINES_MAX]


#: Text that must not be committed, and what it is. A bracket in each pattern keeps this file from matching it.
FORBIDDEN = {
    r"npm[j]s\.(org|com)|yarn[p]kg\.com|python[h]osted|pypi[.]org": "the host of a registry",
    r"(?<![\w./-])/(work|tmp/(venv|contract))\b": "a path of one machine",
    r"\b(Claud[e]|Anthropi[c]|ChatGP[T]|Copilo[t])\b": "a tool, where the text is about the project",
}


def forbidden_text(root: Path, names: list[str]) -> list[str]:
    """Return committed text that is about something other than the project, as ``path:line: what``."""
    found = []
    for name in names:
        try:
            text = (root / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        for pattern, what in FORBIDDEN.items():
            found += [
                f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r} is {what}"
                for match in re.finditer(pattern, text)
            ]
    return found


@pytest.mark.slow
def test_imports_of_the_package_go_in_the_allowed_directions() -> None:
    assert broken_rules(ROOT / PACKAGE) == []


def test_vendor_words_occur_only_in_the_vendors_driver() -> None:
    assert vendor_words(ROOT / PACKAGE) == []


def test_vendor_words_occur_in_no_text_of_the_browser() -> None:
    sources = [path for path in (ROOT / "labextension/src").rglob("*.ts*") if "generated" not in path.parts]
    assert sources
    assert {path.name: found for path in sources if (found := shown_vendor_words(path.read_text("utf-8")))} == {}


def test_modules_of_the_package_are_shorter_than_the_limit() -> None:
    assert too_long(ROOT / PACKAGE) == []


@pytest.mark.slow
def test_committed_files_contain_no_forbidden_text() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert forbidden_text(ROOT, [name for name in listed.stdout.split("\0") if name]) == []


def test_helper_processes_do_not_import_from_the_current_folder() -> None:
    """A ``queue.py`` in the folder in which a server, a pool manager or a notebook runs must not be found."""
    without = re.compile(r"""[\[(](sys\.executable|python), (?!"-P")""")
    sources = {path: path.read_text("utf-8") for path in (ROOT / PACKAGE).rglob("*.py")}
    assert any('sys.executable, "-P"' in source for source in sources.values())
    assert [str(path) for path, source in sources.items() if without.search(source)] == []


@pytest.mark.slow
def test_client_and_spawn_import_nothing_that_a_kernel_does_not_need() -> None:
    """An import of an import is not in the syntax tree of the module."""
    program = (
        "import sys, fastgpu_jupyter.wire.client, fastgpu_jupyter.wire.spawn; "
        "print([m for m in ('msgspec', 'pynvml', 'sqlite3', 'fastgpu_jupyter.pool') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("inside", "text", "says"),
    [
        ("core/pool.py", "import time\n", "core must not import time"),
        ("core/pool.py", "def f():\n    from os import environ\n", "core must not import os"),
        ("core/pool.py", "from ..wire import schemas\n", "core must not import wire"),
        ("core/pool.py", "from .. import wire\n", "core must not import wire"),
        ("core/pool.py", "from .. import messages\n", "core must not import messages"),
        ("core/model/entities.py", "from ..placement import demand\n", "core/model must not import core/placement"),
        (
            "core/placement/demand.py",
            "def f():\n    from ..accounting import meter\n",
            "must not import core/accounting",
        ),
        ("core/accounting/meter.py", "from ..lease.resize import f\n", "must not import core/lease"),
        ("core/lease/resize.py", "from .. import scheduling\n", "must not import core/scheduling"),
        ("core/scheduling/queue.py", "from ..decide import decide\n", "must not import core/decide"),
        ("pool/loop/recovery.py", "from ..devices.driver import Driver\n", "pool/loop must not import pool/devices"),
        ("pool/devices/driver.py", "from ..effects import executor\n", "pool/devices must not import pool/effects"),
        ("pool/host/clock.py", "from ..journal.store import Journal\n", "must not import pool/journal"),
        ("pool/monitors/health.py", "from ..http.server import PoolServer\n", "must not import pool/http"),
        ("errors.py", "from .core.pool import decide\n", "errors must not import core"),
        ("compat/jax.py", "from ..errors import FastGPUError\n", "compat must not import errors"),
        ("wire/client.py", "from fastgpu_jupyter.pool import app\n", "wire must not import pool"),
        ("wire/client/leases.py", "import msgspec\n", "the client's side of wire"),
        ("server/extension.py", "from ..pool.app import main\n", "server must not import pool"),
        ("server/extension.py", "from ..kernel import gate\n", "server must not import kernel"),
        ("server/extension.py", "from ..core.model import Lease\n", "server must not import core"),
        ("kernel/gate.py", "from ..server import extension\n", "kernel must not import server"),
        ("kernel/gate.py", "from ..jobs.client import ensure_dispatcher\n", "kernel/gate.py must import jobs where"),
        ("kernel/verbs.py", "from .job_verbs import jobs\n", "kernel/verbs.py must import jobs where"),
        ("jobs/client.py", "from ..pool.app import main\n", "jobs must not import pool"),
        ("jobs/client.py", "from ..kernel import gate\n", "jobs must not import kernel"),
        ("wire/locate.py", "from ..jobs import places\n", "wire must not import jobs"),
        ("server/extension.py", "import cloudpickle\n", "must not import cloudpickle"),
        ("kernel/gate.py", "import msgspec\n", "kernel/gate.py must not import msgspec"),
        ("kernel/gate.py", "import pynvml as nvml\n", "kernel/gate.py must not import pynvml"),
        ("pool/devices/telemetry.py", "from pynvml import nvmlInit\n", "must not import pynvml"),
        ("pool/app.py", "from ..cli import main\n", "pool must not import cli"),
        ("pool/app.py", "from .devices.nvidia.driver import NvidiaDriver\n", "must not import a device driver"),
        ("cli/devices.py", "from ..pool.devices.nvidia import mig\n", "must not import a device driver"),
        ("cli/leases.py", "from ..server import extension\n", "cli must not import server"),
    ],
)
def test_broken_rules_finds_an_import_that_is_not_allowed(tmp_path: Path, inside: str, text: str, says: str) -> None:
    path = tmp_path / PACKAGE / inside
    path.parent.mkdir(parents=True)
    path.write_text(text)
    [found] = broken_rules(tmp_path / PACKAGE)
    assert says in found


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("core/pool.py", "from ..errors import NotFound\nfrom .model.entities import Lease\nimport dataclasses\n"),
        ("core/lease/resize.py", "from ..placement import eligibility\nfrom . import migration\n"),
        ("pool/devices/nvidia/driver.py", "import pynvml\n"),
        ("pool/journal/codec.py", "import msgspec\nfrom ...core import events\nfrom ...wire import schemas\n"),
        ("pool/loop/recovery.py", "from ..journal.store import Journal\nfrom ..protocols import StateReader\n"),
        ("kernel/gate.py", "from ..wire.client import PoolClient\nfrom ..compat import jax\nimport ipykernel\n"),
        ("cli/leases.py", "from ..pool.app import serve\nfrom .. import __version__\n"),
        ("kernel/verbs.py", "def f():\n    from ..jobs.client import ensure_dispatcher\n    from . import job_verbs\n"),
        ("kernel/job_verbs.py", "from ..jobs.client import ensure_dispatcher\n"),
        ("jobs/work/function.py", "import cloudpickle\nimport msgspec\nfrom ...wire.client import PoolClient\n"),
    ],
)
def test_broken_rules_accepts_an_import_that_is_allowed(tmp_path: Path, inside: str, text: str) -> None:
    path = tmp_path / PACKAGE / inside
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert broken_rules(tmp_path / PACKAGE) == []


@pytest.mark.parametrize(
    ("inside", "text", "found"),
    [
        ("kernel/gate.py", 'VISIBLE = "CUDA_VISIBLE_DEVICES"\n', "cuda"),
        ("pool/effects/executor.py", 'NO_ANSWER = "Check it with `nvidia-smi`."\n', "nvidia, smi"),
        ("core/model/commands.py", "class ReportXid:\n", "xid"),
        ("pool/monitors/metrics.py", "def count_xid() -> None: ...\n", "xid"),
        ("pool/host/groups.py", "x = 1  # NVML numbers the host's processes\n", "nvml"),
        ("pool/devices/mechanisms/shared.py", 'x = "/dev/nvidiactl /dev/nvidia-uvm"\n', "nvidia"),
        ("kernel/memory_caps.py", 'x = "CUDA_VISIBLE_DEVICES"\n', "cuda"),
        ("messages/en.py", 'x = {"host.silent": "Check it with `nvidia-smi`."}\n', "nvidia, smi"),
    ],
)
def test_vendor_words_finds_a_word_outside_the_driver(tmp_path: Path, inside: str, text: str, found: str) -> None:
    path = tmp_path / PACKAGE / inside
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert vendor_words(tmp_path / PACKAGE) == [f"{inside}:1: {found}: {text.strip()}"]


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("pool/devices/nvidia/env.py", 'VISIBLE = "CUDA_VISIBLE_DEVICES"\n'),
        ("pool/devices/registry.py", "from .nvidia.registration import NVIDIA\n"),
        ("pool/clusters/agent/node.py", 'VISIBLE = "CUDA_VISIBLE_DEVICES"\n'),
        ("kernel/memory_caps.py", "torch.cuda.is_initialized()\n"),
        ("core/placement/mechanisms.py", "x = Mechanism.MIG, Mechanism.MPS, 'exclusive', 'shared'\n"),
    ],
)
def test_vendor_words_accepts_a_word_in_an_allowed_context(tmp_path: Path, inside: str, text: str) -> None:
    path = tmp_path / PACKAGE / inside
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert vendor_words(tmp_path / PACKAGE) == []


def test_shown_vendor_words_finds_a_text_and_no_code() -> None:
    source = "const a = model.replace(/^NVIDIA /, ''); return trans.__('enforced by CUDA (%1)', limit(b));"
    assert len(shown_vendor_words(source)) == 1
    assert shown_vendor_words("const nvidia = trans.__('enforced by the driver');") == []


def test_too_long_finds_a_module_beyond_the_limit(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("\n" * (LINES_MAX + 1))
    (tmp_path / "short.py").write_text("\n" * LINES_MAX)
    assert too_long(tmp_path) == [f"long.py: {LINES_MAX + 1} lines"]


@pytest.mark.parametrize(
    "parts",
    [("https://pypi", ".org/simple"), ("https://registry.npm", "js.org/x"), ("cd /wo", "rk/main"), ("by Clau", "de")],
)
def test_forbidden_text_finds_hosts_paths_and_tools(tmp_path: Path, parts: tuple[str, str]) -> None:
    (tmp_path / "note.md").write_text(f"fine\n{''.join(parts)}\n")
    assert len(forbidden_text(tmp_path, ["note.md"])) >= 1
    (tmp_path / "note.md").write_text("PyPI name: fastgpu-jupyter; https://jupyter.org; ./work/x; /tmp/run\n")
    assert forbidden_text(tmp_path, ["note.md"]) == []
