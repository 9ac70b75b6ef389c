"""``python -P -m fastgpu_jupyter.jobs.runner ID``: the detached process that runs one job."""

from __future__ import annotations

import os
import signal
import sys

from ...wire.locate import SOCKET_VARIABLE, user_socket
from .. import places
from . import hand_over
from .guard import Guard
from .job import JobRunner
from .pipes import Pipes


def main(job_id: int) -> int:
    """Run the job whose hand-over the dispatcher has written, and return the exit status of this process."""
    for one in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(one, signal.SIG_DFL)  # a job that ignores SIGINT could not be cancelled
    folder = places.job_folder(job_id)
    start = hand_over.read_start(folder)
    if start["socket"] != str(user_socket()):
        os.environ[SOCKET_VARIABLE] = start["socket"]
    pipes = Pipes.make()
    guard = Guard(close=[pipes.output, pipes.channel.fileno()])
    try:
        runner = JobRunner(start, folder, guard, pipes)
        status = runner.run()
        while (following := runner.next_call()) is not None:
            runner = following
            runner.run_call()
        return status
    finally:
        guard.close()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
