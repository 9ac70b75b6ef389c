"""Kernels of a Jupyter server in jobs of a real Slurm, as a notebook's user sees them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nbclient
import nbformat
import pytest

from fastgpu_jupyter.wire import kept_kernels
from tests.helpers import PoolProcess, ServerProcess
from tests.server.kernel_socket import KernelSocket, kernel_socket
from tests.slurm.cluster import SlurmCluster
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
#: FastGPU's kernelspec, for one A100 of a node that runs this checkout.
KERNEL = "fastgpu-on-node"
#: The same for all A100 of the cluster.
BIG = "fastgpu-big"
#: Prints before and after the end of the server that reads from the file, which is gone with it.
OUTLIVES = """
import pathlib, time
print("begins", flush=True)
while pathlib.Path("/proc/{server}/stat").exists():
    time.sleep(0.02)
time.sleep(1)
print("ends")
x + 1
"""


class Notebooks(NamedTuple):
    """A Jupyter server whose pool leases the GPUs of a Slurm."""

    pool: PoolProcess
    jupyter: ServerProcess
    slurm: SlurmCluster

    def jobs(self) -> dict[str, str]:
        """The jobs that are not over: name -> state."""
        rows = self.slurm.run("squeue", "-h", "-o", "%j %T").split("\n")
        return dict(row.split() for row in rows if row.strip())

    def lease(self, kernel_id: str) -> dict[str, Any]:
        """The live lease of a kernel."""
        (found,) = [view for view in self.pool.live() if view["holder"]["kernel_id"] == kernel_id]
        return found


def write_spec(name: str, size: str, **changes: Any) -> None:
    """Write a kernelspec like FastGPU's, for nodes that have this checkout."""
    kernelspecs = Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels"
    spec = {**json.loads((kernelspecs / "fastgpu" / "kernel.json").read_text()), **changes}
    spec["env"] = {"PYTHONPATH": str(ROOT)}  # a job has little of the environment of its user
    spec["metadata"]["fastgpu"]["profile"] = size
    (kernelspecs / name).mkdir(exist_ok=True)
    (kernelspecs / name / "kernel.json").write_text(json.dumps(spec))


@pytest.fixture
def notebooks(isolated: Path, installed: None, slurm: SlurmCluster) -> Iterator[Notebooks]:
    write_spec(KERNEL, "a100")
    write_spec(BIG, "2xa100")
    found = Notebooks(PoolProcess(isolated, ""), ServerProcess(isolated), slurm)
    try:
        found.pool.start("--FastGPUPool.cluster=slurm")
        found.jupyter.start("--FastGPUProvisioner.cluster_wait_s=20")
        yield found
    finally:
        found.jupyter.end()
        found.pool.end()


def test_notebook_runs_on_a_node_of_slurm(notebooks: Notebooks) -> None:
    """One journey, because each start of a server and of a job takes seconds."""
    pool, jupyter, slurm = notebooks
    session = jupyter.start_session("a.ipynb", KERNEL)
    kernel_id = session["kernel"]["id"]
    lease = notebooks.lease(kernel_id)
    job = lease["cluster"]
    assert notebooks.jobs() == {job["job_name"]: "RUNNING"}
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        assert socket.run("import os, time; x = 41; print(os.environ['SLURM_JOB_ID'])").strip() == job["job_id"]
        pid = socket.run("print(os.getpid())").strip()
        _expect_commands_to_work(socket)
        cell = socket.send("print('begins', flush=True)\ntime.sleep(60)")
        socket.wait(cell, "stream")
        assert jupyter.call("POST", f"api/kernels/{kernel_id}/interrupt")[0] == 204
        assert socket.wait(cell, "execute_reply")["ename"] == "KeyboardInterrupt"
        assert jupyter.call("POST", f"api/kernels/{kernel_id}/restart")[0] == 200
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        again = socket.run("import os; x = 41; print(os.environ['SLURM_JOB_ID'], os.getpid())").split()
        assert again[0] == job["job_id"]
        assert again[1] != pid
        cell = socket.send(OUTLIVES.format(server=jupyter.pid))
        socket.wait(cell, "stream")
        jupyter.kill()
    wait_until(lambda: notebooks.lease(kernel_id)["holder"]["orphaned_at"], "the pool knows that the server is gone")
    jupyter.start("--FastGPUProvisioner.cluster_wait_s=2")
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        assert socket.wait(cell, "execute_reply")["status"] == "ok"
        assert socket.wait(cell, "execute_result")["data"]["text/plain"] == "42"
        assert "ends" in socket.text(cell), "which is on the channel of the result, and before it"
        assert socket.run("print(os.getpid(), x)").split() == [again[1], "41"]
    wait_until(lambda: notebooks.lease(kernel_id)["holder"]["orphaned_at"] is None, "the lease has its holder")
    _expect_request_to_be_cancelled(notebooks)

    # The job is lost: the kernel is dead with the reason, and no other job is submitted.
    slurm.run("scancel", job["job_id"])
    kernel = wait_until(lambda: _dead(jupyter, kernel_id), "the kernel is dead")
    assert "cancelled in Slurm" in kernel["reason"]
    assert "Restart the kernel" in kernel["reason"]
    wait_until(lambda: not pool.live(), "the lease ends")
    assert notebooks.jobs() == {}
    # The user's own restart is another job.
    assert jupyter.call("POST", f"api/kernels/{kernel_id}/restart")[0] == 200
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        assert socket.run("import os; print(os.environ['SLURM_JOB_ID'])").strip() != job["job_id"]
    assert jupyter.call("DELETE", f"api/sessions/{session['id']}")[0] == 204
    wait_until(lambda: not pool.live() and not notebooks.jobs(), "the lease and the job end")
    assert list(kept_kernels.records()) == []


def _expect_commands_to_work(socket: KernelSocket) -> None:
    """The commands of the kernel reach the pool over its node's relay; what a cluster does not have says why."""
    assert "FastGPUKernel" in socket.run("print(type(get_ipython().kernel).__name__)")
    cell = socket.send("%fastgpu")
    assert "a100" in socket.wait(cell, "display_data")["data"]["text/plain"]
    for verb, why in (
        ("park", "cannot be parked"),
        ("resize half", "keeps its size"),
        ("release", "would end with it"),
    ):
        assert why in socket.run(f"%fastgpu {verb}")


def _expect_request_to_be_cancelled(notebooks: Notebooks) -> None:
    """A client that brought no lease gets a sentence when the cluster is full, and leaves nothing behind."""
    jobs = notebooks.jobs()
    body = {"path": "b.ipynb", "name": "b", "type": "notebook", "kernel": {"name": BIG}}
    status, answer = notebooks.jupyter.call("POST", "api/sessions", body)
    assert status == 500, answer
    assert "position 1 in its queue" in answer["message"]
    assert "The request was cancelled" in answer["message"]
    wait_until(lambda: notebooks.jobs().keys() == jobs.keys(), "the request is cancelled in Slurm")


def _dead(jupyter: ServerProcess, kernel_id: str) -> dict[str, Any] | None:
    """The kernel, once Jupyter says that it is dead."""
    _, kernel = jupyter.call("GET", f"api/kernels/{kernel_id}")
    return kernel if kernel["execution_state"] == "dead" else None


# ---- what happens to a job: python -m pytest with FASTGPU_SLURM_LONG, and make test-long PART=slurm --------------

LONG = pytest.mark.skipif(not os.environ.get("FASTGPU_SLURM_LONG"), reason="a part of make test-long")
#: The Jupyter server may grow by as much for each kernel on the cluster.
GROWTH_MAX_BYTES = 2**20


@LONG
def test_kernel_that_cannot_start_on_its_node_shows_what_it_wrote(notebooks: Notebooks) -> None:
    write_spec(KERNEL, "a100", argv=[sys.executable, "-c", "raise SystemExit('the library is missing')"])
    body = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": KERNEL}}
    status, answer = notebooks.jupyter.call("POST", "api/sessions", body)
    assert status == 500
    assert "the library is missing" in answer["message"]
    wait_until(lambda: not notebooks.jobs(), "nothing is left in Slurm")


@LONG
def test_kernel_without_fastgpu_on_its_node_is_plain_and_is_adopted(notebooks: Notebooks) -> None:
    write_spec(KERNEL, "a100", argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    jupyter = notebooks.jupyter
    kernel_id = jupyter.start_session("a.ipynb", KERNEL)["kernel"]["id"]
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        assert socket.run("x = 41; print(type(get_ipython().kernel).__name__)").strip() == "IPythonKernel"
    jupyter.kill()
    jupyter.start()
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        assert socket.run("print(x)").strip() == "41"
        notebooks.pool.kill()  # the kernel goes on, and the pool manager that is started next knows it
        assert socket.run("print(x + 1)").strip() == "42"
        assert jupyter.call("POST", f"api/kernels/{kernel_id}/interrupt")[0] == 204
        assert notebooks.lease(kernel_id)["state"] == "active"


@LONG
def test_controller_that_does_not_answer_ends_no_kernel(notebooks: Notebooks) -> None:
    jupyter, slurm = notebooks.jupyter, notebooks.slurm
    session = jupyter.start_session("a.ipynb", KERNEL)
    kernel_id = session["kernel"]["id"]
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        slurm.stop_controller()
        wait_until(lambda: _cluster(notebooks)["unanswered_since"], "the pool knows that Slurm is silent")
        assert socket.run("x = 1; print(x)").strip() == "1"
        assert jupyter.call("POST", f"api/kernels/{kernel_id}/restart")[0] == 200
        slurm.start_controller()
        wait_until(lambda: _cluster(notebooks)["unanswered_since"] is None, "Slurm answers", 90)
    assert jupyter.call("DELETE", f"api/sessions/{session['id']}")[0] == 204
    wait_until(lambda: not notebooks.jobs(), "the job ends")


@LONG
@pytest.mark.parametrize("how", ["node", "time", "agent"])
def test_lost_job_is_shown_with_its_reason_and_not_replaced(notebooks: Notebooks, how: str) -> None:
    jupyter, slurm = notebooks.jupyter, notebooks.slurm
    kernel_id = jupyter.start_session("a.ipynb", KERNEL)["kernel"]["id"]
    lease = notebooks.lease(kernel_id)
    job = lease["cluster"]
    if how == "node":
        slurm.run("scontrol", "update", f"NodeName={job['host']}", "State=DOWN", "Reason=test")
    elif how == "time":
        slurm.run("scontrol", "update", f"JobId={job['job_id']}", "TimeLimit=00:00:01")
    else:
        with kernel_socket(jupyter, kernel_id, "browser") as socket:
            os.kill(int(socket.run("import os; print(os.environ['JPY_PARENT_PID'])")), signal.SIGKILL)
    kernel = wait_until(lambda: _dead(jupyter, kernel_id), "the kernel is dead", 240)
    wait_until(lambda: not notebooks.pool.live(), "the lease ends", 60)
    assert notebooks.jobs() == {}
    reasons = {"node": "failed", "time": "time limit", "agent": "ended"}
    assert reasons[how] in kernel["reason"], kernel["reason"]


@LONG
def test_server_grows_by_little_for_each_kernel_on_the_cluster(notebooks: Notebooks) -> None:
    jupyter = notebooks.jupyter
    write_spec(KERNEL, "h100")
    jupyter.start_session("0.ipynb", KERNEL)  # with what the first one loads
    before = _memory(jupyter.pid)
    for number in range(1, 4):
        jupyter.start_session(f"{number}.ipynb", KERNEL)
    grown = (_memory(jupyter.pid) - before) / 3
    assert grown <= GROWTH_MAX_BYTES, f"{grown / 2**20:.2f} MiB for each kernel"


@LONG
def test_idle_kernel_is_culled_with_its_job(notebooks: Notebooks) -> None:
    jupyter = notebooks.jupyter
    jupyter.terminate()
    cull = "--MappingKernelManager.cull"
    jupyter.start(f"{cull}_idle_timeout=2", f"{cull}_interval=1", f"{cull}_connected=True")
    jupyter.start_session("a.ipynb", KERNEL)
    wait_until(lambda: not jupyter.call("GET", "api/kernels")[1], "the kernel is shut down")
    wait_until(lambda: not notebooks.pool.live() and not notebooks.jobs(), "the lease and the job end")


@LONG
def test_program_without_a_server_runs_a_notebook_on_a_node(notebooks: Notebooks) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import os; os.environ['SLURM_JOB_ID']")])
    nbclient.NotebookClient(notebook, kernel_name=KERNEL).execute()
    assert notebook.cells[0].outputs[0]["data"]["text/plain"].strip("'").isdigit()
    wait_until(lambda: not notebooks.pool.live() and not notebooks.jobs(), "the lease and the job end")


def _cluster(notebooks: Notebooks) -> Any:
    return notebooks.pool.client.pool()["cluster"]


def _memory(pid: int) -> int:
    """The private memory of a process, in bytes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Private_"))
