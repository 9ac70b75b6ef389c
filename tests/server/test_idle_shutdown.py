"""The idle policy with a real pool manager, a real server and real kernels."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers import PoolProcess, ServerProcess
from tests.views import value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

#: A thread that uses a part of a processor core, which a simulated device shows as its utilization.
BACKGROUND = """
import threading, time
ends = threading.Event()
def work():
    while not ends.wait(0.02):
        until = time.monotonic() + 0.01
        while time.monotonic() < until:
            pass
threading.Thread(target=work, daemon=True).start()
"""


def test_kernel_that_computes_in_the_background_lives_and_an_idle_one_is_shut_down(
    pool: PoolProcess, jupyter: ServerProcess
) -> None:
    pool.end()
    pool.simulate = "2xA100-80GB"
    pool.start(
        "--Idle.notify_s=2", "--Idle.park_s=0", "--Idle.shut_down_s=5", "--Idle.window_s=2", "--Idle.warning_s=1"
    )
    jupyter.start("--FastGPUExtension.idle_check_interval_s=0.5")

    def lease_of(notebook: str) -> Any:
        _, answer = jupyter.call("GET", "fastgpu/api/leases")
        return next(view for view in answer["leases"] if view["holder"]["notebook"].endswith(notebook))

    def kernel_ids() -> set[str]:
        return {one["id"] for one in jupyter.call("GET", "api/kernels")[1]}

    computing = jupyter.start_session("computes.ipynb", kernel="fastgpu")
    kernel = jupyter.kernel(computing)
    kernel.run(BACKGROUND)
    idle = jupyter.start_session("idle.ipynb")
    wait_until(lambda: lease_of("idle.ipynb")["idle"]["taken"] == "notify", "its user is notified")
    wait_until(lambda: idle["kernel"]["id"] not in kernel_ids(), "the idle kernel is shut down")
    ended = lease_of("idle.ipynb")
    assert value_of(ended["end_reason"]) == "idle"
    assert "shut down because no cell had run" in ended["notes"][0]["text"]

    view = lease_of("computes.ipynb")
    assert (view["state"], view["idle"]["gpu_idle_since"], view["idle"]["next"]) == ("active", None, None)
    assert view["idle"]["cells_idle_since"] is not None
    assert computing["kernel"]["id"] in kernel_ids()

    kernel.run("ends.set()")
    wait_until(lambda: lease_of("computes.ipynb")["idle"]["next"], "it is idle now")
    status, snoozed = jupyter.call("POST", f"fastgpu/api/leases/{view['id']}/snooze", {"for_ms": 3_600_000})
    assert status == 200
    assert snoozed["idle"]["next"]["at"] >= snoozed["idle"]["snoozed_until"]
    assert jupyter.call("POST", f"fastgpu/api/leases/{view['id']}/snooze", {"for_ms": "long"})[0] == 400
