"""The sample of the mutations that ``make test`` runs; imports nothing of the package, so it is cheap to import."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.crash.mutations.model import Mutation

_HERE = Path(__file__).parent


def sample_seed() -> str:
    """Return ``FASTGPU_MUTATIONS_SEED``, else the current commit; the same in all processes of a test run."""
    if seed := os.environ.get("FASTGPU_MUTATIONS_SEED"):
        return seed
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, cwd=_HERE, capture_output=True, text=True, check=False).stdout.strip() or "0"


def sample(mutations: Sequence[Mutation], seed: str, size: int) -> list[Mutation]:
    """Return ``size`` of ``mutations`` drawn by ``seed``, at least one of each guarantee, in their order."""
    shuffled = sorted(mutations, key=lambda mutation: mutation.name)
    random.Random(seed).shuffle(shuffled)
    by_guarantee = {mutation.guarantee: mutation for mutation in shuffled}
    drawn = list(by_guarantee.values())
    drawn += [mutation for mutation in shuffled if mutation not in drawn][: max(0, size - len(drawn))]
    return [mutation for mutation in mutations if mutation in drawn]
