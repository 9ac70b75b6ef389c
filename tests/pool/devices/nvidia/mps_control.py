"""A fake of ``nvidia-cuda-mps-control``: the daemon with ``-f``, else the program that takes commands for it.

As the real one (535.261.03, tried without a GPU): a daemon holds a lock in its folder, a second one there is refused;
sockets of one that was killed stay; an unknown command is said and is no error; without a daemon the exit status is 1.
Its servers are children of its own. It does what the file ``plan`` beside it says: ``serve``, ``refuse``, ``hang``
before it serves, or ``deaf``, which does not quit; and writes into ``started`` what it was started with.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(sys.argv[0]).resolve().parent
FOLDER = Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])
SERVER = "import time; time.sleep(1000)"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def serve() -> int:
    plan = (HERE / "plan").read_text()
    with (HERE / "started").open("a") as started:
        started.write(f"{os.getpid()} {os.getuid()} {os.environ['CUDA_VISIBLE_DEVICES']} {FOLDER}\n")
    if plan == "refuse":
        say("Failed to start: this one was told to refuse")
        return 1
    lock = (FOLDER / "control_lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("An instance of this daemon is already running")
        return 1
    if plan == "hang":
        time.sleep(1000)
    for name in ("control", "control_privileged"):
        (FOLDER / name).unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX)
    control.bind(str(FOLDER / "control"))
    control.listen()
    servers: list[subprocess.Popen[bytes]] = []
    while True:
        caller, _ = control.accept()
        with caller, caller.makefile("rw") as talk:
            command = talk.readline().split()
            if command[:1] == ["get_server_list"]:
                talk.write("".join(f"{server.pid}\n" for server in servers))
            elif command[:1] == ["start_server"]:
                servers.append(subprocess.Popen([sys.executable, "-I", "-c", SERVER]))
            elif command[:1] == ["quit"] and plan != "deaf":
                for server in servers:
                    server.kill()
                    server.wait()
                return 0
            elif command[:1] != ["quit"]:
                talk.write(f'Unknown command "{" ".join(command)}"\n')


def command() -> int:
    sent = sys.stdin.read()
    control = socket.socket(socket.AF_UNIX)
    try:
        control.connect(str(FOLDER / "control"))
    except OSError:
        sys.stderr.write("Cannot find MPS control daemon process\n")
        return 1
    control.sendall(sent.encode())
    control.shutdown(socket.SHUT_WR)
    with control.makefile() as answer:
        sys.stdout.write(answer.read())
    return 0


signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.exit(serve() if sys.argv[1:] == ["-f"] else command())
