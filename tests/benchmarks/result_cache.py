"""A cached result of 100 MB, beside ``joblib.Memory`` in one run; and how fast inputs are hashed.

``python -m tests.benchmarks.result_cache`` prints the figures; ``--check`` fails beyond the targets. A hit here is the
whole of it: the key is made of the function and its argument, the manifest is read, and the array is read into memory.
The calls alternate, so that both have the same load of the machine; the figures are medians.

joblib compares no checksum. A hit without it is measured for comparison only: the product always compares it, before
anything is unpickled. On a processor with SHA instructions (1.5 GB/s) a hit of 100 MB takes about 65 ms more for it.

Measured on a busy machine with two processors: 1.01 and 1.03 times joblib without the checksum (36 ms), 5.4 to 5.7
times with it; a key with an input of 1 GB is as fast as SHA-256 of the same memory (0.86 to 1.01 times as long).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from fastgpu_jupyter.jobs.cache import CacheKey, key_of_cell, key_of_function
from fastgpu_jupyter.jobs.results import Manifest, ResultStore, StoredValue, values

#: A hit without checksum may take so many times as long as one of joblib.
HIT_RATIO_MAX = 1.2
#: Hashing of inputs may take so many times as long as SHA-256 of the same memory.
HASH_RATIO_MAX = 1.1
MB = 1_000_000


class NoChecksum:
    """Takes the place of SHA-256 where its time is left out."""

    digest = ""

    def update(self, data: object) -> None:
        """Do nothing with ``data``."""

    def hexdigest(self) -> str:
        """Return the expected digest."""
        return NoChecksum.digest


def compute(megabytes: int) -> Any:
    """Return an array of that size."""
    return np.arange(megabytes * MB // 8, dtype=np.float64)


def seconds(function: Callable[[], Any]) -> float:
    """Return how long one call takes; its result is dropped afterwards."""
    began_s = time.perf_counter()
    result = function()
    took_s = time.perf_counter() - began_s
    del result
    return took_s


def hits(folder: Path, megabytes: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of hits of joblib, and of the store with and without its checksum, round by round."""
    import joblib  # type: ignore[import-untyped]

    memory = joblib.Memory(folder / "joblib", verbose=0)
    remembered = memory.cache(compute)
    remembered(megabytes)
    store = ResultStore(folder / "results")
    stored = store.put_value(compute(megabytes))
    value = StoredValue(stored.digest, stored.bytes, "numpy.ndarray")
    index = {key_of(megabytes): store.put_manifest(Manifest("function", {"return": value}))}
    NoChecksum.digest = stored.digest

    def hit() -> Any:
        with store.reading(index[key_of(megabytes)]) as manifest:
            return store.value(manifest.values["return"].digest)

    assert (hit() == remembered(megabytes)).all()
    found: dict[str, list[float]] = {"joblib": [], "without checksum": [], "with checksum": []}
    for _ in range(rounds):
        found["joblib"].append(seconds(lambda: remembered(megabytes)))
        found["with checksum"].append(seconds(hit))
        with mock.patch.object(values, "hashlib", mock.Mock(sha256=NoChecksum)):
            found["without checksum"].append(seconds(hit))
    return found


def key_of(megabytes: int) -> str:
    """Return the key of a call, as a job has it."""
    key = key_of_function(compute, (megabytes,), {})
    assert isinstance(key, CacheKey)
    return key.digest


def hashing(megabytes: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a key with an input of that size, and of SHA-256 alone, round by round."""
    array = compute(megabytes)
    found: dict[str, list[float]] = {"SHA-256": [], "key": []}
    for _ in range(rounds):
        found["SHA-256"].append(seconds(lambda: hashlib.sha256(memoryview(array).cast("B")).digest()))
        found["key"].append(seconds(lambda: key_of_cell("y = x", {"x": array}, ["x"])))
    return found


def ratio(found: Mapping[str, list[float]], one: str, other: str) -> float:
    """Return the median of the ratios of two times, of which each pair was taken one after the other."""
    return statistics.median(first / second for first, second in zip(found[one], found[other], strict=True))


def main() -> int:
    """Print the figures as JSON; with ``--check`` return 1 beyond the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--hash-megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        hit = hits(Path(folder), options.megabytes, options.rounds)
    hashed = hashing(options.hash_megabytes, max(1, options.rounds // 3))
    hit_ratio, hash_ratio = ratio(hit, "without checksum", "joblib"), ratio(hashed, "key", "SHA-256")
    medians = {name: statistics.median(times) for name, times in (hit | hashed).items()}
    figures = {
        f"hit of {options.megabytes} MB, ms": {name: round(1000 * medians[name], 1) for name in hit},
        "without checksum / joblib": round(hit_ratio, 2),
        "with checksum / joblib": round(ratio(hit, "with checksum", "joblib"), 2),
        "inputs, MB/s": {name: round(options.hash_megabytes / medians[name]) for name in hashed},
        "key / SHA-256": round(hash_ratio, 2),
    }
    print(json.dumps(figures, indent=1))  # noqa: T201 (the result)
    return int(options.check and (hit_ratio > HIT_RATIO_MAX or hash_ratio > HASH_RATIO_MAX))


if __name__ == "__main__":
    sys.exit(main())
