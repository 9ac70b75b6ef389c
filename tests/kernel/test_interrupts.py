"""SIGINT in this process, whose main thread stands for the main shell of a kernel and another for a subshell."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from fastgpu_jupyter.kernel.interrupts import Interrupts
from tests.waiting import DEADLINE_S


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    saved, descriptor = signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1)
    found = Interrupts()
    found.install()
    yield found
    signal.signal(signal.SIGINT, saved)
    os.close(signal.set_wakeup_fd(descriptor))  # the end of what the thread reads, if there is one
    assert found._signals is not None
    if found._reader is None:
        found._signals.close()
    else:
        found._reader.join(DEADLINE_S)


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

    def was_stopped(self) -> bool:
        return self.stopped.wait(DEADLINE_S)


def test_sigint_stops_the_cells_of_subshells_while_the_main_shell_is_idle(interrupts: Interrupts) -> None:
    signal.raise_signal(signal.SIGINT)  # nothing waits: nothing happens, and it stops no later wait
    subshells = [Subshell(interrupts) for _ in range(2)]
    assert not any(subshell.stopped.wait(0.05) for subshell in subshells)
    signal.raise_signal(signal.SIGINT)
    assert all(subshell.was_stopped() for subshell in subshells)


@pytest.mark.parametrize("handler", [signal.default_int_handler, lambda _signum, _frame: None])
def test_sigint_stops_the_cells_of_subshells_and_is_that_of_a_cell_that_runs(
    interrupts: Interrupts, handler: Any
) -> None:
    subshell = Subshell(interrupts)
    signal.signal(signal.SIGINT, handler)  # ipykernel does this, or the user
    frames = 0
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as interrupt:
        frames = len(traceback.extract_tb(interrupt.__traceback__))
    assert frames == (handler is signal.default_int_handler)  # of this test alone: users read the traceback
    assert subshell.was_stopped()


def test_sigint_stops_a_cell_of_the_main_shell_that_waits_and_interrupts_nothing(interrupts: Interrupts) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    subshell, stopped = Subshell(interrupts), threading.Event()
    with interrupts.stopping(stopped.set):
        signal.raise_signal(signal.SIGINT)
    assert stopped.is_set()
    assert subshell.was_stopped()
    with pytest.raises(KeyboardInterrupt):  # the handler of the cell is back
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_process_does_not_write_to_the_descriptor_of_its_parent(interrupts: Interrupts) -> None:
    subshell = Subshell(interrupts)
    child = os.fork()
    if not child:
        signal.raise_signal(signal.SIGINT)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not subshell.stopped.wait(0.05)
    signal.raise_signal(signal.SIGINT)
    assert subshell.was_stopped()


def test_install_outside_the_main_thread_changes_nothing() -> None:
    saved = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=Interrupts().install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is saved
