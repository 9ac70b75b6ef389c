"""SIGINT in this process, whose main thread stands for the main shell of a kernel and another for a subshell."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from fastgpu_jupyter.kernel.interrupts import Interrupts
from tests.waiting import DEADLINE_S


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    saved = signal.getsignal(signal.SIGINT)
    yield Interrupts()
    signal.signal(signal.SIGINT, saved)


class Subshell(threading.Thread):
    """A thread whose cell waits until it is stopped."""

    def __init__(self, interrupts: Interrupts) -> None:
        super().__init__(daemon=True)
        self.waits, self.stopped = threading.Event(), threading.Event()
        self._interrupts = interrupts
        self.start()
        assert self.waits.wait(DEADLINE_S)

    def run(self) -> None:
        with self._interrupts.stopping(self.stopped.set):
            self.waits.set()
            self.stopped.wait(DEADLINE_S)


def test_sigint_stops_the_cells_of_subshells_while_the_main_shell_is_idle(interrupts: Interrupts) -> None:
    interrupts.install()
    signal.raise_signal(signal.SIGINT)  # nothing waits: nothing happens
    subshells = [Subshell(interrupts) for _ in range(2)]
    signal.raise_signal(signal.SIGINT)
    assert all(subshell.stopped.is_set() for subshell in subshells)


def test_sigint_stops_the_cells_of_subshells_and_interrupts_a_cell_that_runs(interrupts: Interrupts) -> None:
    interrupts.install_for_cell()
    subshell = Subshell(interrupts)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert subshell.stopped.is_set()


def test_sigint_stops_a_cell_of_the_main_shell_that_waits_and_interrupts_nothing(interrupts: Interrupts) -> None:
    interrupts.install_for_cell()
    subshell, stopped = Subshell(interrupts), threading.Event()
    with interrupts.stopping(stopped.set):
        signal.raise_signal(signal.SIGINT)
    assert stopped.is_set()
    assert subshell.stopped.is_set()
    with pytest.raises(KeyboardInterrupt):  # the handler of the cell is back
        signal.raise_signal(signal.SIGINT)


def test_install_outside_the_main_thread_changes_nothing(interrupts: Interrupts) -> None:
    saved = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=interrupts.install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is saved
