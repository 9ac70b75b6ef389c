"""The records of this server's kernels that may outlive it: written before a kernel starts, and kept current.

A kernel whose record cannot be written starts all the same, and ends with its server as it would without FastGPU.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..compat.jupyter_client import keep_connection_file, launch_arguments_of
from ..text import printable
from ..wire import variables
from .threads import in_thread

if TYPE_CHECKING:
    from jupyter_client.multikernelmanager import MultiKernelManager

    from ..wire.kept_kernels import Found
    from ..wire.schemas.kept_kernel import KeptKernel

#: Where a user may have several servers of the same root folder, each has its kernels.
HUB_PREFIX = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
NEVER, CRASH, ALWAYS = "never", "crash", "always"
KEEP = (NEVER, CRASH, ALWAYS)
#: Older sessions of one kernel are not restored.
SESSIONS_MAX = 64
SESSION_FIELDS = ("id", "path", "name", "type")


class KernelRecords:
    """The records that name this process as the server."""

    def __init__(self, keep: str, orphan_after_s: float, root: str, log: logging.Logger) -> None:
        """Take whether kernels are kept, for how long they wait for a server, and the server's root folder."""
        self.keep = keep
        self.orphan_after_s = orphan_after_s
        self.root = os.path.realpath(root)
        self._log = log
        self._records: dict[str, KeptKernel] = {}
        #: Makes the newest record the one that is in the file.
        self._lock = threading.Lock()

    @property
    def keep_ms(self) -> int:
        """Return how long a lease of a cluster lives on without this server, in milliseconds; 0 if it does not."""
        return 0 if self.keep == NEVER else int(1000 * self.orphan_after_s)

    def __contains__(self, kernel_id: object) -> bool:
        """Return whether the kernel may outlive this server."""
        return kernel_id in self._records

    async def starting(
        self, manager: Any, cmd: list[str], cwd: str | None, session_name: str | None, **fields: Any
    ) -> dict[str, str]:
        """Record a kernel whose process is about to be started, with ``fields``; return the variables that it needs.

        They are empty if the kernel is not kept.
        """
        if self.keep == NEVER:
            return {}
        kernel_id = manager.kernel_id
        arguments = {
            name: value
            for name, value in launch_arguments_of(manager).items()
            if name not in ("env", "cwd") and _is_plain(value)
        }
        launch = {"cmd": cmd, "cwd": cwd, "session_name": session_name, "arguments": arguments}
        try:
            path = await in_thread(self._begin, manager, launch, fields)
        except (OSError, ValueError) as error:
            self._log.warning("FastGPU: the kernel %s will end with this server: %s", kernel_id, printable(str(error)))
            return {}
        keep_connection_file(manager)
        return {
            variables.KEEP: self.keep,
            variables.ORPHAN_AFTER_S: repr(self.orphan_after_s),
            variables.KEPT: path,
        }

    async def changed(self, kernel_id: str, **fields: Any) -> None:
        """Record new values of fields of the kernel, if it is kept."""
        if kernel_id in self._records:
            await in_thread(self._change, kernel_id, fields)

    async def started(self, kernel_id: str, pid: int, **fields: Any) -> None:
        """Record which process the kernel is, with new values of other fields."""
        from ..wire.kept_kernels import recorded

        if kernel_id in self._records:
            await in_thread(lambda: self._change(kernel_id, {"kernel": recorded(pid), "restarting": False, **fields}))

    async def ended(self, kernel_id: str) -> None:
        """Remove the record and the connection file of a kernel that was shut down or not started."""
        if kernel_id in self._records:
            await in_thread(self._end, kernel_id)

    def take_over(self, found: Found) -> None:
        """Keep the record of a kernel current that this server has claimed."""
        self._records[found.record.kernel_id] = found.record

    def forget(self, kernel_id: str) -> None:
        """Leave the record of a kernel to the next server."""
        with self._lock:
            self._records.pop(kernel_id, None)

    async def session_changed(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """Record a session with its kernel, and no more with the kernel that it had before."""
        from ..wire.schemas.kept_kernel import RecordedSession

        session = RecordedSession(**{name: after[name] for name in SESSION_FIELDS})
        kernel_ids = [after["kernel"]["id"], *([] if before is None else [before["kernel"]["id"]])]
        for number, kernel_id in enumerate(dict.fromkeys(kernel_ids)):
            record = self._records.get(kernel_id)
            if record is not None:
                others = [one for one in record.sessions if one.id != session.id][1 - SESSIONS_MAX :]
                await self.changed(kernel_id, sessions=others if number else [*others, session])

    def _begin(self, manager: Any, launch: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
        from ..wire import kept_kernels
        from ..wire.schemas.kept_kernel import REMOTE_VERSION, VERSION, KeptKernel, RecordedLaunch

        with self._lock:
            before = self._records.get(manager.kernel_id)
            record = KeptKernel(
                version=REMOTE_VERSION if fields.get("remote") else VERSION,
                kernel_id=manager.kernel_id,
                kernelspec=manager.kernel_name,
                user=os.getuid(),
                root=self.root,
                hub_prefix=HUB_PREFIX,
                restarting=before is not None,
                keep="always" if self.keep == ALWAYS else "crash",
                orphan_after_s=self.orphan_after_s,
                server=kept_kernels.this_process(),
                connection_file=os.path.realpath(manager.connection_file),
                launch=RecordedLaunch(**launch),
                sessions=[] if before is None else before.sessions,
                created_at=time.time_ns() // 1_000_000,
                **fields,
            )
            path = kept_kernels.record_path(record.kernel_id)
            kept_kernels.remove(path)  # what an earlier process of this kernel wrote beside it
            kept_kernels.write(record)
            self._records[record.kernel_id] = record
            return str(path)

    def _change(self, kernel_id: str, fields: dict[str, Any]) -> None:
        from ..wire import kept_kernels

        with self._lock:
            record = self._records.get(kernel_id)
            if record is None or all(getattr(record, name) == value for name, value in fields.items()):
                return
            found = kept_kernels.Found(kept_kernels.record_path(kernel_id), record)
            try:
                self._records[kernel_id] = kept_kernels.replaced(found, **fields).record
            except (OSError, ValueError) as error:
                self._log.warning("FastGPU: the record of the kernel %s is old: %s", kernel_id, printable(str(error)))

    def _end(self, kernel_id: str) -> None:
        from ..wire import kept_kernels

        with self._lock:
            record = self._records.pop(kernel_id, None)
            if record is not None:
                kept_kernels.remove_with_connection(kept_kernels.Found(kept_kernels.record_path(kernel_id), record))


def _is_plain(value: Any) -> bool:
    """Return whether JSON holds a launch argument as it is."""
    if isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return value is None or isinstance(value, str | int | float | bool)


_RECORDS: WeakKeyDictionary[MultiKernelManager, KernelRecords] = WeakKeyDictionary()


def set_records(kernels: MultiKernelManager, records: KernelRecords) -> None:
    """Let the kernels that ``kernels`` starts from here on have records."""
    _RECORDS[kernels] = records


def records_of(kernels: Any) -> KernelRecords | None:
    """Return the records of the kernels of a multi-kernel manager; None where none are kept."""
    return _RECORDS.get(kernels) if kernels is not None else None
