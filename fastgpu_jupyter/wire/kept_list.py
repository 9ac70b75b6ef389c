"""The user's kernels that run on without a Jupyter server: their list, and how one of them is ended.

A server adopts those of its own root folder when it starts. What is left are kernels of other root folders, and those
that did not answer. The command line uses this module, too. Its functions block.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.model.lifecycle import BLOCKING_CELLS, OVER
from ..errors import Conflict, FastGPUError, HostFault, Message, NotFound
from . import kept_kernels
from .client import PoolClient
from .locate import pool_socket
from .pidfd_process import PidfdProcess

if TYPE_CHECKING:
    from .kept_kernels import Found
    from .schemas import KeptKernelView, LeaseView
    from .schemas.kept_kernel import KeptKernel

#: How long the pool manager, and a kernel that is to end, may take.
POOL_S, END_S = 2.0, 5.0


def listed() -> list[KeptKernelView]:
    """Return the kernels that run without a server, the longest first; what the pool does not say is unknown."""
    kept = list(_kept())
    leases: Sequence[LeaseView] = ()
    if kept:
        with suppress(FastGPUError, OSError):
            leases = PoolClient(pool_socket(), POOL_S).leases()
    views = [_view(found, leases) for found in kept]
    return sorted(views, key=lambda view: (view["since"] is None, view["since"], view["kernel_id"]))


def found_by(name: str) -> Found:
    """Return the kept kernel that ``name`` begins the id of, or names the notebook of: its path, or a path's end.

    Raises :class:`NotFound` if there is none, and :class:`Conflict` if there are several.
    """
    kept = list(_kept())
    found = [one for one in kept if one.record.kernel_id == name]
    found = found or [one for one in kept if one.record.kernel_id.startswith(name) or _is_notebook(one, name)]
    if not found or not name:
        raise NotFound(Message.of("kept.not_found", kernel=name))
    if len(found) > 1:
        raise Conflict(Message.of("kept.several", kernel=name, kernels=tuple(one.record.kernel_id for one in found)))
    return found[0]


def end(found: Found) -> None:
    """End a kernel as a shutdown does, which releases its lease, and at once where it does not end by itself.

    Raises :class:`Conflict` if a server has adopted it meanwhile, or its process cannot be told.
    """
    try:
        claimed = kept_kernels.claim(found)
    except OSError as error:
        raise HostFault(Message.of("host.detail", text=str(error))) from error
    if claimed is None:
        raise Conflict(Message.of("kept.adopted", kernel=found.record.kernel_id))
    if claimed.record.remote:
        _end_job(claimed)
        return
    identity = claimed.kernel()
    if identity is None:
        raise Conflict(Message.of("kept.starts", kernel=found.record.kernel_id))
    process = PidfdProcess(identity.pid, identity.start_time)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)  # of its cell, which would go on
        _ask_to_end(claimed.record.connection_file)
        try:
            process.wait(END_S)
        except TimeoutError:
            process.kill()
            process.wait(END_S)
    kept_kernels.remove_with_connection(claimed)


def _end_job(claimed: Found) -> None:
    """End the job in which a kernel of a cluster runs, by releasing its lease."""
    with suppress(NotFound):  # it has ended
        PoolClient(pool_socket(), POOL_S).release(str(claimed.record.lease_id))
    kept_kernels.remove_with_connection(claimed)


def _is_notebook(found: Found, name: str) -> bool:
    notebook = found.record.notebook or ""
    return notebook == name or notebook.endswith(f"/{name}")


def _kept() -> list[Found]:
    return [found for found in kept_kernels.records() if found.is_orphaned() and _may_run(found)]


def _may_run(found: Found) -> bool:
    """Return whether the kernel's process lives, also where that is not known."""
    process = found.kernel()
    if process is None:
        return True
    try:
        return not process.has_ended()
    except OSError:
        return True


def _view(found: Found, leases: Sequence[LeaseView]) -> KeptKernelView:
    record, process = found.record, found.kernel()
    live = [view for view in leases if view["state"] not in OVER]
    lease = next((view for view in live if view["holder"]["kernel_id"] == record.kernel_id), None)
    stated = _stated_by_pool(record, lease) if record.remote else _stated(found)
    return {
        "kernel_id": record.kernel_id,
        "kernelspec": record.kernelspec,
        "notebook": record.notebook,
        "root": record.root,
        "state": "starting" if process is None and not record.remote else _state(lease),
        "since": _time(stated, "orphaned_at"),
        "ends_at": _time(stated, "ends_at"),
        "lease_id": None if lease is None else lease["id"],
        "memory_bytes": None if process is None else _memory(process.pid),
    }


def _state(lease: LeaseView | None) -> str:
    """Return what the kernel does, by what it has reported of its lease."""
    if lease is None or lease["usage"]["busy"] is None:
        return "unknown"
    if not lease["usage"]["busy"]:
        return "idle"
    return "waiting" if lease["state"] in BLOCKING_CELLS else "running"


def _stated_by_pool(record: KeptKernel, lease: LeaseView | None) -> Mapping[str, Any]:
    """Return what the pool manager knows of a kernel on a host of a cluster, which writes nothing here."""
    since = None if lease is None else lease["holder"].get("orphaned_at")
    return {} if since is None else {"orphaned_at": since, "ends_at": since + int(1000 * record.orphan_after_s)}


def _stated(found: Found) -> Mapping[str, Any]:
    """Return what the kernel has written about itself."""
    with suppress(OSError, ValueError):
        stated = json.loads(kept_kernels.identity_path(found.path).read_bytes())
        if isinstance(stated, dict):
            return stated
    return {}


def _time(stated: Mapping[str, Any], name: str) -> int | None:
    value = stated.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _memory(pid: int) -> int | None:
    """Return the resident memory of a process in bytes; None where it cannot be read."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return None


def _ask_to_end(connection_file: str) -> None:
    """Send the kernel a request to shut down; its end is the answer."""
    from jupyter_client.blocking.client import BlockingKernelClient

    client = BlockingKernelClient()
    with suppress(OSError, ValueError, KeyError):
        client.load_connection_file(connection_file)
        client.start_channels(shell=False, iopub=False, stdin=False, hb=False, control=True)
        try:
            client.shutdown()
            client.get_control_msg(timeout=END_S)
        except Exception:  # noqa: BLE001 (queue.Empty, or of zmq: the process is killed then)
            return
        finally:
            client.stop_channels()
