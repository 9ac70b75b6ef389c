"""What a real kernel process has in common with one of ipykernel, where FastGPU could make a difference."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fastgpu_jupyter.wire.variables import KERNEL_ONLY
from tests.helpers import Kernel, KernelHelper, PoolProcess, end_pool_at
from tests.libcuda.stub import CudaStub
from tests.nvml.machine import FakeMachine
from tests.waiting import wait_until

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


# ---- Stop in subshells and under the loops of GUI toolkits -----------------------------------------------------------


def create_subshell(kernel: Kernel) -> str:
    """The id of a new subshell."""
    request = kernel.client.session.msg("create_subshell_request")
    kernel.client.control_channel.send(request)
    return str(kernel.client.get_control_msg(timeout=60)["content"]["subshell_id"])


def send_to(kernel: Kernel, subshell_id: str, code: str) -> str:
    """Send a cell to a subshell; its message id."""
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    content["stop_on_error"] = False
    message = kernel.client.session.msg("execute_request", content)
    message["header"]["subshell_id"] = subshell_id
    kernel.client.shell_channel.send(message)
    return str(message["header"]["msg_id"])


def stop(kernel: Kernel) -> None:
    """Press Stop."""
    assert kernel.manager is not None
    kernel.manager.interrupt_kernel()


#: What the main shell does beside the cell that waits in a subshell, and how Stop ends it.
BESIDE = {
    "": None,
    "print('ran')": "StillWaiting",
    "import time\nwhile True: time.sleep(0.01)": "KeyboardInterrupt",
    "import asyncio\nwhile True: await asyncio.sleep(0.01)": "CancelledError",
}


def test_stop_ends_the_wait_of_a_cell_in_a_subshell(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernels.start().run("%fastgpu pin")
    waiting = kernels.start()
    subshell = create_subshell(waiting)
    for code, ended_by in BESIDE.items():
        cells = [send_to(waiting, subshell, "print('ran')")]
        waiting.message(cells[0], "display_data")
        if code:
            # Code that a front end runs by itself does not wait, so that the main shell can run while a subshell waits.
            waits = ended_by == "StillWaiting"
            announced = code if waits else f"print('on', flush=True)\n{code}"
            cells.append(waiting.send(announced, store_history=waits, stop_on_error=False))
            waiting.message(cells[1], "display_data" if waits else "stream")
        stop(waiting)
        replies: dict[str, dict[str, str]] = {}
        while len(replies) < len(cells):
            reply = waiting.client.get_shell_msg(timeout=60)
            replies[reply["parent_header"]["msg_id"]] = reply["content"]
        assert [replies[cell]["ename"] for cell in cells] == ["StillWaiting", ended_by][: len(cells)]
        assert "position 1" in replies[cells[0]]["evalue"]
        stop(waiting)  # of a kernel that does nothing: nothing happens
        assert waiting.run("print('alive')", store_history=False).stream() == "alive\n"


#: A toolkit's loop as ipykernel runs it: in the main thread, until a message arrives, or for a moment.
EVENTLOOP = """
import time
from ipykernel.eventloops import get_shell_stream, register_integration

entered, entered_during_a_cell = 0, 0

@register_integration("toolkit")
def loop(kernel):
    global entered, entered_during_a_cell
    entered += 1
    entered_during_a_cell += kernel.gate.activity.running
    stream, until = get_shell_stream(kernel), time.monotonic() + 0.1
    while not stream.flush(limit=1) and time.monotonic() < until:
        time.sleep(kernel._poll_interval)
"""


def test_cell_waits_under_the_loop_of_a_gui_toolkit(pool: PoolProcess, kernels: KernelHelper) -> None:
    holder = kernels.start()
    waiting = kernels.start()

    def hidden(code: str) -> str:
        ran = waiting.run(code, store_history=False)
        assert ran.status == "ok", ran
        return ran.stream().strip()

    def wait_for_loop() -> None:
        before = int(hidden("print(entered)"))
        wait_until(lambda: int(hidden("print(entered)")) > before + 1, "its loop runs")

    hidden(EVENTLOOP)
    hidden("%gui toolkit")
    wait_for_loop()
    cell = waiting.send("print('ran')")
    waiting.message(cell, "display_data")
    waiting.message(cell, "update_display_data")
    stop(waiting)
    assert waiting.collect(cell).reply["ename"] == "StillWaiting"
    wait_for_loop()
    cell = waiting.send("print('ran')")
    waiting.message(cell, "display_data")
    kernels.stop(holder)
    assert waiting.collect(cell).stream() == "ran\n"
    wait_for_loop()
    # A loop that ran while the cell waited would have blocked its display, Stop and the grant.
    assert hidden("print(entered_during_a_cell)") == "0"


# ---- code that a front end runs by itself ----------------------------------------------------------------------------


def test_hidden_code_and_questions_neither_wait_nor_count_as_use(pool: PoolProcess, kernels: KernelHelper) -> None:
    first = kernels.start()
    waiting = kernels.start()
    assert waiting.run("print(dir())", store_history=False).status == "ok"
    for code in ("", "# words", "%fastgpu?", "len?", "%fastgpu help  # what can I do"):
        assert waiting.run(code).status == "ok"
    first.run("kept = 42")
    first.run("%fastgpu park")
    pool.wait_state(first.lease_id, "parked")
    pool.wait_state(waiting.lease_id, "active")
    assert first.run("print(kept)", store_history=False).stream() == "42\n"
    assert pool.state(first.lease_id) == "parked"
    kernels.stop(waiting)
    # Code that uses memory that is not on the device waits in the driver; nothing but itself would make it resume.
    blocked = "import time\nwhile not get_ipython().kernel.gate.open: time.sleep(0.01)"
    assert first.run(blocked, store_history=False).status == "ok"
    assert pool.state(first.lease_id) == "active"


def test_library_that_looked_for_a_gpu_too_early_is_named_with_the_grant(
    isolated: Path, kernels: KernelHelper, use_machine: Callable[..., FakeMachine], cuda_stub: CudaStub
) -> None:
    use_machine("1xL4")
    pool = PoolProcess(isolated, simulate="")
    pool.start()
    try:
        first, waiting = kernels.start(), kernels.start()
        look = f"import ctypes; ctypes.CDLL({str(cuda_stub.folder / 'libcuda.so.1')!r})"
        assert waiting.run(look, store_history=False).status == "ok"
        cell = waiting.send("import os; print(os.environ['CUDA_VISIBLE_DEVICES'][:4])")
        waiting.message(cell, "display_data")
        kernels.stop(first)
        ran = waiting.collect(cell)
        assert ran.stream() == "GPU-\n"
        assert "looked for GPUs before this kernel had one" in ran.stream("stderr")
        assert waiting.run("1").stream("stderr") == ""
    finally:
        kernels.end()
        pool.end()


# ---- processes that a kernel starts ----------------------------------------------------------------------------------

CHILD = """
import json, os, subprocess, sys
code = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(('FASTGPU', 'CUDA'))}))"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
"""
FORK = """
pid = os.fork()
if not pid:
    get_ipython().kernel.gate.close(None)
    os._exit(0)
print(os.waitpid(pid, 0)[1])
"""


def test_child_process_inherits_the_devices_and_not_the_lease(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start()
    inherited = json.loads(kernel.run(CHILD).stream())
    assert (inherited["CUDA_VISIBLE_DEVICES"], inherited["FASTGPU_SIMULATED"]) == ("", "1")
    assert inherited["FASTGPU_ANCESTOR_LEASES"] == kernel.lease_id
    assert not set(inherited).intersection(KERNEL_ONLY)
    assert kernel.run(FORK).stream() == "0\n"
    assert pool.state(kernel.lease_id) == "active"


def test_kernel_without_a_gate_knows_its_lease_and_its_children_do_not(
    pool: PoolProcess, kernels: KernelHelper, isolated: Path
) -> None:
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Without a gate",
        "language": "python",
        "metadata": {
            "kernel_provisioner": {"provisioner_name": "fastgpu-provisioner", "config": {}},
            "fastgpu": {"gate": False},
        },
    }
    folder = isolated / "data/kernels/nogate"
    folder.mkdir()
    (folder / "kernel.json").write_text(json.dumps(spec))
    kernel = kernels.start("nogate")
    inherited = json.loads(kernel.run(CHILD).stream())
    assert inherited["FASTGPU_SIMULATED"] == "1"
    assert not set(inherited).intersection(KERNEL_ONLY)
    said = kernel.run("!{sys.executable} -m IPython -c '%load_ext fastgpu_jupyter'").stream()
    assert "not started as a FastGPU kernel" in said
    assert kernel.run("%load_ext fastgpu_jupyter").stream() == ""
    assert "Released" in kernel.run("%fastgpu release").shown()[0]
    pool.wait_state(kernel.lease_id, "ended")


def test_waiting_cell_names_the_kernel_above_that_holds_the_gpu(
    pool: PoolProcess, kernels: KernelHelper, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = kernels.start(notebook="outer.ipynb")
    monkeypatch.setenv("FASTGPU_ANCESTOR_LEASES", f"of-another-pool {outer.lease_id}")
    inner = kernels.start()
    cell = inner.send("print('ran')")
    shown = inner.message(cell, "display_data")["content"]["data"]["text/plain"]
    while "The kernel that started this one, of outer.ipynb, holds a GPU." not in shown:
        shown = inner.message(cell, "update_display_data")["content"]["data"]["text/plain"]
    outer.run("%fastgpu release")
    assert inner.collect(cell).stream() == "ran\n"
