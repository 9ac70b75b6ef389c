"""A cell as a job in real processes: from a kernel that waits for its GPU, with results, an error and the cache."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fastgpu_jupyter.jobs.client import JobsClient
from fastgpu_jupyter.jobs.rendering import MIME
from tests.helpers import Kernel, KernelHelper, PoolProcess, Ran

CELL = """%%fastgpu job --size half --in n --out drawn,total --seed 7 --cache
import random
drawn = random.random()
total = doubled(n)
print("computed")
"""


def states(ran: Ran) -> list[str]:
    """The states of the job that a cell showed, in order."""
    shown = [message["content"] for message in ran.messages if "data" in message["content"]]
    return [one["data"][MIME]["view"]["state"] for one in shown if MIME in one["data"]]


def error_of(ran: Ran) -> str:
    """The traceback that a cell showed."""
    [error] = [message["content"] for message in ran.messages if message["msg_type"] == "error"]
    return "\n".join(error["traceback"])


def waiting_kernel(kernels: KernelHelper, pool: PoolProcess) -> tuple[Kernel, Kernel]:
    """Return a kernel that has the only GPU, and one that waits for it."""
    first = kernels.start(notebook="first.ipynb")
    pool.wait_state(first.lease_id, "active")
    first.run("%fastgpu pin")
    second = kernels.start(notebook="second.ipynb")
    return first, second


@pytest.mark.slow
def test_cell_runs_as_a_job_while_its_kernel_waits_and_gives_its_results_back(
    pool: PoolProcess, dispatched: JobsClient, kernels: KernelHelper
) -> None:
    first, second = waiting_kernel(kernels, pool)
    assert pool.state(second.lease_id) == "waiting"
    # Other cells of this kernel would wait, so its variables are defined without its GPU.
    second.run("%%fastgpu cpu\nn = 21\ndef doubled(n):\n    return n * 2\n")
    submitted = second.run(CELL)
    assert (submitted.status, states(submitted)) == ("ok", ["queued"])
    assert pool.state(second.lease_id) == "waiting"
    first.run("%fastgpu release")
    second.run("%fastgpu release")

    taken = second.run("job.result()")
    assert states(taken)[-1] == "done"
    assert second.value("(drawn, total)") == str((random.Random(7).random(), 42))
    assert second.run("job.show()").stream() == "computed\n"

    again = second.run(CELL + "# the same work\n")
    assert dispatched.wait(2, 30)["state"] == "done"
    view: Any = dispatched.job(2)
    assert again.status == "ok"
    assert view["cache"]["outcome"] == "hit"
    assert view["attempt"] == 0
    assert second.value("job.result()['total']") == "42"

    second.run("%%fastgpu job --in n\nprint(n[0])")
    failed = error_of(second.run("job.result()"))
    assert "print(n[0])" in failed
    assert "JobFailed: Job 3 failed: TypeError" in failed
    assert "handle.py" not in failed
