"""From the launch of a kernel to its first reply: FastGPU, from a standby kernel and cold, beside plain ipykernel.

From the root of the checkout, in an environment in which the project is installed:

    python tests/benchmarks/kernel_start.py [--pairs N] [--against COMMIT] [--part NAME ...] [--json FILE] [--check]

Kernels alternate in one run, so that what else the machine does meets all alike. A client sends its first cell as soon
as it may. The GPU is granted at once, by a pool of simulated devices in a folder of its own. Parts:

* ``manager``: through a ``MultiKernelManager``, python3 and FastGPU from standby;
* ``server``: the same through ``POST /api/sessions`` and a websocket of a Jupyter server;
* ``cold``: cold starts of FastGPU, beside python3 and, with ``--against``, beside another commit;
* ``five``: five FastGPU kernels at once, with one standby kernel ready and without any;
* ``cells``: the round trip of an empty cell on each kernel;
* ``idle``: memory (PSS) and processor time of a standby kernel that waits.

``--check`` ends with status 1 where a ratio is above its limit. ``preload.py`` measures imports ahead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if "--worker" not in sys.argv:  # a worker has the package that its environment names
    sys.path.insert(0, str(ROOT))
DEADLINE_S = 30.0
TOKEN = "the-token-of-the-benchmark"
STOCK, FASTGPU, COLD, OTHER = "python3", "fastgpu", "fastgpu cold", "other commit"
#: Part -> its ratios: what is measured, beside what, and the limit.
RATIOS: dict[str, list[tuple[str, str, float | None]]] = {
    "manager": [(FASTGPU, STOCK, 0.10)],
    "server": [(FASTGPU, STOCK, 0.10)],
    "cold": [(COLD, OTHER, 1.05), (COLD, STOCK, None)],
    "five": [(FASTGPU, COLD, 1.05)],
    "cells": [(FASTGPU, STOCK, 1.10)],
}
Samples = dict[str, Any]


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30, help="starts of each kernel")
    parser.add_argument("--cells", type=int, default=300, help="empty cells on each kernel")
    parser.add_argument("--against", help="the commit whose cold starts are measured, too")
    parser.add_argument("--part", action="append", choices=(*RATIOS, "idle"), help="measure this only")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--check", action="store_true", help="fail where a ratio is above its limit")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return asyncio.run(work())
    parts = options.part or [*RATIOS, "idle"]
    with tempfile.TemporaryDirectory(prefix="fastgpu-bench-") as name:
        folder = Path(name)
        isolate(folder)
        pool = start_pool(folder)
        try:
            report = asyncio.run(measure(folder, parts, options))
        finally:
            pool.terminate()
            pool.wait()
    rows = [row for part, figures in report.items() for row in rows_of(part, figures)]
    print(*(text for text, _ in rows), sep="\n")  # noqa: T201 (its purpose)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    failed = [text for text, is_within in rows if not is_within]
    if options.check and failed:
        print("Above the limit:", *failed, sep="\n", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def rows_of(part: str, figures: dict[str, Any]) -> list[tuple[str, bool]]:
    """The figures of a part for people, each with whether its ratio is within its limit."""
    if part == "idle":
        used = f"{figures['pss_mib']:.0f} MiB, {figures['cpu_ms_per_minute']:.1f} ms of processor time a minute"
        return [(f"{part:9} a standby kernel that waits: {used}", True)]
    rows = []
    for name, beside, limit in RATIOS[part]:
        if name not in figures or beside not in figures:
            continue
        one, other = (figures[key] for key in (name, beside))
        ratio = statistics.median(one) / statistics.median(other)
        verdict = "" if limit is None else f" (at most {limit:.2f})"
        text = f"{part:9} {name} {spread(one)}, {beside} {spread(other)}: {ratio:.3f} x{verdict}"
        rows.append((text, limit is None or ratio <= limit))
    return rows


def spread(seconds: list[float]) -> str:
    """Median and quartiles in milliseconds."""
    first, _, third = statistics.quantiles(seconds, n=4)
    return f"{1e3 * statistics.median(seconds):.1f} ms ({1e3 * first:.1f}-{1e3 * third:.1f})"


async def measure(folder: Path, parts: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """The samples of all parts, in seconds."""
    measures: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
        "manager": lambda: through_manager(options.pairs),
        "server": lambda: through_server(folder, options.pairs),
        "cold": lambda: cold_starts(folder, options.pairs, options.against),
        "five": lambda: five_at_once(max(4, options.pairs // 5)),
        "cells": lambda: empty_cells(options.cells),
        "idle": idle_kernel,
    }
    report = {}
    for part in parts:
        report[part] = await measures[part]()
    return report


# ---- set-up ----------------------------------------------------------------------------------------------------------


def isolate(folder: Path) -> None:
    """Let Jupyter and the pool use ``folder`` only."""
    for name in ("DATA", "RUNTIME", "CONFIG"):
        (folder / name).mkdir(mode=0o700)
        os.environ[f"JUPYTER_{name}_DIR"] = str(folder / name)
    os.environ["IPYTHONDIR"] = str(folder / "ipython")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    for name in [name for name in os.environ if name.startswith("FASTGPU_")]:
        del os.environ[name]
    shutil.copytree(ROOT / "kernels" / "fastgpu", folder / "DATA" / "kernels" / "fastgpu")


def start_pool(folder: Path) -> subprocess.Popen[bytes]:
    """A pool with eight simulated devices, once it answers."""
    from fastgpu_jupyter.errors import PoolUnreachable
    from fastgpu_jupyter.wire.client import PoolClient
    from fastgpu_jupyter.wire.locate import user_socket

    with (folder / "pool.out").open("wb") as out:
        command = [sys.executable, "-m", "fastgpu_jupyter", "pool", "--simulate", "8xA100-80GB"]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            PoolClient(user_socket()).health()
            return process
        except PoolUnreachable:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(0.02)


class Kernels:
    """Kernels of a multi-kernel manager in this process, with a standby kernel ready or without any."""

    def __init__(self, *, standby: bool) -> None:
        from jupyter_client.multikernelmanager import AsyncMultiKernelManager

        self.manager = AsyncMultiKernelManager(connection_dir=os.environ["JUPYTER_RUNTIME_DIR"])
        self.standby: Any = None
        if standby:
            from fastgpu_jupyter.server.standby import StandbyKernels

            self.standby = StandbyKernels(self.manager, wait_for_quiet=False)
            self.standby.start()

    async def until_ready(self) -> Any:
        """The standby kernel of the next launch, once it waits and no process of the last launches ends any more."""
        for _ in range(int(DEADLINE_S / 0.05)):
            if self.standby is None or self.standby.waiting:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        return None if self.standby is None else self.standby.waiting[0]

    async def start(self, name: str) -> tuple[str, float]:
        """The id of a new kernel, and the seconds from its launch to the reply of an empty cell."""
        began = time.perf_counter()
        kernel_id = await self.manager.start_kernel(kernel_name=name)
        client = self.manager.get_kernel(kernel_id).client()
        client.start_channels()
        await self.cell(client)
        took = time.perf_counter() - began
        client.stop_channels()
        return kernel_id, took

    @staticmethod
    async def cell(client: Any) -> None:
        """Send a cell that does nothing and wait for its reply; one without code would not pass the gate."""
        sent = client.execute("pass")
        while (reply := await client.get_shell_msg(timeout=DEADLINE_S))["parent_header"].get("msg_id") != sent:
            pass
        assert reply["content"]["status"] == "ok", reply

    async def timed(self, name: str) -> float:
        """The seconds of one start; the kernel is shut down."""
        kernel_id, took = await self.start(name)
        await self.manager.shutdown_kernel(kernel_id)
        return took

    async def end(self) -> None:
        """End all processes."""
        await self.manager.shutdown_all()
        if self.standby is not None:
            await self.standby.stop()


# ---- parts -----------------------------------------------------------------------------------------------------------


async def alternate(count: int, starts: dict[str, Callable[[], Awaitable[float]]]) -> Samples:
    """The seconds of ``count`` starts of each kind, in turns; the first of each is a warm-up and does not count."""
    samples: Samples = {name: [] for name in starts}
    for turn in range(count + 1):
        for name in starts if turn % 2 else reversed(starts):
            took = await starts[name]()
            if turn:
                samples[name].append(took)
    return samples


async def through_manager(pairs: int) -> Samples:
    """python3 and a standby kernel of FastGPU."""
    kernels = Kernels(standby=True)
    await kernels.timed("fastgpu")  # after the first use of a kernelspec, a standby kernel is kept ready

    async def start(name: str) -> float:
        await kernels.until_ready()
        return await kernels.timed(name)

    try:
        samples = await alternate(pairs, {STOCK: lambda: start("python3"), FASTGPU: lambda: start("fastgpu")})
    finally:
        await kernels.end()
    require_hits()
    return samples


def require_hits() -> None:
    """Fail where a start that was to be from standby was cold."""
    from fastgpu_jupyter.server.start_counters import counters

    unexpected = {key: count for key, count in counters.misses.items() if key[1] != "first_use"}
    assert not unexpected, (unexpected, counters.differed)


async def cold_starts(folder: Path, pairs: int, against: str | None) -> Samples:
    """Cold starts of FastGPU, python3, and FastGPU of another commit, each package in a process of its own."""
    trees = {COLD: ROOT}
    if against is not None:
        trees[OTHER] = unpack(against, folder / "other")
    async with worker(folder / "own", ROOT) as own:
        starts = {STOCK: lambda: own("python3"), COLD: lambda: own("fastgpu")}
        if against is None:
            return await alternate(pairs, starts)
        async with worker(folder / "others", trees[OTHER]) as other:
            return await alternate(pairs, {**starts, OTHER: lambda: other("fastgpu")})


def unpack(commit: str, folder: Path) -> Path:
    """The package of another commit."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, "fastgpu_jupyter", "kernels"], stdout=subprocess.PIPE, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@asynccontextmanager
async def worker(folder: Path, tree: Path) -> AsyncIterator[Callable[[str], Awaitable[float]]]:
    """A process with the package in ``tree`` and a pool of its own; it returns the seconds of a cold start."""
    folder.mkdir()  # noqa: ASYNC240 (at once)
    env = {**os.environ, "PYTHONPATH": str(tree), "FASTGPU_BENCHMARK_FOLDER": str(folder)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--worker", env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    reader, writer = process.stdout, process.stdin

    async def start(name: str) -> float:
        writer.write(f"{name}\n".encode())
        return float(await reader.readline())

    try:
        yield start
    finally:
        writer.close()
        await process.wait()


async def work() -> int:
    """Start the kernels that are named on standard input."""
    folder = Path(os.environ.pop("FASTGPU_BENCHMARK_FOLDER"))
    tree = os.environ["PYTHONPATH"]
    isolate(folder)
    os.environ["PYTHONPATH"] = tree
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # kernels may write to it
    pool, kernels = start_pool(folder), Kernels(standby=False)
    try:
        while name := (await asyncio.to_thread(sys.stdin.readline)).strip():
            await asyncio.sleep(0.3)
            print(await kernels.timed(name), file=out, flush=True)
    finally:
        await kernels.end()
        pool.terminate()
        pool.wait()
    return 0


async def five_at_once(turns: int) -> Samples:
    """Five kernels that are started together, until the last one has replied."""
    both = {FASTGPU: Kernels(standby=True), COLD: Kernels(standby=False)}
    await both[FASTGPU].timed("fastgpu")

    def five(kernels: Kernels) -> Callable[[], Awaitable[float]]:
        async def start() -> float:
            await kernels.until_ready()
            began = time.perf_counter()
            started = await asyncio.gather(*(kernels.start("fastgpu") for _ in range(5)))
            took = time.perf_counter() - began
            await asyncio.gather(*(kernels.manager.shutdown_kernel(kernel_id) for kernel_id, _ in started))
            return took

        return start

    try:
        return await alternate(turns, {name: five(kernels) for name, kernels in both.items()})
    finally:
        for kernels in both.values():
            await kernels.end()


async def empty_cells(count: int) -> Samples:
    """Round trips of empty cells, one on each kernel in turn."""
    kernels = Kernels(standby=False)
    samples: Samples = {STOCK: [], FASTGPU: []}
    clients: dict[str, Any] = {}
    for name in samples:
        kernel_id, _ = await kernels.start(name)
        clients[name] = kernels.manager.get_kernel(kernel_id).client()
        clients[name].start_channels()
    for turn in range(count + 20):
        for name in samples if turn % 2 else reversed(samples):
            began = time.perf_counter()
            await kernels.cell(clients[name])
            if turn >= 20:
                samples[name].append(time.perf_counter() - began)
            while await clients[name].iopub_channel.msg_ready():
                await clients[name].get_iopub_msg(timeout=1)
    for client in clients.values():
        client.stop_channels()
    await kernels.end()
    return samples


async def idle_kernel(seconds: float = 10.0) -> dict[str, float]:
    """Memory and processor time of a standby kernel that waits for ``seconds``."""
    from fastgpu_jupyter.wire.host_memory import proportional_bytes

    kernels = Kernels(standby=True)
    await kernels.timed("fastgpu")
    pid = (await kernels.until_ready()).pid
    before = cpu_seconds(pid)
    await asyncio.sleep(seconds)
    used, memory_bytes = cpu_seconds(pid) - before, proportional_bytes(pid)
    await kernels.end()
    return {"pss_mib": (memory_bytes or 0) / 2**20, "cpu_ms_per_minute": used * 1e3 * 60 / seconds}


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def through_server(folder: Path, pairs: int) -> Samples:
    """The same through a Jupyter server."""
    async with running_server(folder) as url:
        # Before the first start that counts, standby kernels are ready.
        return await alternate(pairs, {name: server_start(url, name) for name in (STOCK, FASTGPU)})


@asynccontextmanager
async def running_server(folder: Path) -> AsyncIterator[str]:
    """A Jupyter server with the extension; the address at which it answers."""
    root, log = folder / "notebooks", folder / "server.out"
    root.mkdir()
    command = [
        sys.executable, "-m", "jupyter_server", "--port=0", "--no-browser", "--allow-root",
        f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={TOKEN}",
        "--ServerApp.jpserver_extensions=fastgpu_jupyter=True", "--StandbyKernels.wait_for_quiet=False",
    ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        while "http://127.0.0.1:" not in log.read_text():
            await asyncio.sleep(0.1)
            assert process.poll() is None, log.read_text()
        port = log.read_text().partition("http://127.0.0.1:")[2].partition("/")[0]
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def server_start(address: str, name: str) -> Callable[[], Awaitable[float]]:
    """What a front end does when a notebook is opened and its first cell is run at once."""
    from tornado.httpclient import AsyncHTTPClient, HTTPRequest
    from tornado.websocket import websocket_connect

    http, headers = AsyncHTTPClient(), {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}

    async def start() -> float:
        await until_waiting()
        path, client = f"{uuid.uuid4()}.ipynb", uuid.uuid4().hex
        body = json.dumps({"path": path, "name": path, "type": "notebook", "kernel": {"name": name}})
        began = time.perf_counter()
        answer = await http.fetch(f"http://{address}/api/sessions", method="POST", headers=headers, body=body)
        session = json.loads(answer.body)
        channels = f"ws://{address}/api/kernels/{session['kernel']['id']}/channels?session_id={client}"
        socket = await websocket_connect(HTTPRequest(channels, headers=headers))
        await socket.write_message(json.dumps(execute_request(client)))
        while json.loads(await socket.read_message() or "null")["msg_type"] != "execute_reply":
            pass
        took = time.perf_counter() - began
        socket.close()
        await http.fetch(f"http://{address}/api/sessions/{session['id']}", method="DELETE", headers=headers)
        return took

    return start


def execute_request(session: str) -> dict[str, Any]:
    """A cell that does nothing."""
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": session,
              "version": "5.3", "date": ""}  # fmt: skip
    content = {"code": "pass", "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }


async def until_waiting() -> None:
    """Wait until the server says that a standby kernel is ready."""
    from fastgpu_jupyter.wire import standby_status

    await asyncio.sleep(0.5)  # what it says may be of before the last start
    for _ in range(int(DEADLINE_S / 0.1)):
        if any(status.waiting for status in standby_status.read()):
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
