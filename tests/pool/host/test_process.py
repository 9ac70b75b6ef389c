"""The identity of processes where it cannot be found out: that is not their end."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from fastgpu_jupyter.core.model.entities import Holder
from fastgpu_jupyter.errors import FastGPUError, HostFault, LimitReached, NotFound
from fastgpu_jupyter.pool.host import process
from fastgpu_jupyter.pool.host.process import HolderWatcher, holder_of, open_holder
from fastgpu_jupyter.wire.pidfd_process import PidfdProcess
from fastgpu_jupyter.wire.process_identity import start_time
from tests.core.world import BOOT
from tests.waiting import async_wait_until

NO_PROCESS = 2**22 + 1


def failing(number: int) -> Callable[[int], int]:
    def pidfd_open(_: int) -> int:
        raise OSError(number, os.strerror(number))

    return pidfd_open


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EMFILE, LimitReached),
        (errno.ENFILE, LimitReached),
        (errno.ENOMEM, LimitReached),
        (errno.EPERM, HostFault),
        (errno.ENOSYS, HostFault),
        (errno.ESRCH, NotFound),
    ],
)
def test_holder_of_with_an_error_is_gone_only_if_there_is_no_process(
    number: int, error: type[FastGPUError], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = holder_of(os.getpid(), BOOT)
    monkeypatch.setattr(os, "pidfd_open", failing(number))
    with pytest.raises(error):
        holder_of(os.getpid(), BOOT)
    if error is NotFound:
        assert open_holder(holder, BOOT) is None
    else:
        with pytest.raises(error):
            open_holder(holder, BOOT)


def test_holder_whose_files_cannot_be_read_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_: str) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(process, "read_proc_file", unreadable)
    with pytest.raises(LimitReached):
        holder_of(os.getpid(), BOOT)


def test_watcher_without_descriptors_tries_again_and_reports_only_the_real_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        ended: list[tuple[str, Holder]] = []
        watcher = HolderWatcher(BOOT, lambda lease_id, holder: ended.append((lease_id, holder)))
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            holder = holder_of(child.pid, BOOT)
            with monkeypatch.context() as patch:
                patch.setattr(process, "RETRY_S", 0)
                patch.setattr(os, "pidfd_open", failing(errno.EMFILE))
                watcher.watch("lease", holder)
                await async_wait_until(lambda: watcher._retries, "it is to be tried again")
                assert ended == []
            await async_wait_until(lambda: not watcher._retries, "it is watched")
            assert ended == []
            child.kill()
        await async_wait_until(lambda: ended, "the end is reported")
        assert ended == [("lease", holder)]
        watcher.close()

    asyncio.run(story())


def test_watcher_forgets_a_holder_that_it_could_not_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        watcher = HolderWatcher(BOOT, lambda *_: pytest.fail("reported"))
        holder = holder_of(os.getpid(), BOOT)
        monkeypatch.setattr(os, "pidfd_open", failing(errno.EMFILE))
        watcher.watch("lease", holder)
        watcher.forget("lease")
        assert not watcher._retries
        watcher.close()

    asyncio.run(story())


def test_adopted_process_without_descriptors_is_not_taken_for_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pidfd_open", failing(errno.EMFILE))
            adopted = PidfdProcess(child.pid, start_time(child.pid))
            assert adopted.poll() is None
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                adopted.terminate()
        assert adopted.poll() is None
        adopted.kill()
        assert adopted.wait() == -1
    assert PidfdProcess(NO_PROCESS, 1).poll() == -1
