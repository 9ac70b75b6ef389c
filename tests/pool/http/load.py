"""Load on a pool, from a process of its own so that it does not slow the test that measures.

python -m tests.pool.http.load hammer SOCKET SECONDS     asks for leases, reads and releases, from four threads
python -m tests.pool.http.load read SOCKET SECONDS N     follows N event streams
"""

from __future__ import annotations

import selectors
import sys
import threading
import time
from pathlib import Path

from fastgpu_jupyter.errors import LimitReached
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient, new_token

THREADS = 4


def hammer(path: Path, seconds: float) -> int:
    """Calls that were answered."""
    end = time.monotonic() + seconds
    answered = [0] * THREADS

    def work(number: int) -> None:
        client, token = PoolClient(path), new_token()
        while time.monotonic() < end:
            try:
                lease = client.request("eighth", notebook=f"hammer-{number}.ipynb", token=token)
                client.status()
                client.release(lease["id"])
                answered[number] += 3
            except LimitReached as limit:
                time.sleep(min(limit.retry_after_s, 0.2))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered)


def read(path: Path, seconds: float, count: int) -> int:
    """Bytes that arrived on the stream that got fewest."""
    selector = selectors.DefaultSelector()
    arrived = {}
    for _ in range(count):
        sock = unixsocket.connect(path, 5)
        sock.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.settimeout(0)
        arrived[sock] = 0
        selector.register(sock, selectors.EVENT_READ)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in selector.select(0.1):
            data = key.fileobj.recv(2**20)  # type: ignore[union-attr]
            if not data:
                return 0  # cut, although it reads
            arrived[key.fileobj] += len(data)  # type: ignore[index]
    return min(arrived.values())


if __name__ == "__main__":
    role, socket_path, duration_s, *more = sys.argv[1:]
    path, seconds = Path(socket_path), float(duration_s)
    done = hammer(path, seconds) if role == "hammer" else read(path, seconds, int(more[0]))
    sys.stdout.write(f"{done}\n")
