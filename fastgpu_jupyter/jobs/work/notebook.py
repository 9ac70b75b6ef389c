"""The work process of cells and notebooks: ``python -P -m fastgpu_jupyter.jobs.work.notebook DESCRIPTOR``.

It is the start of :mod:`.notebook_work`, whose imports take a while, in which the job may be cancelled.
"""

from __future__ import annotations

import signal
import sys

from ...compat.jsonschema import import_without_slow_formats


def main(descriptor: int) -> None:
    """Run what the runner says on the socket ``descriptor``."""
    early: list[int] = []
    signal.signal(signal.SIGINT, lambda signum, _: early.append(signum))
    import_without_slow_formats()
    import asyncio

    from .notebook_work import serve

    asyncio.run(serve(descriptor, early))


if __name__ == "__main__":
    main(int(sys.argv[1]))
