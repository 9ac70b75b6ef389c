"""The kernel provisioner: a lease from the pool for each kernel, and the kernel as a child of this process.

The kernel starts at once, granted or not: one with a gate lets its cells wait. Only a kernel without a gate makes
:meth:`FastGPUProvisioner.pre_launch` wait, up to a limit. What this promises about the lease:

* it ends in ``cleanup(restart=False)``, or when a launch fails, or with the process that holds it; never by time;
* a restart keeps it: this process holds it between the end of the old kernel process and the start of the new one;
* a lease that was taken away under a running kernel is not silently replaced by a new one: the automatic restart fails
  once, with the reason.

It must not block the event loop, and nothing it raises may be more than the user can read in a dialog.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.multikernelmanager import MultiKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Bool, Float, Unicode, default

from ..compat.jupyter_client import forget_pending_kernel
from ..core.model.lifecycle import OVER
from ..errors import Conflict, FastGPUError, LimitReached, NotFound, PoolUnreachable
from ..units import parse_memory
from ..wire.client import LeaseOptions, PoolClient, new_token
from ..wire.lease_view import explanation_of, position_of, text_of, value_of
from ..wire.locate import pool_socket
from ..wire.options import read_mapping
from ..wire.schemas import LeaseView
from ..wire.spawn import ensure_pool
from .process import PidfdProcess, start_time
from .token_files import remove_token_file, token_path, write_token_file

T = TypeVar("T")
BIND_PAUSE_S = 1.0
#: A kernel that is younger than this may still be importing.
BOOT_S = 3.0
GATE_MODULE = "fastgpu_jupyter.kernel"
#: What a kernelspec's ``metadata.fastgpu`` says beside the options of its requests.
_NOT_OPTIONS = ("gate", "profile", "memory")
_TAKEN = {
    "revoked": "it was taken back by an administrator of the pool",
    "device_lost": "it lost its GPU",
    "over_limit": "it used more GPU memory than it had",
}
#: Provisioners between the request for a lease and the end of the launch, so that a server that stops can end them.
_launching: weakref.WeakSet[FastGPUProvisioner] = weakref.WeakSet()


class FastGPUProvisioner(LocalProvisioner):
    """``LocalProvisioner`` whose kernels hold a lease of the FastGPU pool."""

    profile = Unicode(
        help="Size of the logical GPU: full, half, quarter or eighth. "
        "Default: the kernelspec's metadata.fastgpu.profile, else full."
    ).tag(config=True)
    memory = Unicode(
        help="Memory of the logical GPU, such as 24GiB; overrides the profile. "
        "Default: the kernelspec's metadata.fastgpu.memory."
    ).tag(config=True)
    gate = Bool(
        help="The kernel lets its cells wait for the grant. Default: the kernelspec's metadata.fastgpu.gate, "
        "else whether it runs FastGPU's own kernel."
    ).tag(config=True)
    grant_timeout_s = Float(
        35.0, min=0.0, help="How long the start of a kernel without a gate may wait for its GPU, in seconds."
    ).tag(config=True)

    lease_id: str | None = None
    _token: str | None = None
    _notebook: str | None = None
    #: A restart was asked for, as opposed to the kernel having died: the only kind that may follow a revoked lease.
    _restart_asked = False
    _abandoned = False
    _launched_at = 0.0
    _bind_retry: threading.Event | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Taking and releasing run in threads that a cancelled launch leaves behind: the release must come second.
        self._lease_lock = threading.Lock()

    @default("profile")
    def _default_profile(self) -> str:
        return str(self._defaults().get("profile") or "full")

    @default("memory")
    def _default_memory(self) -> str:
        return str(self._defaults().get("memory") or "")

    @default("gate")
    def _default_gate(self) -> bool:
        named = self._defaults().get("gate")
        return GATE_MODULE in self.kernel_spec.argv if named is None else bool(named)

    def _defaults(self) -> dict[str, Any]:
        found = self.kernel_spec.metadata.get("fastgpu")
        return found if isinstance(found, dict) else {}

    def _options(self) -> LeaseOptions:
        """What the kernelspec asks for beside the size."""
        options = read_mapping({name: said for name, said in self._defaults().items() if name not in _NOT_OPTIONS})
        if not self.gate:
            # Nobody would tell the pool that it computes, and no cell would ask for the GPU back.
            options["parkable"] = False
        return options

    # ---- launch --------------------------------------------------------------------------------------------------

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Get a lease, or keep the one of before the restart, and put the kernel's side of it into its environment."""
        self._abandoned = False
        _launching.add(self)
        try:
            env = kwargs.pop("env", None)
            env = dict(os.environ if env is None else env)
            self._notebook = env.get("JPY_SESSION_NAME") or self._notebook
            client, view = await in_thread(self._take_lease)
            if not self.gate:
                view = await self._wait_for_grant(client, view)
            env.update(self._kernel_environment(client, view))
            return await super().pre_launch(env=env, **kwargs)
        except BaseException:
            await self._launch_failed()
            raise

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel's process."""
        try:
            return await super().launch_kernel(cmd, **kwargs)
        except BaseException:
            await self._launch_failed()
            raise

    async def post_launch(self, **kwargs: Any) -> None:
        """Make the new process the holder of the lease."""
        await super().post_launch(**kwargs)
        self._restart_asked = False
        self._launched_at = asyncio.get_running_loop().time()
        if self.pid is not None and not await in_thread(self._bind, self.pid):
            self._keep_binding(self.pid)
        _launching.discard(self)

    def _take_lease(self) -> tuple[PoolClient, LeaseView]:
        with self._lease_lock:
            key = secrets.token_hex(16)
            automatic, self._restart_asked = not self._restart_asked, False
            try:
                # Most often a pool serves: to ask it whether it does would cost each start a round trip.
                return self._take_lease_from(PoolClient(pool_socket()), key, automatic=automatic)
            except PoolUnreachable:
                return self._take_lease_from(ensure_pool(), key, automatic=automatic)

    def _take_lease_from(self, client: PoolClient, key: str, *, automatic: bool) -> tuple[PoolClient, LeaseView]:
        if self.lease_id is not None:
            view = self._current_lease(client)
            if view is not None and view["state"] not in OVER:
                self.lease_id = view["id"]
                return client, view
            self.lease_id = None
            taken = _TAKEN.get(value_of(view["end_reason"]) or "") if view is not None else None
            if automatic and taken:
                raise Conflict(
                    f"The GPU lease of this notebook ended: {taken}. "
                    "Restart the kernel to ask for another GPU; the variables of the old one are gone."
                )
        memory_bytes = parse_memory(self.memory) if self.memory.strip() else None
        profile = None if memory_bytes is not None else self.profile
        self._token = self._token or new_token()
        view = client.request(
            profile,
            memory_bytes,
            self.kernel_id,
            self._notebook,
            token=self._token,
            key=key,
            options=self._options(),
        )
        self.lease_id = view["id"]
        write_token_file(self.kernel_id, self._token)
        return client, view

    def _current_lease(self, client: PoolClient) -> LeaseView | None:
        """The lease that this kernel has now: ours, or the one that the kernel asked for after giving ours back."""
        assert self.lease_id is not None
        try:
            view = client.lease(self.lease_id)
        except NotFound:
            view = None
        if view is not None and view["state"] not in OVER:
            return view
        later = [
            one for one in client.leases() if one["holder"]["kernel_id"] == self.kernel_id and one["state"] not in OVER
        ]
        return later[-1] if later else view

    async def _wait_for_grant(self, client: PoolClient, view: LeaseView) -> LeaseView:
        """For a kernel without a gate: the granted lease, or an error that says where the queue stands."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.grant_timeout_s
        while view["state"] not in ({"active"} | OVER):
            left_s = deadline - loop.time()
            if self._abandoned:
                raise LimitReached("The server is stopping; the kernel was not started.")
            if left_s <= 0:
                raise LimitReached(_still_waiting(view, self.grant_timeout_s))
            # In short steps: a thread that waits cannot be cancelled, and a server that stops must not wait for it.
            wait_ms = int(min(left_s, 0.5) * 1000) + 1
            view = await in_thread(client.lease, view["id"], wait_ms, view["version"])
        if view["state"] in OVER:
            reason = text_of(view["end_reason"])
            raise Conflict(f"The GPU lease ended before the kernel could start ({reason}). Start it again.")
        return view

    def _kernel_environment(self, client: PoolClient, view: LeaseView) -> dict[str, str]:
        granted = view["environment"] if view["state"] == "active" else view["hidden_environment"]
        return {
            **granted,
            "FASTGPU_SOCKET": str(client.path),
            "FASTGPU_LEASE": view["id"],
            "FASTGPU_TOKEN_FILE": str(token_path(self.kernel_id)),
            "FASTGPU_PYTHON": sys.executable,
            "FASTGPU_LEASE_STATE": view["state"],
            "FASTGPU_KERNEL_ID": self.kernel_id,
            # What the kernel takes out of its environment when the lease ends.
            "FASTGPU_GRANTED": " ".join(granted),
            # What it puts there instead.
            "FASTGPU_HIDDEN": json.dumps(view["hidden_environment"]),
        }

    async def _launch_failed(self) -> None:
        _launching.discard(self)
        self._forget_pending()
        if self.process is not None:
            return  # it runs: its end will be seen
        # Shielded: a cancelled launch must not leave its lease, which this process would hold until it ends.
        await asyncio.shield(asyncio.ensure_future(in_thread(self._release)))

    def _forget_pending(self) -> None:
        """Remove the failed launch from the multi-kernel manager, which could not stop with it."""
        forget_pending_kernel(getattr(self.parent, "parent", None), self.kernel_id)

    def abandon(self) -> None:
        """End a launch that waits for its grant; the server stops."""
        self._abandoned = True
        self._forget_pending()

    # ---- the holder ----------------------------------------------------------------------------------------------

    def _bind(self, pid: int | None) -> bool:
        """Make ``pid`` the holder (None: this process). False where it should be tried again."""
        if self.lease_id is None or self._token is None:
            return True
        try:
            try:
                PoolClient(pool_socket()).bind(self.lease_id, self._token, pid)
            except PoolUnreachable:
                ensure_pool().bind(self.lease_id, self._token, pid)
        except PoolUnreachable as error:
            self.log.warning("The holder of lease %s could not be told to the pool: %s", self.lease_id, error)
            return False
        except FastGPUError as error:
            # Ended, or its process is gone already: the next launch asks for a new one.
            self.log.debug("Lease %s was not bound: %s", self.lease_id, error)
        return True

    def _keep_binding(self, pid: int) -> None:
        # A thread, not a task: a blocking kernel manager runs each of our methods in a loop of its own.
        done = self._bind_retry = threading.Event()

        def keep_on() -> None:
            pause_s = BIND_PAUSE_S
            while not done.wait(pause_s):
                if self._bind(pid):
                    return
                pause_s = min(pause_s * 2, 30.0)

        threading.Thread(target=keep_on, name="fastgpu-bind", daemon=True).start()

    async def _take_back(self) -> None:
        """Become the holder before the kernel's process ends, in case this is a restart."""
        self._stop_binding()
        if self.process is not None and self.process.poll() is None:
            self._restart_asked = True
            await in_thread(self._bind, None)

    def _stop_binding(self) -> None:
        if self._bind_retry is not None:
            self._bind_retry.set()
            self._bind_retry = None

    async def send_signal(self, signum: int) -> None:
        """Signal the kernel. Restart and shutdown begin with an interrupt, which ends a process that still starts."""
        young = asyncio.get_running_loop().time() - self._launched_at < BOOT_S
        if signum != signal.SIGINT or not young or self.process is None or self.pid is None:
            await super().send_signal(signum)
            if signum == signal.SIGINT:
                await in_thread(self._bring_back)
            return
        self._stop_binding()
        await in_thread(self._bind, None)
        await super().send_signal(signum)
        self._keep_binding(self.pid)  # if it was only a Stop, and the process lives

    def _bring_back(self) -> None:
        """A cell that stands still because its lease is parked can only be interrupted once it goes on."""
        if self.lease_id is None:
            return
        with contextlib.suppress(FastGPUError, OSError):
            client = PoolClient(pool_socket(), timeout_s=2.0)
            view = client.lease(self.lease_id)
            if view["state"] == "parked" and view["usage"]["busy"]:
                client.resume(self.lease_id)

    async def shutdown_requested(self, restart: bool = False) -> None:
        """The kernel was told to end."""
        await super().shutdown_requested(restart=restart)
        if restart:
            self._restart_asked = True
            await self._take_back()

    async def kill(self, restart: bool = False) -> None:
        """End the kernel at once. ``restart`` is not to be trusted: it is False on restarts, too."""
        await self._take_back()
        await super().kill(restart=restart)

    async def terminate(self, restart: bool = False) -> None:
        """Ask the process to end. ``restart`` is not to be trusted."""
        await self._take_back()
        await super().terminate(restart=restart)

    # ---- the end -------------------------------------------------------------------------------------------------

    async def cleanup(self, restart: bool = False) -> None:
        """Release the lease unless the kernel is to be started again."""
        if not restart:
            self._stop_binding()
            await in_thread(self._release)
        await super().cleanup(restart=restart)

    def _release(self) -> None:
        with self._lease_lock:
            lease_id, self.lease_id = self.lease_id, None
            if lease_id is None:
                return
            try:
                client = ensure_pool(timeout_s=5.0)
                with contextlib.suppress(NotFound):
                    client.release(lease_id, self._token)
                for view in client.leases():
                    if view["holder"]["kernel_id"] == self.kernel_id and view["state"] not in OVER:
                        client.release(view["id"], self._token)  # the kernel asked for it by itself
            except FastGPUError as error:
                self.log.warning("Lease %s was not released: %s It ends with its process.", lease_id, error)
            self._token = None
            remove_token_file(self.kernel_id)

    # ---- persistence ---------------------------------------------------------------------------------------------

    async def get_provisioner_info(self) -> dict[str, Any]:
        """What another server needs to take this kernel over; the token's file, never the token."""
        info: dict[str, Any] = await super().get_provisioner_info()
        info["lease_id"] = self.lease_id
        info["token_file"] = str(token_path(self.kernel_id))
        info["start_time"] = None if self.pid is None else start_time(self.pid)
        return info

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Take a running kernel over."""
        await super().load_provisioner_info(provisioner_info)
        self.lease_id = provisioner_info.get("lease_id")
        try:
            self._token = token_path(self.kernel_id).read_text()
        except OSError:
            self._token = None
        if self.pid is not None:
            # Without a process, LocalProvisioner takes the kernel for dead.
            adopted: Any = PidfdProcess(self.pid, provisioner_info.get("start_time"))
            self.process = adopted


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run ``function`` in a thread; here and now where there are no more threads, because the interpreter ends.

    Programs such as ``jupyter run`` shut their kernel down in a function that runs at exit.
    """
    try:
        future = asyncio.get_running_loop().run_in_executor(None, partial(function, *arguments))
    except RuntimeError:
        return function(*arguments)
    return await future


def _still_waiting(view: LeaseView, waited_s: float) -> str:
    position, explanation = position_of(view), explanation_of(view)
    place = f"position {position} in the queue" if position else "the GPU is being prepared"
    detail = f" ({explanation.rstrip('.')})" if explanation else ""
    return (
        f"No GPU was free within {waited_s:g} s: {place}{detail}. "
        "The kernel was not started and its place was given up; try again later, "
        "or choose a FastGPU kernel, which starts at once and waits in its cells."
    )


async def abandon_launches(kernels: MultiKernelManager, within_s: float = 3.0) -> None:
    """End all launches that wait, and let those that do not, and all restarts, come through.

    A server that shuts its kernels down while one of them is between two states fails there, and never stops.
    """
    for provisioner in list(_launching):
        provisioner.abandon()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while (_launching or not _settled(kernels)) and loop.time() < deadline:  # noqa: ASYNC110 (nobody tells us)
        await asyncio.sleep(0.01)


def _settled(kernels: MultiKernelManager) -> bool:
    return all(kernels.get_kernel(kernel_id).ready.done() for kernel_id in kernels.list_kernel_ids())
