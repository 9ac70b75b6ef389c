"""What the processes of a job say while they run: their output, which goes to the log, and their progress."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from ...errors import Message
from ...wire import unixsocket
from .. import places
from ..progress import BY_CALL, BY_CELLS, BY_TQDM
from .log_file import BoundedLog

_PROGRESS_BYTES_MAX = 4096
_OUTPUT_BYTES = 2**16
#: The name of the socket in the folder of the job.
PROGRESS_SOCKET = "progress.sock"


class WorkOutput:
    """The log of a job, fed from the pipe ``reader``, and the socket that its processes report progress to."""

    def __init__(self, folder: Path, reader: int, log_bytes_max: int) -> None:
        self._reader = reader
        self.log = BoundedLog(folder / places.LOG, log_bytes_max)
        self.socket_path = folder / PROGRESS_SOCKET
        self._said: dict[str, dict[str, Any]] = {}  #: progress by who reports it
        self._ended = False
        self.socket_path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with unixsocket.short_address(self.socket_path) as address:
            self._socket.bind(address)
        self.socket_path.chmod(0o600)
        self._socket.settimeout(0)

    def descriptors(self) -> list[int]:
        """Return what is readable while there is something to read."""
        return [self._socket.fileno(), *([] if self._ended else [self._reader])]

    def read(self) -> None:
        """Take some of what there is now."""
        self._read_output()
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._socket.recv(_PROGRESS_BYTES_MAX)
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                    said = json.loads(data)
                    shown = {name: said[name] for name in ("done", "total", "unit", "text")}
                    self._said[str(said["by"])] = shown

    def drain(self) -> None:
        """Take all output that has been written until now."""
        while self._read_output():
            pass

    @property
    def progress(self) -> dict[str, Any] | None:
        """How far the job is: as its own call says it, else a bar of tqdm, else its cells."""
        for by in (BY_CALL, BY_TQDM):
            if by in self._said:
                return self._said[by]
        return self.log.progress or self._said.get(BY_CELLS)

    def close(self) -> Message | None:
        """Close log and socket; return a message where the log is not complete."""
        self.log.close()
        self._socket.close()
        with contextlib.suppress(OSError):
            self.socket_path.unlink()
        fault = self.log.fault
        return None if fault is None else Message.of("jobs.log_incomplete", reason=fault.strerror or str(fault))

    def _read_output(self) -> bool:
        """Write what there is to the log; return False where there is nothing now."""
        if self._ended:
            return False
        try:
            data = os.read(self._reader, _OUTPUT_BYTES)
        except BlockingIOError:
            return False
        self._ended = not data
        self.log.write(data)
        return bool(data)
