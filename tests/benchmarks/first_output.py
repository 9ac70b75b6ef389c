"""How long a user waits from the click on a kernel's card in the launcher to the first output of a cell.

A real JupyterLab in the system's Chromium: a click on the card, and as soon as JupyterLab runs cells, ``1 + 1``. In
turn: FastGPU's kernel from standby, the same without standby kernels, and stock ``python3``. JupyterLab itself opens
the notebook meanwhile, which is the larger part.

    python tests/benchmarks/first_output.py [--rounds 10]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
# ruff: noqa: E402, T201

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from fastgpu_jupyter.wire import standby_status
from tests.browser.conftest import LabProcess, chromium, lab_in
from tests.browser.lab_page import KERNEL, LabPage
from tests.conftest import isolate
from tests.waiting import wait_until

STOCK = "Python 3 (ipykernel)"
#: What is measured: the kernelspec's name in the launcher, and whether the server has standby kernels.
WAYS = {"standby": (KERNEL, True), "cold": (KERNEL, False), "python3": (STOCK, False)}


def first_output_ms(user: LabPage, kernel: str) -> float:
    """Return the time from the click on the card of ``kernel`` until the output of a cell is shown."""
    tile = user.launcher().locator(".jp-LauncherCard[data-category='Notebook']", has_text=kernel).first
    tile.wait_for()
    started = time.monotonic()
    tile.click()
    user.notebook().wait_for()
    user.wait_until_idle()
    expect(user.run("1 + 1")).to_contain_text("2")
    return (time.monotonic() - started) * 1000


def measure(browser: Browser, labs: dict[bool, LabProcess], rounds: int) -> dict[str, list[float]]:
    """Return the times of each way, in turn; the first of each fills caches and is left out."""
    users = {has_standby: LabPage(browser.new_context().new_page(), lab) for has_standby, lab in labs.items()}
    for user in users.values():
        user.open()
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for round_ in range(rounds + 1):
        for name, (kernel, has_standby) in WAYS.items():
            user = users[has_standby]
            user.page.bring_to_front()
            if name == "standby":
                wait_until(lambda: any(one.waiting for one in standby_status.read()), "a standby kernel waits", 120)
            took = first_output_ms(user, kernel)
            if round_:
                found[name].append(took)
            user.close_all()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="fastgpu-first-output-"))
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        isolate(folder, patch)
        labs = {has_standby: lab_in(folder) for has_standby in (True, False)}
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            for has_standby, lab in labs.items():
                lab.start(f"--StandbyKernels.count={int(has_standby)}", "--StandbyKernels.wait_for_quiet=False")
            found = measure(browser, labs, rounds)
            hits = sum(one.hits for one in standby_status.read())
        finally:
            browser.close()
            for lab in labs.values():
                lab.end()
    stock_ms = statistics.median(found["python3"])
    for name, times in found.items():
        median = statistics.median(times)
        print(f"{name:8} {median:.0f} ms ({min(times):.0f}-{max(times):.0f}), {median / stock_ms:.2f} x python3")
    print(f"{hits} of {rounds + 1} starts were from standby")


if __name__ == "__main__":
    main()
