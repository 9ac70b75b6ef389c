"""A program that starts one kernel, as a Jupyter server does: ``python -m tests.kernel.fake_server FOLDER VARIABLES``.

Its arguments are the kernel's working folder and JSON of variables for the kernel. It prints one line of JSON:
``connection_file``, ``pid`` and ``lease_id``. It is there to be killed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from jupyter_client.manager import KernelManager

from tests.helpers import provisioner_of


def main() -> None:
    """Start the kernel, say where it is, and sleep."""
    folder, variables = sys.argv[1], json.loads(sys.argv[2])
    manager = KernelManager(kernel_name="fastgpu", transport="ipc", ip=f"{folder}/kernel")
    manager.start_kernel(env={**os.environ, **variables}, cwd=folder)
    provisioner = provisioner_of(manager)
    started: dict[str, Any] = {
        "connection_file": manager.connection_file,
        "pid": provisioner.pid,
        "lease_id": provisioner.lease_id,
    }
    sys.stdout.write(json.dumps(started) + "\n")
    sys.stdout.flush()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
