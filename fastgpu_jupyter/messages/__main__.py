"""Print the English catalogue: ``python -m fastgpu_jupyter.messages [--json]``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from .en import MESSAGES


def main(argv: Sequence[str]) -> int:
    """Print every code with its template, as JSON or as lines; return the exit status."""
    if argv not in ([], ["--json"]):
        sys.stderr.write("usage: python -m fastgpu_jupyter.messages [--json]\n")
        return 2
    if argv:
        text = json.dumps({"language": "en", "messages": MESSAGES}, indent=1, sort_keys=True)
    else:
        text = "\n".join(f"{code}: {template}" for code, template in sorted(MESSAGES.items(), key=str))
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
