"""Real kernels, started through jupyter_client, and a real pool."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.server.token_files import token_folder
from fastgpu_jupyter.wire.client import new_token
from tests.helpers import Kernel, KernelHelper, PoolProcess, provisioner_of
from tests.views import position_of, value_of
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow

ENVIRONMENT = (
    "print({k: v for k, v in __import__('os').environ.items() if k.startswith(('CUDA_VIS', 'FASTGPU_SIMULATED'))})"
)
GRANTED = "{'CUDA_VISIBLE_DEVICES': '', 'FASTGPU_SIMULATED': '1'}"
WITHOUT = "{'CUDA_VISIBLE_DEVICES': ''}"


def test_granted_at_once(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start(notebook="analysis.ipynb")
    ran = kernel.run("import os; print(os.environ['FASTGPU_SIMULATED'])")
    assert ran.stream().split() == ["1"]
    assert ran.kinds() == ["execute_input", "stream"]
    lease = pool.lease(kernel.lease_id)
    assert lease["holder"]["pid"] == kernel.pid
    assert lease["holder"]["notebook"] == "analysis.ipynb"
    assert kernel.run("import gc; print(gc.isenabled())").stream() == "True\n"
    assert "FASTGPU_TOKEN" not in kernel.run("print([n for n in os.environ if n == 'FASTGPU_TOKEN'])").stream()
    kernels.stop(kernel)
    assert pool.state(lease["id"]) in ("draining", "ended")
    pool.wait_state(lease["id"], "ended")
    assert value_of(pool.lease(lease["id"])["end_reason"]) == "released"


def test_token_file_is_private_and_removed_with_the_lease(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start()
    (path,) = token_folder().iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    kernels.stop(kernel)
    assert not path.exists()


def test_waiting_kernels_are_granted_in_order(pool: PoolProcess, kernels: KernelHelper) -> None:
    first, second, third = (kernels.start(notebook=f"{n}.ipynb") for n in "abc")
    assert [pool.state(k.lease_id) for k in (first, second, third)] == ["active", "waiting", "waiting"]
    held = {kernel: kernel.send(ENVIRONMENT) for kernel in (second, third)}
    line = second.message(held[second], "display_data")
    assert "position 1 in the queue" in line["content"]["data"]["text/plain"]
    assert 'role="status"' in line["content"]["data"]["text/html"]
    assert "position 2" in third.message(held[third], "display_data")["content"]["data"]["text/plain"]
    kernels.stop(first)
    ran = second.collect(held[second])
    assert ran.status == "ok"
    assert ran.stream().strip() == GRANTED
    assert "clear_output" in ran.kinds()
    assert pool.state(third.lease_id) == "waiting"
    kernels.stop(second)
    assert third.collect(held[third]).stream().strip() == GRANTED


def test_sizes_are_listed_by_the_magic_and_by_the_command(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start()
    kernel.run("x = 1")
    text = kernel.run("%fastgpu sizes").shown()[0]
    rows = {line.split()[0]: line for line in text.splitlines()[2:]}
    assert list(rows) == ["eighth", "quarter", "half", "full"]
    assert "full (applied)" in rows["full"]
    assert "now" in rows["half"]
    assert "memory" in kernel.run("%fastgpu sizes all").reply["evalue"]
    command = [*pool.command(), "sizes", "--memory"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert listed[0].split() == ["SIZE", "MEMORY", "RATE/H", "EFFECT", "REASON"]
    assert "in the queue at position 1" in listed[-1]
    assert "Every GPU that could serve this is in use" in listed[-1]


def test_cells_run_on_the_cpu_until_the_grant_if_their_user_wants(pool: PoolProcess, kernels: KernelHelper) -> None:
    holder, waiting = kernels.start(), kernels.start()
    holder.run("%fastgpu pin")
    held = waiting.send(ENVIRONMENT)
    waiting.message(held, "display_data")
    wait_until(lambda: pool.lease(waiting.lease_id)["usage"]["busy"] is True, "the pool knows that a cell waits")
    pool.client.cpu_meanwhile(waiting.lease_id, on=True)
    ran = waiting.collect(held)
    assert ran.stream("stdout").strip() == WITHOUT
    assert "this cell runs on the CPU" in ran.stream("stderr")
    assert "clear_output" in ran.kinds()
    wait_until(lambda: pool.lease(waiting.lease_id)["usage"]["busy"] is False, "a cell on the CPU needs no device")
    ran = waiting.run("held = 1")
    assert (ran.status, ran.stream("stderr")) == ("ok", "")
    assert position_of(pool.lease(waiting.lease_id)) == 1
    kernels.stop(holder)
    pool.wait_state(waiting.lease_id, "active")
    assert pool.lease(waiting.lease_id)["cpu_meanwhile"] is False
    ran = waiting.run(f"print(held)\n{ENVIRONMENT}")
    assert ran.stream("stdout").splitlines() == ["1", GRANTED]
    assert "the GPU was granted" in ran.stream("stderr")


def test_magics_and_silent_cells_do_not_wait(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernels.start()
    waiting = kernels.start()
    assert waiting.run("x = 1", silent=True).status == "ok"
    shown = waiting.run("%fastgpu").shown()
    assert "waiting in the queue" in shown[0]
    assert "Position in the queue" in shown[0]
    assert "Left the queue" in waiting.run("# enough\n%fastgpu release").shown()[0]
    ran = waiting.run(ENVIRONMENT)
    assert ran.stream().strip() == WITHOUT
    assert ran.stream("stderr") == ""
    assert len(pool.live()) == 1
    waiting.run("%fastgpu request half")
    assert [view["request"]["size"] for view in pool.live()] == ["full", "half"]
    waiting.run("%fastgpu cpu")
    assert waiting.run(ENVIRONMENT).stream().strip() == WITHOUT
    wait_until(lambda: len(pool.live()) == 1, "the waiting_id is gone")


def test_stop_ends_the_wait_and_keeps_the_position(pool: PoolProcess, kernels: KernelHelper) -> None:
    first = kernels.start()
    waiting = kernels.start()
    took_s, round_trips_s = [], []
    for _ in range(3):
        began = time.monotonic()
        assert waiting.run("x = 1", silent=True).status == "ok"
        round_trips_s.append(time.monotonic() - began)
        cell = waiting.send("print('ran')")
        waiting.message(cell, "display_data")
        asked = time.monotonic()
        assert waiting.manager is not None
        waiting.manager.interrupt_kernel()
        ran = waiting.collect(cell)
        took_s.append(time.monotonic() - asked)
        assert ran.status == "error"
        assert ran.reply["ename"] == "StillWaiting"
        assert "keeps its position in the queue (position 1)" in ran.reply["evalue"]
    assert min(took_s) < 0.2 + 10 * min(round_trips_s)  # what a busy machine delays, it delays in all messages
    assert pool.state(waiting.lease_id) == "waiting"
    cell = waiting.send("print('ran')")
    waiting.message(cell, "display_data")
    kernels.stop(first)
    assert waiting.collect(cell).stream() == "ran\n"
    # An interrupt of a cell that runs is still ipykernel's own.
    cell = waiting.run_until(pool.folder / "never")
    assert waiting.manager is not None
    waiting.manager.interrupt_kernel()
    assert waiting.collect(cell).reply["ename"] == "KeyboardInterrupt"


def test_lease_granted_before_the_first_cell_is_used(pool: PoolProcess, kernels: KernelHelper) -> None:
    first, waiting = kernels.start(), kernels.start()
    kernels.stop(first)
    pool.wait_state(waiting.lease_id, "active")
    assert waiting.run(ENVIRONMENT).stream().strip() == GRANTED


def test_release_elsewhere_is_noted_once(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start()
    assert kernel.run(ENVIRONMENT).stream().strip() == GRANTED
    pool.client.release(kernel.lease_id)
    said = wait_until(lambda: kernel.run(ENVIRONMENT).stream("stderr"), "the kernel says so")
    assert "was released" in said
    assert "%fastgpu request" in said
    ran = kernel.run(ENVIRONMENT)
    assert ran.stream().strip() == WITHOUT
    assert ran.stream("stderr") == ""
    ran = kernel.run("%fastgpu request")
    assert ran.status == "ok", ran
    assert "active" in ran.shown()[0]
    assert kernel.run(ENVIRONMENT).stream().strip() == GRANTED


@pytest.mark.parametrize("now", [False, True])
def test_restart_keeps_the_lease(pool: PoolProcess, kernels: KernelHelper, now: bool) -> None:
    kernel = kernels.start()
    waiting = kernels.start()
    before, old_pid = kernel.lease_id, kernel.pid
    assert kernel.manager is not None
    for _ in range(3):
        kernel.manager.restart_kernel(now=now)
        kernel.wait_ready()
        assert kernel.lease_id == before
        assert pool.lease(before)["holder"]["pid"] == kernel.pid != old_pid
        assert pool.state(before) == "active"
        assert kernel.run(ENVIRONMENT).stream().strip() == GRANTED
    waiting_id = waiting.lease_id
    assert waiting.manager is not None
    waiting.manager.restart_kernel(now=now)
    waiting.wait_ready()
    assert waiting.lease_id == waiting_id
    assert position_of(pool.lease(waiting_id)) == 1


def test_restart_of_a_starting_kernel_keeps_the_position(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernels.start()
    for delay_s in (0.0, 0.02, 0.05, 0.1, 0.2):
        manager = kernels.manager()
        manager.start_kernel()
        provisioner = provisioner_of(manager)
        waiting_id, pid = str(provisioner.lease_id), provisioner.pid
        time.sleep(delay_s)  # not a wait for anything: restarts come at different moments of the start
        try:
            manager.restart_kernel()
            provisioner = provisioner_of(manager)
            assert provisioner.lease_id == waiting_id
            assert provisioner.pid != pid
            assert position_of(pool.lease(waiting_id)) == 1
            assert pool.lease(waiting_id)["holder"]["pid"] == provisioner.pid
        finally:
            manager.shutdown_kernel(now=True)
        pool.wait_state(waiting_id, "ended")


def test_restart_keeps_a_lease_that_the_kernel_requested(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start()
    kernel.run("%fastgpu release")
    kernel.run("%fastgpu request quarter")
    (lease,) = pool.live()
    assert lease["request"]["size"] == "quarter"
    assert kernel.manager is not None
    kernel.manager.restart_kernel()
    kernel.wait_ready()
    assert kernel.lease_id == lease["id"]
    assert pool.state(lease["id"]) == "active"
    kernels.stop(kernel)
    pool.wait_state(lease["id"], "ended")


def test_killed_kernel_frees_its_gpu_for_the_next(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel, waiting = kernels.start(), kernels.start()
    lease = kernel.lease_id
    cell = waiting.send(ENVIRONMENT)
    waiting.message(cell, "display_data")
    os.kill(kernel.pid, signal.SIGKILL)
    assert waiting.collect(cell).stream().strip() == GRANTED
    pool.wait_state(lease, "ended")
    assert value_of(pool.lease(lease)["end_reason"]) == "holder_died"


def test_cell_continues_when_the_pool_is_killed(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel, waiting = kernels.start(), kernels.start()
    before = {view["id"]: view["state"] for view in pool.live()}
    held = waiting.send(ENVIRONMENT)
    waiting.message(held, "display_data")
    enough = pool.folder / "enough"
    cell = kernel.run_until(enough)
    pool.kill()
    enough.touch()
    assert kernel.collect(cell).stream() == "done\n"
    assert kernel.run("print(1)").stream() == "1\n"
    # The kernels start the pool again by themselves; the same leases are there.
    wait_until(lambda: _leases(pool) == before, "the same leases with the same ids")
    assert kernel.run("%fastgpu").shown()[0].startswith("GPU lease (simulated)")
    kernels.stop(kernel)
    assert waiting.collect(held).stream().strip() == GRANTED


def _leases(pool: PoolProcess) -> dict[str, str] | None:
    from fastgpu_jupyter.errors import PoolUnreachable

    try:
        return {view["id"]: view["state"] for view in pool.live()}
    except PoolUnreachable:
        return None


def test_help_and_unknown_verbs(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start()
    assert "%fastgpu request [SIZE]" in kernel.run("%fastgpu help").shown()[0]
    ran = kernel.run("%fastgpu sing")
    assert ran.reply["ename"] == "UsageError"
    assert "%fastgpu has no verb 'sing'" in ran.stream("stderr")
    assert "FastGPU pool (simulated)" in kernel.run("%fastgpu status").shown()[0]
    kernel.run("%fastgpu release")
    ran = kernel.run("%fastgpu request huge")
    assert "No device of this pool is 'huge'" in ran.stream("stderr")
    assert "Traceback" not in ran.stream("stderr")
    ran = kernel.run("%fastgpu request 900GiB")
    assert "more than any device" in ran.stream("stderr")
    assert kernel.run(ENVIRONMENT).stream().strip() == WITHOUT


@pytest.fixture
def quick(isolated: Path) -> Iterator[PoolProcess]:
    """A pool that soon takes a kernel without a running cell for idle."""
    process = PoolProcess(isolated, "1xA100-80GB")
    process.start("--Parking.idle_s=1")
    yield process
    process.end()


def test_idle_kernel_is_parked_and_resumes_with_the_next_cell(quick: PoolProcess, kernels: KernelHelper) -> None:
    first = kernels.start(notebook="first.ipynb")
    assert first.run("kept = 42").status == "ok"
    second = kernels.start(notebook="second.ipynb")
    enough = quick.folder / "enough"
    long = second.run_until(enough)
    wait_until(lambda: quick.lease(second.lease_id)["usage"]["busy"], "the pool knows that a cell runs")
    parked_while_running = quick.lease(first.lease_id)
    assert (
        parked_while_running["state"],
        value_of(parked_while_running["parking"]["reason"]),
        parked_while_running["usage"]["busy"],
    ) == (
        "parked",
        "idle",
        False,
    )
    back = first.send("print(kept)")
    line = first.message(back, "display_data")["content"]["data"]["text/plain"]
    assert "Waiting for the GPU to come back to this notebook: position 1 in the queue" in line
    assert "It was parked: No cell ran, and another request needed the GPU." in line
    assert quick.state(second.lease_id) == "active"  # one that computes is left alone
    enough.touch()
    assert second.collect(long).stream() == "done\n"
    ran = first.collect(back)
    assert ran.stream() == "42\n"
    assert ran.stream("stderr") == ""
    assert value_of(quick.lease(second.lease_id)["parking"]["reason"]) == "idle"


def test_kernels_without_a_cell_hand_over_the_gpu_also_after_restarts(pool: PoolProcess, kernels: KernelHelper) -> None:
    pool.end()
    pool.start("--Parking.idle_s=600")  # none is parked because it was idle for so long
    first, second = kernels.start(), kernels.start()

    def wait_idle(kernel: Kernel) -> None:
        wait_until(lambda: pool.lease(kernel.lease_id)["usage"]["busy"] is False, "the pool knows that no cell runs")

    wait_idle(first)
    assert second.run(ENVIRONMENT).stream().strip() == GRANTED
    assert pool.state(first.lease_id) == "parked"
    assert second.manager is not None
    second.manager.restart_kernel()
    second.wait_ready()
    wait_idle(second)
    assert first.run(ENVIRONMENT).stream().strip() == GRANTED
    assert pool.state(second.lease_id) == "parked"
    wait_idle(first)
    pool.kill()
    pool.start("--Parking.idle_s=600")
    assert second.run(ENVIRONMENT).stream().strip() == GRANTED
    assert pool.state(first.lease_id) == "parked"


def test_long_cell_is_busy_and_pinned_kernel_is_not_parked(quick: PoolProcess, kernels: KernelHelper) -> None:
    first = kernels.start()
    wait_until(lambda: quick.lease(first.lease_id)["holder"]["pid"] == first.pid, "the kernel holds its lease")
    enough = quick.folder / "enough"
    long = first.run_until(enough)
    wait_until(lambda: quick.lease(first.lease_id)["usage"]["busy"], "the pool knows that a cell runs, while it runs")
    enough.touch()
    first.collect(long)
    wait_until(lambda: not quick.lease(first.lease_id)["usage"]["busy"], "the pool knows that none runs")
    assert "Pinned" in first.run("%fastgpu pin").shown()[0]
    second = kernels.start()
    time.sleep(2.5)  # nothing can be waited for: what would be wrong is that it is parked within this time
    assert quick.state(second.lease_id) == "waiting"
    assert quick.state(first.lease_id) == "active"
    assert "Not pinned" in first.run("%fastgpu unpin").shown()[0]
    quick.wait_state(second.lease_id, "active")


def test_long_widget_callback_counts_as_activity(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start()
    sent_ms = time.time() * 1000
    kernel.run(
        "import time\n"
        "def opened(comm, message):\n"
        "    comm.on_msg(lambda message: time.sleep(3))\n"
        "get_ipython().kernel.comm_manager.register_target('slider', opened)"
    )

    def idle() -> bool:
        view = pool.lease(kernel.lease_id)
        return view["usage"]["last_used_at"] > sent_ms and not view["usage"]["busy"]

    wait_until(idle, "the pool knows that the cell is over")
    client = kernel.client
    for kind, content in (("comm_open", {"target_name": "slider"}), ("comm_msg", {})):
        message = client.session.msg(kind, {"comm_id": "one", "data": {}, **content})
        client.shell_channel.send(message)
    wait_until(lambda: pool.lease(kernel.lease_id)["usage"]["busy"], "the pool knows that the callback runs")
    wait_until(idle, "the pool knows that it is over")


def test_park_by_the_user_ends_with_the_next_cell(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start()
    kernel.run("kept = 42")
    assert "parked" in kernel.run("%fastgpu park").shown()[0]
    pool.wait_state(kernel.lease_id, "parked")
    assert "You parked it." in kernel.run("%fastgpu").shown()[0]
    ran = kernel.run("print(kept)")
    assert ran.stream() == "42\n"
    pool.wait_state(kernel.lease_id, "active")
    kernel.run("%fastgpu park")
    pool.wait_state(kernel.lease_id, "parked")
    kernel.run("%fastgpu resume")
    pool.wait_state(kernel.lease_id, "active")


def test_stop_while_waiting_for_a_parked_lease_keeps_kernel_and_position(
    quick: PoolProcess, kernels: KernelHelper
) -> None:
    first = kernels.start()
    first.run("kept = 42")
    second = kernels.start()
    second.run_until(quick.folder / "never")
    wait_until(lambda: quick.lease(second.lease_id)["usage"]["busy"], "the pool knows that a cell runs")
    cell = first.send("print(kept)")
    first.message(cell, "display_data")
    assert first.manager is not None
    first.manager.interrupt_kernel()
    ran = first.collect(cell)
    assert ran.reply["ename"] == "StillWaiting"
    assert "waiting for the GPU to come back" in ran.reply["evalue"]
    assert position_of(quick.lease(first.lease_id)) == 1
    kernels.stop(second)
    assert first.run("print(kept)").stream() == "42\n"


def test_parking_while_a_cell_ran_is_noted_afterwards(pool: PoolProcess, kernels: KernelHelper) -> None:
    first = kernels.start()
    first.run("import time\ngate = get_ipython().kernel.gate")
    long = first.send(
        "print('on', flush=True)\n"
        "while gate.open:\n    time.sleep(0.02)\n"
        "print('parked_while_running', flush=True)\n"
        "while not gate.open:\n    time.sleep(0.02)"
    )
    first.message(long, "stream")
    wait_until(lambda: pool.lease(first.lease_id)["usage"]["busy"], "the pool knows that a cell runs")
    token = new_token()
    urgent = pool.client.request("full", token=token, options={"priority": "high"})
    first.message(long, "stream")
    wait_until(lambda: pool.state(urgent["id"]) == "active", "the urgent lease has the device")
    assert value_of(pool.lease(first.lease_id)["parking"]["reason"]) == "priority"
    pool.client.release(urgent["id"], token)
    said = first.collect(long).stream("stderr")
    assert "A request of a higher priority needed the GPU. Its GPU memory is restored." in said
    assert first.run("1").stream("stderr") == ""


def test_load_ext_in_a_plain_kernel_explains_itself(pool: PoolProcess, kernels: KernelHelper) -> None:
    kernel = kernels.start("python3")
    ran = kernel.run("%load_ext fastgpu_jupyter")
    assert "not started as a FastGPU kernel" in ran.stream()
    assert "FastGPU pool (simulated)" in kernel.run("%fastgpu status").shown()[0]
    assert "not started as a FastGPU kernel" in kernel.run("%fastgpu request").shown()[0]
    assert kernel.run("print(1)").stream() == "1\n"


def test_cell_on_the_cpu_neither_waits_nor_resumes_and_a_profile_says_what_a_cell_used(
    pool: PoolProcess, kernels: KernelHelper
) -> None:
    first, waiting = kernels.start(), kernels.start()
    on_cpu = f"%%fastgpu cpu\nimport asyncio\nawait asyncio.sleep(0)\n{ENVIRONMENT}\n"
    ran = waiting.run(on_cpu)
    assert (ran.status, ran.stream().strip()) == ("ok", WITHOUT)
    assert pool.state(waiting.lease_id) == "waiting"
    first.run("%fastgpu park")
    pool.wait_state(waiting.lease_id, "active")
    assert first.run("%%fastgpu cpu\nprint(1)").stream() == "1\n"
    assert pool.state(first.lease_id) == "parked"
    assert waiting.run(ENVIRONMENT).stream().strip() == GRANTED
    profiled = waiting.run("%%fastgpu profile\nprint(6 * 7)")
    assert profiled.kinds().index("stream") < profiled.kinds().index("display_data")
    profile = profiled.shown()
    assert "What this cell used" in profile[-1]
    assert "Time on the GPU" in profile[-1]
    # The error of a framework, and a verb that no cell can begin with.
    failed = waiting.run(
        "class OutOfMemoryError(RuntimeError):\n    __module__ = 'torch'\n"
        "%fastgpu resize half\nraise OutOfMemoryError('CUDA out of memory.')"
    )
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failed.reply["traceback"]))
    assert "OutOfMemoryError: CUDA out of memory." in traceback
    assert "Larger sizes that can be had now: full (80 GiB); for example `%fastgpu resize full`." in traceback
    assert "every other verb is a line of its own" in waiting.run("%%fastgpu status\nx").stream("stderr")


def test_tab_completes_verbs_and_sizes(pool: PoolProcess, kernels: KernelHelper) -> None:
    client = kernels.start().client

    def completed(code: str) -> list[str]:
        answer = client.complete(code, reply=True, timeout=DEADLINE_S)
        matches: list[str] = answer["content"]["matches"]
        return matches

    assert {"release", "request", "resize", "resume"} <= set(completed("%fastgpu re"))
    assert "cpu" in completed("%%fastgpu c")
    wait_until(lambda: "half" in completed("%fastgpu resize h"), "the sizes are known")
    assert "low" in completed("x = 1\n%fastgpu request half --priority l")
