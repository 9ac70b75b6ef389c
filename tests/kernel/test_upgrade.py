"""The package is upgraded, or removed, under a running kernel."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

import fastgpu_jupyter
from fastgpu_jupyter.kernel import preload
from fastgpu_jupyter.kernel.preload import Preload
from tests.helpers import Kernel, KernelHelper, PoolProcess
from tests.waiting import wait_until

PACKAGE = Path(fastgpu_jupyter.__file__).parent


def late_imports(module: str) -> Iterator[str]:
    """The modules of the package that functions of ``module`` import, except for types."""
    path = PACKAGE.parent / Path(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    package = module if path.is_dir() else module.rpartition(".")[0]
    for function in ast.walk(ast.parse(source.read_text())):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = resolve_name("." * node.level + (node.module or ""), package)
                yield from (base, *(f"{base}.{name.name}" for name in node.names))


def is_module(name: str) -> bool:
    path = PACKAGE.parent / Path(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


#: The widget imports ipywidgets, which a kernel without one need not have in its memory; only servers read the store.
NOT_PRELOADED = {"fastgpu_jupyter.kernel.widget.gpu_widget", "fastgpu_jupyter.jobs.dispatcher.store"}


@pytest.mark.slow
def test_preload_has_every_module_that_functions_of_the_kernel_import() -> None:
    code = (
        "import sys, threading, fastgpu_jupyter.kernel.kernel, fastgpu_jupyter.kernel.lease_follower\n"
        "from fastgpu_jupyter.kernel import preload\n"
        "preload.BEGIN_AFTER_S = 0; preload.Preload(threading.Event()).run()\n"
        "print(*(name for name in sys.modules if name.startswith('fastgpu_jupyter')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    loaded = set(done.stdout.split())
    entries = {"fastgpu_jupyter", "fastgpu_jupyter.messages", "fastgpu_jupyter.messages.render"}
    late = {name for module in loaded - entries for name in late_imports(module) if is_module(name)}
    assert len(late) > len(preload.MODULES)
    assert late - loaded == NOT_PRELOADED


def test_preload_ends_where_a_module_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def import_module(name: str) -> None:
        tried.append(name)
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(preload, "BEGIN_AFTER_S", 0)
    monkeypatch.setattr(preload, "import_module", import_module)
    Preload(threading.Event()).run()
    assert tried == [f"fastgpu_jupyter.{preload.MODULES[0]}"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, which kernels import from now on."""
    copy = tmp_path / "environment" / "fastgpu_jupyter"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("labextension", "__pycache__"))
    monkeypatch.setenv("PYTHONPATH", str(copy.parent))
    return copy


def replace(package: Path) -> None:
    """Put another version in the place of the package, with other modules."""
    shutil.rmtree(package)
    (package / "kernel").mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '9.8.7'\n")
    (package / "kernel/__init__.py").write_text("raise ImportError('modules of two versions in one process')\n")


def has_preloaded(kernel: Kernel) -> bool:
    names = [f"fastgpu_jupyter.{name}" for name in preload.MODULES]
    return kernel.value(f"all(name in __import__('sys').modules for name in {names})") == "True"


@pytest.mark.slow
def test_kernel_works_after_an_upgrade_of_its_package(pool: PoolProcess, kernels: KernelHelper, package: Path) -> None:
    kernel = kernels.start()
    assert kernel.value("__import__('fastgpu_jupyter').__file__") == repr(str(package / "__init__.py"))
    wait_until(lambda: has_preloaded(kernel), "everything is imported")
    replace(package)
    for words in ("", "status", "help", "cost", "pin", "unpin", "resize half", "park", "resume"):
        ran = kernel.run(f"%fastgpu {words}")
        assert ran.status == "ok", (words, ran.reply)
    assert kernel.value("1 + 1") == "2"
    assert kernel.run("%fastgpu release").status == "ok"
    other = pool.client.request("full", token="t" * 32)
    assert kernel.run("%fastgpu request full --hold").status == "ok"
    cell = kernel.send("print('granted')")
    kernel.message(cell, "display_data")
    pool.client.release(other["id"])
    assert kernel.collect(cell).stream() == "granted\n"
    kernels.stop(kernel)
    wait_until(lambda: pool.live() == [], "the lease ends with the kernel")


@pytest.mark.slow
def test_kernel_without_its_package_says_so_in_one_sentence(
    pool: PoolProcess, kernels: KernelHelper, package: Path
) -> None:
    (package / "kernel/preload.py").write_text(
        (package / "kernel/preload.py").read_text().replace("BEGIN_AFTER_S = 0.7", "BEGIN_AFTER_S = 3600.0")
    )
    kernel = kernels.start()
    replace(package)
    ran = kernel.run("%fastgpu")
    assert ran.status == "error"
    assert "FastGPU was upgraded or removed" in ran.reply["evalue"]
    assert "restart the kernel" in ran.reply["evalue"]
    assert kernel.value("1 + 1") == "2"
    assert pool.state(kernel.lease_id) == "active"
