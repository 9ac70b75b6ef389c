"""A client of the dispatcher that tests kill: ``python -m tests.crash.job_client BODY`` submits and waits for the end.

BODY is a file with the JSON of a body. It prints the number of the job, and its state once it is over.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fastgpu_jupyter.jobs.client import ensure_dispatcher


def main() -> None:
    """Submit the job."""
    path = Path(sys.argv[1])
    body = json.loads(path.read_text())
    client = ensure_dispatcher()
    job_id = client.submit(body)["id"]
    print(job_id, flush=True)  # noqa: T201 (the answer)
    print(client.wait(job_id)["state"], flush=True)  # noqa: T201 (the answer)


if __name__ == "__main__":
    main()
