"""The command of a kernelspec: the module in it, and what its interpreter has, which only the command itself knows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.kernel import probe as kernel_probe
from fastgpu_jupyter.kernelspec.command import KERNEL_MODULE, MARKER, probe, with_module
from fastgpu_jupyter.messages import render
from tests.helpers import alive
from tests.waiting import wait_until

FILE = ["-f", "{connection_file}"]
#: A program that runs the program that its arguments name, as ``conda run`` does.
WRAPPER = [sys.executable, "-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"]
#: An interpreter without the packages of its environment.
ISOLATED = [sys.executable, "-I", "-S"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["python", "-m", "ipykernel_launcher", *FILE], ["python", "-m", "M", *FILE]),
        (["python", "-Xdev", "-m", "ipykernel", *FILE], ["python", "-Xdev", "-m", "M", *FILE]),
        (["python", "-mipykernel_launcher", *FILE], ["python", "-mM", *FILE]),
        (["python", "-m", KERNEL_MODULE, *FILE], ["python", "-m", "M", *FILE]),
        (["conda", "run", "-n", "x", "python", "-m", "ipykernel"], ["conda", "run", "-n", "x", "python", "-m", "M"]),
        (
            ["bash", "-c", ". x && exec python -m ipykernel_launcher -f '{connection_file}'; true"],
            ["bash", "-c", ". x && exec python -m M -f '{connection_file}'; true"],
        ),
        (["a", "-m", "runner", "b", "-m", "ipykernel_launcher"], ["a", "-m", "runner", "b", "-m", "M"]),
        (["R", "--slave", "-e", "IRkernel::main()"], None),
        (["python", "-m", "bash_kernel", *FILE], None),
        (["python", "-m", "ipykernel_launcher_of_ours"], None),
        (["python", "-m"], None),
    ],
)
def test_module_of_the_kernel_is_replaced_wherever_the_command_has_it(before: list[str], after: Any) -> None:
    assert with_module(before, "M") == after


def test_marker_is_that_of_the_kernels_probe() -> None:
    assert kernel_probe.MARKER == MARKER


def spec(*argv: str, **env: str) -> dict[str, Any]:
    return {"argv": [*argv, "-m", "ipykernel_launcher", *FILE], "display_name": "x", "language": "python", "env": env}


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        spec("python"),
        spec(*WRAPPER, sys.executable),
        spec("env", "A=1", sys.executable, "-Xfrozen_modules=off"),
        {**spec(), "argv": ["bash", "-c", f"true && exec {sys.executable} -m ipykernel_launcher -f {FILE[1]}"]},
        spec("env", "mine", PATH="${PATH}:{resource_dir}/bin", HERE="yes"),
    ],
    ids=["python", "wrapper", "env", "shell", "variables"],
)
def test_interpreter_with_the_package_is_found_behind_wrappers(content: dict[str, Any], tmp_path: Path) -> None:
    content["env"] = {key: value.replace("{resource_dir}", str(tmp_path)) for key, value in content["env"].items()}
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mine").write_text(f'#!/bin/sh\n[ "$HERE" = yes ] && exec {sys.executable} "$@"\n')
    (tmp_path / "bin/mine").chmod(0o755)
    found = probe(content, tmp_path)
    assert found.gate is True, found


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", [[], WRAPPER, ["env"]], ids=["alone", "wrapper", "env"])
def test_interpreter_without_the_package_has_no_gate(wrapper: list[str], tmp_path: Path) -> None:
    found = probe(spec(*wrapper, *ISOLATED), tmp_path)
    assert found.gate is False
    assert found.reason is not None
    assert "cannot import fastgpu_jupyter" in render(found.reason)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (spec("/nonexistent/python"), "No such file"),
        (spec("env", "/nonexistent/python"), "No such file"),
        (spec("sh", "-c", "echo 'the environment is broken' >&2; exit 3"), "the environment is broken"),
        (spec("sh", "-c", "exit 3"), "exit status 3"),
        (spec("sh", "-c", "echo FASTGPU_KERNEL >&1"), "exit status 0"),
    ],
)
def test_command_that_cannot_be_tried_leaves_the_gate_unknown(
    content: dict[str, Any], why: str, tmp_path: Path
) -> None:
    found = probe(content, tmp_path)
    assert found.gate is None
    assert found.reason is not None
    assert why in render(found.reason)


def test_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    found = probe(spec("sh", "-c", f"sleep 600 & echo $! > {pid}; wait"), tmp_path, timeout_s=0.1)
    assert found.gate is None
    assert found.reason is not None
    assert "did not answer" in render(found.reason)
    wait_until(lambda: not alive(int(pid.read_text())), "the child of the command ends")


def test_kernel_that_is_not_ipykernel_is_not_run(tmp_path: Path) -> None:
    flag = tmp_path / "ran"
    content = {"argv": ["touch", str(flag)], "display_name": "x", "language": "x"}
    assert probe(content, tmp_path).gate is False
    assert not flag.exists()
