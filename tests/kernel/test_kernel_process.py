"""What a real kernel process has in common with one of ipykernel, where FastGPU could make a difference."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers import KernelHelper, PoolProcess, end_pool_at

pytestmark = pytest.mark.slow

#: Modules of the standard library that notebooks' folders have files of, and that kernels and pool managers import.
SHADOWED = ("queue", "email", "random", "signal", "token", "secrets", "typing", "json", "socket")


def test_files_named_like_the_standard_library_beside_the_notebook_do_no_harm(
    isolated: Path, kernels: KernelHelper, installed: None
) -> None:
    from fastgpu_jupyter.wire.locate import user_socket

    folder = isolated / "notebooks"
    folder.mkdir()
    for name in SHADOWED:
        (folder / f"{name}.py").write_text("print('mine')\n")
    (folder / "helper_of_the_notebook.py").write_text("print('imported')\n")
    try:
        kernel = kernels.start(cwd=folder)  # which starts a pool manager, too
        imports = "".join(
            f"import {name}\nassert not {name}.__file__.startswith({str(folder)!r})\n" for name in SHADOWED
        )
        ran = kernel.run(
            f"{imports}import helper_of_the_notebook, os, sys\nprint(os.environ['FASTGPU_SIMULATED'], '' in sys.path)"
        )
        assert ran.stream() == "imported\n1 True\n", ran
        ran = kernel.run("%fastgpu status")
        assert "FastGPU pool (simulated)" in ran.shown()[0], ran
    finally:
        end_pool_at(user_socket())


def test_configuration_of_ipykernel_is_read(pool: PoolProcess, kernels: KernelHelper) -> None:
    folder = Path(os.environ["IPYTHONDIR"]) / "profile_default"
    folder.mkdir()
    (folder / "ipython_kernel_config.py").write_text("c.IPKernelApp.exec_lines = ['from_kernel_config = 1']\n")
    kernel = kernels.start()
    assert kernel.run("print(from_kernel_config)").stream() == "1\n"
