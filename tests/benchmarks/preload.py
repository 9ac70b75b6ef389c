"""How long ``import torch`` takes in a new kernel, with ``preload`` and without.

From the root of the checkout, in an environment in which the project is installed:

    python tests/benchmarks/preload.py [--pairs N] [--module NAME] [--check]

Without ``--module``, the module is a stand-in for a CPU build of PyTorch: a package of as many modules, with about as
much to execute. Kernels alternate between a cold start and a standby kernel that has imported the module.
``import`` is the time of the cell that imports it, ``start`` from the launch to the reply of that cell. ``--check``
ends with status 1 where an import takes more than 0.1 times as long with preload.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.conftest import isolate  # noqa: E402
from tests.helpers import PoolProcess  # noqa: E402
from tests.server.standby_host import StandbyHost  # noqa: E402

RATIO_MAX = 0.1
#: Of the stand-in: PyTorch 2.9 imports about 1,000 modules of its own, with 20,000 functions in 3,000 classes.
MODULES, CLASSES, METHODS = 1000, 3, 7

METHOD = """
    def method_{method}(self, x: int, y: int = {method}) -> int:
        \"\"\"Return a number.\"\"\"
        return [x + y + z for z in range({method})][-1] * self.value
"""


def main() -> None:
    """Measure, print, and end with the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30, help="cold starts, and as many of standby kernels")
    parser.add_argument("--module", default="", help="the module to import instead of the stand-in")
    parser.add_argument("--check", action="store_true", help=f"fail where the ratio is above {RATIO_MAX}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        isolate(Path(folder), patch)
        samples = measure(Path(folder), options.module, options.pairs)
    ratio = 0.0
    for what in ("import", "start"):
        cold, ahead = (statistics.median(samples[f"{how} {what}"]) for how in ("cold", "preload"))
        ratio = max(ratio, ahead / cold) if what == "import" else ratio
        print(  # noqa: T201 (its purpose)
            f"{what:7} cold {1000 * cold:7.1f} ms   with preload {1000 * ahead:7.1f} ms   {ahead / cold:.3f} x"
        )
    print(f"a standby kernel: {samples['memory'][-1] / 2**20:.0f} MiB with the module")  # noqa: T201
    sys.exit(options.check and ratio > RATIO_MAX)


def measure(folder: Path, module: str, pairs: int) -> dict[str, list[float]]:
    """Return the samples by their names, in seconds and bytes."""
    library = folder / "site-packages"  # as an installed package, which is compared as one
    library.mkdir()
    module = module or write_stand_in(library)
    spec = json.loads((folder / "data/kernels/fastgpu/kernel.json").read_text())
    spec["env"] = {"PYTHONPATH": f"{ROOT}:{library}"}
    spec["metadata"]["fastgpu"]["preload"] = [module]
    (folder / "data/kernels/ahead").mkdir()
    (folder / "data/kernels/ahead/kernel.json").write_text(json.dumps(spec))
    pool = PoolProcess(folder, "8xA100-80GB")
    pool.start()
    host = StandbyHost(folder)
    try:
        return samples_of(host, module, pairs)
    finally:
        host.end()
        pool.end()


def samples_of(host: StandbyHost, module: str, pairs: int) -> dict[str, list[float]]:
    """Return the samples of alternating starts; the first, which compiles the modules, does not count."""
    samples: dict[str, list[float]] = {}
    one_start(host, module)
    for _ in range(pairs):
        ready = host.ready()
        assert ready.observed is not None
        samples.setdefault("memory", []).append(float(ready.observed["memory_bytes"]))
        for how, count in (("preload", 1), ("cold", 0)):
            host.standby.count = count
            for what, seconds in one_start(host, module).items():
                samples.setdefault(f"{how} {what}", []).append(seconds)
        host.standby.count = 1
    return samples


def one_start(host: StandbyHost, module: str) -> dict[str, float]:
    """Start a kernel, import the module in its first cell, and end it; return how long both took."""
    begun = time.perf_counter()
    kernel_id = host.start("ahead")
    kernel = host.kernel(kernel_id)
    cell = time.perf_counter()
    ran = kernel.run(f"import {module}")
    done = time.perf_counter()
    assert ran.status == "ok", ran
    host.shut_down(kernel_id)
    return {"import": done - cell, "start": done - begun}


def write_stand_in(library: Path) -> str:
    """Write a package that takes as long to import as a CPU build of PyTorch; return its name."""
    package = library / "stand_in"
    package.mkdir()
    names = [f"part_{number}" for number in range(MODULES)]
    for name in names:
        lines = ["from __future__ import annotations", "import re", "from dataclasses import dataclass"]
        for number in range(CLASSES):
            lines += [f"@dataclass\nclass Class{number}:" if number == 0 else f"class Class{number}:"]
            lines += ['    """A class."""', "    value: int = 0"]
            lines += [METHOD.format(method=method) for method in range(METHODS)]
        lines.append(f"PATTERN = re.compile(r'{name}[a-z]+(\\d+)')")
        (package / f"{name}.py").write_text("\n".join(lines) + "\n")
    imports = "\n".join(f"from . import {name}" for name in names)
    (package / "__init__.py").write_text(f"import numpy\n{imports}\n")
    return package.name


if __name__ == "__main__":
    main()
