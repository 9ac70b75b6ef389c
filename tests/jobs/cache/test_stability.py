"""A key is the same in another process: nothing in it depends on addresses, the seed of hashes, or what ran before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

MAKE = """
import json, sys
from pathlib import Path
from fastgpu_jupyter.jobs.cache import CacheKey
from tests.jobs.cache import fake_torch
from tests.jobs.cache.pairs import ARRAYS, CODE, REACHED, SURROUNDINGS, TENSORS, VALUES
from tests.jobs.cache.programs import in_folder, key_of, submitted

sys.modules["torch"] = fake_torch.module()
folder = Path(sys.argv[1])
backwards = sys.argv[2] == "backwards"
found = {}
pairs = [*CODE, *REACHED, *VALUES, *ARRAYS, *TENSORS, *SURROUNDINGS]
for pair in reversed(pairs) if backwards else pairs:
    with in_folder(pair.one, folder):
        key = key_of(pair.one, submitted(pair.one.code, f"/tmp/ipykernel_{sys.argv[2]}/1.py"), folder)
    found[pair.name] = key.digest if isinstance(key, CacheKey) else str(key)
print(json.dumps(found))
"""


@pytest.mark.slow
def test_keys_are_the_same_in_another_process_with_another_hash_seed(tmp_path: Path) -> None:
    found = []
    for seed, order in (("1", "forwards"), ("2", "backwards")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))}
        command = [sys.executable, "-W", "ignore", "-c", MAKE, str(tmp_path), order]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    first, second = found
    assert {name for name, digest in first.items() if digest != second[name]} == set()
