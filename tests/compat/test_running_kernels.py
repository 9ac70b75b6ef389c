"""What ``compat`` does for kernels that another server started, against the installed versions and a real kernel."""

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq
from jupyter_client.connect import LocalPortCache
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.multikernelmanager import AsyncMultiKernelManager
from jupyter_server.gateway.managers import GatewayMappingKernelManager
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager, ServerKernelManager
from jupyter_server.services.sessions.sessionmanager import SessionManager
from zmq.eventloop.zmqstream import ZMQStream

from fastgpu_jupyter.compat import jupyter_client, jupyter_server

COMMAND = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


class _Specs(KernelSpecManager):
    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        if kernel_name != "one":
            raise NoSuchKernel(kernel_name)
        return KernelSpec(argv=COMMAND, display_name="one", language="python", metadata={})


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))


def kernels(folder: Path) -> Any:
    make: Any = AsyncMappingKernelManager  # it has no types
    return make(connection_dir=str(folder), root_dir=str(folder), kernel_spec_manager=_Specs())


@pytest.mark.slow
def test_running_kernel_is_taken_over_restarted_left_running_and_shut_down(tmp_path: Path) -> None:
    async def take_over() -> None:
        first, second, third = kernels(tmp_path), kernels(tmp_path), kernels(tmp_path)
        kernel_id = await first.start_kernel(kernel_name="one", path="", kernel_id="an-id")
        launched = first.get_kernel(kernel_id)
        assert "cwd" in jupyter_client.launch_arguments_of(launched)
        ports, key = list(launched.ports), launched.session.key
        process = launched.provisioner.process

        taken = await _adopt(second, launched)
        assert (taken.ports, taken.session.key, await taken.is_alive()) == (ports, key, True)
        assert second.kernel_model(kernel_id)["execution_state"] == "idle"
        assert second._initialized_culler
        assert set(ports) <= LocalPortCache.instance().currently_used_ports
        await second.restart_kernel(kernel_id)
        assert process.poll() is not None
        assert (taken.ports, taken.kernel_id) == (ports, kernel_id)
        assert taken.provisioner.pid != process.pid

        # A server that is stopped leaves the kernel, and another one shuts it down.
        process = taken.provisioner.process
        jupyter_client.leave_kernel_running(taken)
        await second.shutdown_all()
        assert process.poll() is None
        assert kernel_id not in second
        assert os.access(taken.connection_file, os.R_OK)
        last = await _adopt(third, taken)
        await third.shutdown_kernel(kernel_id)
        assert process.poll() is not None
        assert not await last.is_alive()
        launched.stop_restarter()
        for one in (launched, taken, last):
            one._close_control_socket()
        for one in (first, second, third):
            one.context.destroy(linger=0)

    asyncio.run(take_over())


async def _adopt(kernels: Any, before: Any) -> Any:
    """Take a kernel over in this process: its parent knows when it ends."""
    before.stop_restarter()
    arguments = {"cwd": jupyter_client.launch_arguments_of(before)["cwd"], "env": dict(os.environ)}
    manager = jupyter_client.manager_of_running_kernel(
        kernels, before.kernel_id, "one", before.connection_file, arguments
    )
    provisioner = manager.provisioner
    provisioner.process, provisioner.pid = before.provisioner.process, before.provisioner.pid
    provisioner.pgid = before.provisioner.pgid
    jupyter_client.keep_ports(provisioner, manager)
    jupyter_client.keep_connection_file(before)
    jupyter_client.watch_running_kernel(manager)
    await jupyter_server.register_running_kernel(kernels, before.kernel_id, manager, "idle")
    return manager


def test_manager_of_running_kernel_without_its_kernelspec_raises(tmp_path: Path) -> None:
    file = tmp_path / "kernel-one.json"
    file.write_text("{}")
    with pytest.raises(NoSuchKernel):
        jupyter_client.manager_of_running_kernel(kernels(tmp_path), "an-id", "another", str(file), {})


def test_keep_connection_file_leaves_it_when_the_manager_is_collected(tmp_path: Path) -> None:
    multi = AsyncMultiKernelManager(connection_dir=str(tmp_path), kernel_spec_manager=_Specs())
    managers = [multi.pre_start_kernel("one", {"kernel_id": name})[0] for name in ("removed", "kept")]
    for manager in managers:
        manager.write_connection_file()
    jupyter_client.keep_connection_file(managers[1])
    for manager in managers:
        manager.__del__()
    assert [path.name for path in tmp_path.glob("kernel-*.json")] == ["kernel-kept.json"]


def test_call_after_subscription_calls_once_a_message_has_arrived() -> None:
    async def subscribe() -> list[str]:
        context = zmq.Context()
        publisher = context.socket(zmq.PUB)
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        seen: list[str] = []

        class Manager:
            """Has the public method of a kernel manager."""

            def connect_iopub(self, identity: bytes | None = None) -> ZMQStream:
                socket = context.socket(zmq.SUB)
                socket.connect(f"tcp://127.0.0.1:{port}")
                socket.subscribe(b"")
                return ZMQStream(socket)

        manager = Manager()
        jupyter_client.call_after_subscription(manager, lambda: seen.append("subscribed"))
        streams = [manager.connect_iopub(), manager.connect_iopub(identity=b"browser")]
        streams[0].on_recv(lambda message: seen.append("watched"))
        streams[1].on_recv_stream(lambda stream, message: seen.append("received"))
        while {"watched", "received"} - set(seen):
            publisher.send(b"a message")
            await asyncio.sleep(0.01)
        for stream in streams:
            stream.on_recv(None)
            stream.close(linger=0)
        publisher.close(linger=0)
        context.term()
        return [one for one in seen if one != "watched"]

    assert asyncio.run(subscribe())[:2] == ["subscribed", "received"]


def test_set_kernel_info_answers_a_websocket_at_once() -> None:
    class Manager:
        """Has what a connection reads."""

    async def ask() -> Any:
        manager: Any = Manager()
        jupyter_server.set_kernel_info(manager, {"protocol_version": "5.4"})
        connection: Any = ZMQChannelsWebsocketConnection.__new__(ZMQChannelsWebsocketConnection)

        class Connection:
            """The part of a connection that asks for the kernel's info."""

            kernel_manager = manager
            _kernel_info_future: Future[Any] = Future()
            _finish_kernel_info = ZMQChannelsWebsocketConnection._finish_kernel_info
            log = connection.log

        request: Any = ZMQChannelsWebsocketConnection.request_kernel_info
        future = request(Connection())
        return await asyncio.wait_for(asyncio.wrap_future(future), 5)

    assert asyncio.run(ask()) == {"protocol_version": "5.4"}


def test_can_adopt_is_false_for_the_kernels_of_a_gateway(tmp_path: Path) -> None:
    make: Any = GatewayMappingKernelManager.__new__
    assert jupyter_server.can_adopt(kernels(tmp_path))
    assert not jupyter_server.can_adopt(make(GatewayMappingKernelManager))
    assert not jupyter_server.can_adopt(AsyncMultiKernelManager())


class _AnyKernel(AsyncMappingKernelManager):
    """A kernel manager that has every kernel."""

    def __contains__(self, kernel_id: object) -> bool:
        return True

    def kernel_model(self, kernel_id: str) -> Any:
        return {"id": kernel_id}


def test_restore_session_keeps_its_id_and_adds_no_second_one(tmp_path: Path) -> None:
    async def restore() -> list[Any]:
        make_sessions: Any = SessionManager
        make_kernels: Any = _AnyKernel
        sessions = make_sessions(kernel_manager=make_kernels(), database_filepath=str(tmp_path / "sessions.db"))
        for _ in range(2):
            await jupyter_server.restore_session(
                sessions, "a-session", "a-kernel", path="a.ipynb", name="a", type_="notebook"
            )
        listed: list[Any] = await sessions.list_sessions()
        sessions.close()
        sessions.connection.close()
        return listed

    (session,) = asyncio.run(restore())
    assert (session["id"], session["path"], session["kernel"]["id"]) == ("a-session", "a.ipynb", "a-kernel")


class _Websocket:
    """Has the method that a websocket registers for a restart that has failed."""

    def __init__(self) -> None:
        self.dead = 0

    def on_restart_failed(self) -> None:
        self.dead += 1


def test_kernel_whose_restart_failed_is_shown_as_dead_and_kept() -> None:
    assert callable(ZMQChannelsWebsocketConnection.on_restart_failed)
    removed: list[str] = []

    async def fail() -> None:
        make: Any = ServerKernelManager
        manager, socket = make(), _Websocket()
        manager.provisioner = SimpleNamespace(has_process=True)
        manager.start_restarter()
        manager.add_restart_callback(socket.on_restart_failed, "dead")
        manager.add_restart_callback(lambda: removed.append("the kernel"), "dead")
        manager.stop_restarter()  # as before a restart
        jupyter_client.report_dead_kernel(manager, "Its job has ended.")
        assert (manager.execution_state, manager.reason, socket.dead) == ("dead", "Its job has ended.", 1)

    asyncio.run(fail())
    assert removed == []
