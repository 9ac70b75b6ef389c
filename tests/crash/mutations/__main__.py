"""Run mutations from a command line: ``python -m tests.crash.mutations [NAME ...]``; without names, all of them."""

from __future__ import annotations

import contextlib
import sys

from tests.crash.mutations.catalogue import MUTATIONS
from tests.crash.mutations.runner import Runner


def main(names: list[str]) -> int:
    """Run the mutations of those names and report each; return how many are not caught."""
    unknown = set(names) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        raise SystemExit(f"There is no mutation {unknown.pop()!r}.")
    survivors = 0
    with contextlib.closing(Runner()) as runner:
        for mutation in MUTATIONS:
            if names and mutation.name not in names:
                continue
            outcome = runner.run(mutation)
            survivors += not outcome.caught
            verdict = "caught" if outcome.caught else "NOT CAUGHT"
            print(f"{verdict:<10} {outcome.cpu_s:5.1f} s  {mutation.name}: {outcome.explanation}", flush=True)  # noqa: T201
            for failure in () if outcome.caught else outcome.failures[1:]:
                print(f"{'':22}{failure.test}: {failure.errors}: {failure.message[:200]!r}", flush=True)  # noqa: T201
    return survivors


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 99))
