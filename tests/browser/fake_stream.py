"""An event stream with many devices and leases whose numbers change each second, which no pool manager has."""

from __future__ import annotations

import copy
import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import BrowserContext

from fastgpu_jupyter.wire import version
from fastgpu_jupyter.wire.client import PoolClient, new_token

View = dict[str, Any]
EVENTS = "**/fastgpu/api/events*"
#: Leases that are active on a device; the others wait.
LEASES_PER_DEVICE = 8
#: The part of the leases that change in more than their numbers each second.
CHANGED_PART = 0.01


class FakeStream:
    """A server of the stream. A context's pages read it once :meth:`connect` was called for that context."""

    def __init__(self, pool: PoolClient, devices: int, leases: int, *, seed: int = 1) -> None:
        self.open = 0  #: streams that are read now
        self.opened = 0  #: streams that have been opened
        self._random = random.Random(seed)
        self._templates(pool)
        self._make(devices, leases)
        self._lock = threading.Lock()
        self._ends = threading.Event()
        stream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header(version.HEADER, version.stated())
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()
                stream.serve(self)

            def log_request(self, code: Any = "-", size: Any = "-") -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def connect(self, context: BrowserContext) -> None:
        """Let the pages of ``context`` read this stream."""
        url = f"http://127.0.0.1:{self._server.server_port}/"
        context.route(EVENTS, lambda route: route.continue_(url=url))

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Send a snapshot and then a message each second, until the page has gone or this stream ends."""
        with self._lock:
            self.open, self.opened = self.open + 1, self.opened + 1
        seq = 1
        try:
            message = self._snapshot(seq)
            while True:
                for one in [message] if message["type"] == "snapshot" else [message, self._usage()]:
                    handler.wfile.write(b"data: " + json.dumps(one).encode() + b"\n\n")
                handler.wfile.flush()
                if self._ends.wait(1.0):
                    return
                seq += 1
                message = self._changed(seq)
        except OSError:
            pass  # the page has gone
        finally:
            with self._lock:
                self.open -= 1

    def _templates(self, pool: PoolClient) -> None:
        """Take the views of a real pool manager as templates."""
        tokens = [new_token(), new_token()]
        leases = [pool.request("full", notebook="load/template.ipynb", token=token) for token in tokens]
        self._pool: Any = pool.pool()
        self._device: Any = pool.devices()[0]
        self._active: Any = pool.lease(leases[0]["id"])
        self._waiting: Any = pool.lease(leases[1]["id"])
        self._entry: Any = pool.queue()[0]
        for lease, token in zip(leases, tokens, strict=True):
            pool.release(lease["id"], token)

    def _make(self, devices: int, leases: int) -> None:
        self._devices: list[View] = []
        self._leases: list[View] = []
        self._queue: list[View] = []
        for index in range(devices):
            self._devices.append(
                {**copy.deepcopy(self._device), "id": f"GPU-{index}", "index": index, "allocations": []}
            )
        for number in range(leases):
            index = number // LEASES_PER_DEVICE
            view = copy.deepcopy(self._active if index < devices else self._waiting)
            view["id"] = f"{number:016x}"
            view["holder"]["notebook"] = f"/load/notebook-{number:04}.ipynb"
            self._leases.append(view)
            if index < devices:
                device = self._devices[index]
                view["gpu"]["device_ids"] = [device["id"]]
                device["allocations"].append({
                    "lease_id": view["id"], "mine": True, "notebook": view["holder"]["notebook"], "state": "active",
                    "memory_bytes": device["memory"]["total_bytes"] // LEASES_PER_DEVICE, "tenant": view["tenant"],
                })  # fmt: skip
            else:
                position = len(self._queue) + 1
                view["queue"]["position"] = position
                self._queue.append({
                    **copy.deepcopy(self._entry), "lease_id": view["id"], "position": position, "mine": True,
                    "notebook": view["holder"]["notebook"],
                })  # fmt: skip

    def _snapshot(self, seq: int) -> View:
        kinds = {"devices": self._devices, "leases": self._leases, "queue": self._queue}
        return {"type": "snapshot", "seq": seq, "pool": self._pool, **kinds}

    def _usage(self) -> View:
        now = int(time.time() * 1000)
        percent = self._random.randrange
        return {
            "type": "usage",
            "devices": [
                {
                    "id": one["id"],
                    "memory": {"used_bytes": percent(80) * 2**30},
                    "usage": {**one["usage"], "utilization_percent": percent(101)},
                }
                for one in self._devices
            ],
            "leases": [
                {
                    "id": one["id"],
                    "memory": {"used_bytes": percent(10) * 2**30},
                    "usage": {"utilization_percent": percent(101), "active_ms": now % 10**9},
                    "money": {"billed_micro_per_hour": 1_000_000, "cost_micro": now % 10**9, "cost_at": now},
                }
                for one in self._leases
                if one["queue"] is None
            ],
        }

    def _changed(self, seq: int) -> View:
        count = max(1, int(len(self._leases) * CHANGED_PART))
        changed = self._random.sample(self._leases, count) if self._leases else []
        for one in changed:
            one["version"] += 1
        return {"type": "changed", "seq": seq, "devices": [], "leases": changed, "queue": self._queue}
