"""What it costs to watch 8 GPUs with 64 leases, and what each more reader costs, beside pollers that each ask NVML.

A real pool manager runs on the stub of ``libnvidia-ml.so.1`` (``tests/nvml``) with 64 leases on 8 GPUs, each held by a
process of its own that is on its GPU and computes. Its processor time (of the scheduler, in nanoseconds) is taken over
some seconds with 0, 1, 10 and 100 readers, each of which reads all of the event stream in another process.

The control is a dashboard in which each viewer asks NVML by itself, as jupyterlab-nvdashboard's does: for each of its
panels a timer that reads all GPUs and sends what it read as JSON. Assumed are its panels of utilization, memory,
resources (utilization, memory, PCIe) and PCIe, with the calls that each makes, once a second as its settings have it
by default; and a list of processes, without which a lease's part could not be told. It is measured in the same run, on
the same stub, without the web server that would send its messages, which is to its advantage. The stub answers from
memory: a real driver takes longer for each call, which costs a poller more than the pool, which asks once for all.

    python tests/benchmarks/telemetry.py [--seconds S] [--gpus N] [--leases N] [--json FILE] [--check]

Measured on 2026-11-23 with 2 cores that others used too (load average 2 to 11), at ``nice -n 19``: sampling 0.36 to
0.41 % of a core; one more reader, of 100, 0.037 ms a second, 0.04 of a viewer. Of 3.8 ms a second the event loop's
thread took 1.7, the sampler's 1.8, looks at the devices 0.15, and the stub's own wait for events, where a real driver
blocks, 0.24. The version before took 0.67 and 0.72 % in the same minutes, 0.11 and 0.13 of that in the stub's wait.

``--check`` ends with status 1 where sampling takes more than 0.5 % of one core, or one more reader more than a tenth
of such a viewer.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
# ruff: noqa: E402, T201

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient, new_token
from tests.compiled import Compiler
from tests.nvml.machine import FakeMachine
from tests.nvml.stub import Stub
from tests.views import device_of

SAMPLING_PERCENT_MAX = 0.5
READER_PART_MAX = 0.1
READERS = (0, 1, 10, 100)
POLLERS = {"each second": 1.0, "each 100 ms": 0.1}
DEADLINE_S = 60.0
GIB = 2**30


# -- processes of their own -------------------------------------------------------------------------------------------


def read(path: str, count: int) -> None:
    """Read so many event streams until standard input ends; says how many messages came, all together."""
    selector, buffers, lines = selectors.DefaultSelector(), dict[Any, int](), 0
    for _ in range(count):
        sock = unixsocket.connect(Path(path), 30)
        sock.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        selector.register(sock, selectors.EVENT_READ)
        buffers[sock] = 0
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("reads", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                print(lines, flush=True)
                return
            lines += key.fileobj.recv(2**20).count(b'{"type":"usage"')  # type: ignore[union-attr]


def poll(period_s: float) -> None:
    """Ask NVML as one viewer of a dashboard does, until killed."""
    import pynvml as nvml

    nvml.nvmlInit()
    gpus = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]

    def memory() -> list[tuple[int, int]]:
        infos = [(nvml.nvmlDeviceGetMemoryInfo(gpu), nvml.nvmlDeviceGetMemoryInfo(gpu)) for gpu in gpus]
        return [(used.used, total.total) for used, total in infos]

    def pcie() -> list[list[int]]:
        return [[nvml.nvmlDeviceGetPcieThroughput(gpu, counter) for gpu in gpus] for counter in (0, 1)]

    def utilization() -> list[int]:
        return [nvml.nvmlDeviceGetUtilizationRates(gpu).gpu for gpu in gpus]

    def processes() -> list[list[tuple[int, int]]]:
        listed = (nvml.nvmlDeviceGetComputeRunningProcesses(gpu) for gpu in gpus)
        return [[(one.pid, one.usedGpuMemory) for one in processes] for processes in listed]

    panels = (utilization, memory, lambda: (utilization(), memory(), pcie()), pcie, processes)
    print("polls", flush=True)
    next_s = time.monotonic()
    while True:
        for panel in panels:
            json.dumps(panel())
        next_s += period_s
        time.sleep(max(0.0, next_s - time.monotonic()))


# -- measuring --------------------------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """Processor time of all threads of a process, to the nanosecond."""
    stats = (Path(task, "schedstat").read_text() for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int(stat.split()[0]) for stat in stats) / 1e9


def cpu_per_s(pid: int, seconds: float) -> float:
    """Seconds of processor time a second, over so many."""
    began, before = time.monotonic(), cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - before) / (time.monotonic() - began)


@contextmanager
def running(*words: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A Python program in another process."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path} | environment
    with subprocess.Popen([sys.executable, *words], stdin=-1, stdout=-1, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def in_role(*words: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """This program in one of the roles above, once it has said that it is ready."""
    with running(str(Path(__file__)), *words, environment=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


def hold_leases(client: PoolClient, machine: FakeMachine, count: int, stack: ExitStack) -> list[str]:
    """So many leases, each with a process that is on its GPU."""
    gpus, lease_ids = {gpu.uuid: gpu for gpu in machine.gpus}, []
    for _ in range(count):
        kernel = stack.enter_context(subprocess.Popen(["sleep", "3600"]))
        stack.callback(kernel.kill)
        token = new_token()
        lease = client.request("eighth", token=token)
        client.bind(lease["id"], token, kernel.pid)
        gpus[str(device_of(lease))].add_process(
            kernel.pid, GIB, utilization=10, stays=True
        )  # else the stub looks at it in each call
        lease_ids.append(lease["id"])
    return lease_ids


def measure(gpus: int, leases: int, seconds: float) -> dict[str, Any]:
    """All figures."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("A C compiler is needed to build the stub of libnvidia-ml.so.1.")
    with tempfile.TemporaryDirectory(prefix="fastgpu-telemetry-") as name, ExitStack() as stack:
        folder = Path(name)
        for part in ("state", "run"):
            (folder / part).mkdir(mode=0o700)
        machine = FakeMachine(folder / "nvml", f"{gpus}xA100-SXM4-80GB")
        stack.callback(machine.close)
        environment = Stub(Compiler(compiler, folder)).environment(machine)
        path = folder / "run" / "pool.sock"
        settings = [f"--FastGPUPool.state_dir={folder / 'state'}", f"--FastGPUPool.socket_path={path}"]
        command = ["-m", "fastgpu_jupyter", "pool", *settings, "--Devices.simulate="]
        pool = stack.enter_context(running(*command, environment=environment))
        client = _until_served(path, pool)
        lease_ids = hold_leases(client, machine, leases, stack)
        _until_sampled(client, lease_ids)
        report: dict[str, Any] = {"gpus": gpus, "leases": leases, "seconds": seconds, "readers": {}, "pollers": {}}
        for count in READERS:
            with in_role("read", str(path), str(count), environment={}) as readers:
                time.sleep(2.0)  # the first message of each is all there is, which is not what is measured
                report["readers"][count] = cpu_per_s(pool.pid, seconds)
                messages = int(readers.communicate("\n", timeout=DEADLINE_S)[0])
                if messages < 0.8 * count * seconds:
                    raise SystemExit(
                        f"{count} readers had {messages} messages in {seconds} seconds: not each second's."
                    )
        for often, period_s in POLLERS.items():
            with in_role("poll", str(period_s), environment=environment) as poller:
                report["pollers"][often] = cpu_per_s(poller.pid, seconds)
        _until_sampled(client, lease_ids)  # and they were to the end
    return _judged(report)


def _judged(report: dict[str, Any]) -> dict[str, Any]:
    alone, most = report["readers"][0], max(READERS)
    report["sampling_percent"] = 100 * alone
    report["sampling_s_per_hour"] = 3600 * alone
    report["per_reader_s"] = {count: (report["readers"][count] - alone) / count for count in READERS if count}
    per_poller_s = report["pollers"]["each second"]
    report["reader_part"] = report["per_reader_s"][most] / per_poller_s
    report["kept"] = report["sampling_percent"] <= SAMPLING_PERCENT_MAX and report["reader_part"] <= READER_PART_MAX
    return report


def _until_served(path: Path, pool: subprocess.Popen[str]) -> PoolClient:
    client, deadline = PoolClient(path), time.monotonic() + DEADLINE_S
    while True:
        try:
            client.health()
        except FastGPUError:
            if pool.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return client


def _until_sampled(client: PoolClient, lease_ids: list[str]) -> None:
    """Until each lease is seen to use what its process does: cheap figures that are wrong would be no figures."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        seen = {
            lease["id"]: (lease["memory"]["used_bytes"], lease["usage"]["utilization_percent"])
            for lease in client.leases()
        }
        if all(seen.get(lease_id) == (GIB, 10) for lease_id in lease_ids):
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"Not every lease is seen to use what it does: {seen}")
        time.sleep(0.2)


def table(report: dict[str, Any]) -> str:
    """The report as a table."""
    sampling, part = report["sampling_percent"], report["reader_part"]
    kept = ["missed", "kept"]
    of_core, of_viewer = kept[sampling <= SAMPLING_PERCENT_MAX], kept[part <= READER_PART_MAX]
    lines = [
        f"{report['gpus']} GPUs, {report['leases']} leases, {report['seconds']:g} s for each line",
        f"{'processor time':<34}{'ms a second':>13}{'s an hour':>11}{'of a core':>11}",
    ]
    rows = [(f"pool manager, {count} readers", value) for count, value in report["readers"].items()]
    rows += [(f"one more reader, of {count}", value) for count, value in report["per_reader_s"].items()]
    rows += [(f"one viewer that asks NVML {name}", value) for name, value in report["pollers"].items()]
    lines += [f"{name:<34}{1000 * value:>13.3f}{3600 * value:>11.2f}{100 * value:>10.3f}%" for name, value in rows]
    lines += [
        f"sampling: {sampling:.3f} % of a core, at most {SAMPLING_PERCENT_MAX} %: {of_core}",
        f"a reader: {part:.3f} of such a viewer, at most {READER_PART_MAX}: {of_viewer}",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run, print, and say whether the targets are kept."""
    roles: dict[str, Any] = {
        "read": lambda path, count: read(path, int(count)),
        "poll": lambda period_s: poll(float(period_s)),
    }
    if len(sys.argv) > 1 and sys.argv[1] in roles:
        roles[sys.argv[1]](*sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="for each line")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--leases", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--check", action="store_true", help="end with 1 where a target is missed")
    options = parser.parse_args()
    report = measure(options.gpus, options.leases, options.seconds)
    print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if options.check and not report["kept"] else 0


if __name__ == "__main__":
    sys.exit(main())
