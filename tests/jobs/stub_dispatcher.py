"""The dispatcher with the runner of these tests, and, where ``FASTGPU_TEST_BOOT_ID`` names a file, another boot id."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fastgpu_jupyter.jobs.dispatcher import app, runners
from fastgpu_jupyter.wire import host_identity

if __name__ == "__main__":
    runners.COMMAND = (sys.executable, "-P", "-m", "tests.jobs.stub_runner")
    runners.LEFTOVERS_S = 1.0
    if "FASTGPU_TEST_BOOT_ID" in os.environ:
        # The folder of the sockets stays that of the real boot, which the clients of the test use.
        host_identity.running_system()
        host_identity.BOOT_ID_FILE = Path(os.environ["FASTGPU_TEST_BOOT_ID"])
    app.main()
