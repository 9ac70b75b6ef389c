"""How a job starts its agent: an interpreter of the node, with the agent's spec and source on standard input.

Nothing of it is in an argument, a variable or a file, where other users could read it. The first line of the input is
the spec; the rest is the source, which runs as a script that reads the spec from :data:`sys.stdin`.
"""

from __future__ import annotations

import hashlib

from ...wire.locate import SOCKET_VARIABLE
from ...wire.variables import REMOTE

#: The exit status of a job whose script is not the one that was submitted.
SCRIPT_CHANGED = 65
#: The exit status of a job whose interpreter has no pyzmq.
NO_PYZMQ = 69
#: The exit statuses with which a shell says that it cannot run the interpreter.
NO_INTERPRETER = (126, 127)

#: The program that the interpreter runs with ``-c``; its argument is the digest of the input. It must run on every
#: Python that a node may have, from 3.8 on.
PROGRAM = f"""\
import hashlib, io, sys
text = sys.stdin.buffer.read()
if hashlib.sha256(text).hexdigest() != sys.argv.pop():
    sys.exit({SCRIPT_CHANGED})
try:
    import zmq
except ImportError:
    sys.exit({NO_PYZMQ})
spec, _, source = text.partition(b"\\n")
sys.stdin = io.TextIOWrapper(io.BytesIO(spec), encoding="utf-8")
exec(compile(source, "fastgpu-agent", "exec"), globals())
"""

#: Becomes the command that follows it, which sees the devices of its job, as a kernel of the agent does, and no pool
#: manager: the socket is that of another host. Slurm sets GPU_DEVICE_ORDINAL alone for a job with shards.
WITH_DEVICES = (
    "/bin/sh",
    "-c",
    f"""
CUDA_VISIBLE_DEVICES="${{CUDA_VISIBLE_DEVICES:-$GPU_DEVICE_ORDINAL}}"
CUDA_DEVICE_ORDER=PCI_BUS_ID
{REMOTE}=1
export CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER {REMOTE}
unset {SOCKET_VARIABLE}
exec "$@"
""",
    "sh",
)


def agent_input(source: str, spec: bytes) -> str:
    """Return the standard input of the interpreter. ``spec`` is JSON without a line break."""
    if b"\n" in spec:
        raise ValueError("the spec of an agent is one line")
    return f"{spec.decode()}\n{source.rstrip()}\n"


def digest(text: str) -> str:
    """Return the argument of :data:`PROGRAM` for its input."""
    return hashlib.sha256(text.encode()).hexdigest()
