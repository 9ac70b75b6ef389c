"""Modules that standby kernels import ahead: real kernels that have them, and what becomes of refused ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.server import standby_process
from fastgpu_jupyter.server.preload_refusals import refusals
from fastgpu_jupyter.server.start_counters import counters
from fastgpu_jupyter.server.start_match import MissReason
from fastgpu_jupyter.wire.preload import Refusal, RefusalReason
from tests.conftest import isolate
from tests.helpers import PoolProcess, alive
from tests.server import start_probe
from tests.server.standby_host import StandbyHost
from tests.server.test_standby import probed
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

#: By name: what is fine, what prints, and what ends the process or never ends.
MODULES = {
    "heavy": """
import logging, multiprocessing.process, os, random, warnings, numpy
handler = logging.StreamHandler()
logging.getLogger("heavy").addHandler(handler)
os.environ["HEAVY"] = "1"
class Loaded: by = os.getpid()  # not a constant, which the probe would compare
OF_KERNEL = {name: os.environ.get(name) for name in ("MPLBACKEND", "TERM", "PAGER", "FORCE_COLOR", "CLICOLOR")}
warnings.filterwarnings("ignore", "of heavy")
""",
    "loud": "print('hello')",
    "ending": "import os; os._exit(1)",
    "endless": "import time; time.sleep(60)",
}
#: What FastGPU's own threads change at another moment: they import modules, and connect to the pool manager.
OF_BACKGROUND = re.compile(
    r"fastgpu_jupyter|/re/_cache/|/modules/(secrets|difflib)|^constants/(secrets|difflib)"
    r"|^interpreter/threads|^process/(descriptors|status/Threads)"
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, installed: None) -> Iterator[StandbyHost]:
    """A manager with a kernelspec whose standby kernels are to import all of :data:`MODULES`."""
    folder = tmp_path_factory.mktemp("preload")
    with pytest.MonkeyPatch.context() as patch:
        isolate(folder, patch)
        library = folder / "library"
        library.mkdir()
        for name, source in MODULES.items():
            (library / f"{name}.py").write_text(source)
        spec = json.loads((folder / "data/kernels/fastgpu/kernel.json").read_text())
        spec["metadata"]["fastgpu"]["preload"] = [*MODULES]
        spec["env"] = {"PYTHONHASHSEED": "0", "PYTHONPATH": f"{Path.cwd()}:{library}"}
        (folder / "data/kernels/ahead").mkdir()
        (folder / "data/kernels/ahead/kernel.json").write_text(json.dumps(spec))
        patch.setattr(standby_process, "READY_S", 3.0)
        pool = PoolProcess(folder, "8xA100-80GB")
        pool.start()
        host = StandbyHost(folder)
        try:
            host.shut_down(host.start("ahead"))
            yield host
        finally:
            host.end()
            pool.end()


def test_standby_kernels_import_what_is_not_refused(host: StandbyHost) -> None:
    """The others end, with a reason for each; the notebook's import is what it is in a cold start."""
    wait_until(lambda: len(refusals.all()) == len(MODULES) - 1, "all but one were refused")
    assert refusals.all() == {
        ("ahead", "loud"): Refusal("loud", RefusalReason.PRINTS, "hello\n"),
        ("ahead", "ending"): Refusal("ending", RefusalReason.ENDS_PROCESS),
        ("ahead", "endless"): Refusal("endless", RefusalReason.HANGS),
    }
    kernels = []
    for _ in range(2):
        pid, hits = host.ready().pid, counters.hits["ahead"]
        kernels.append(host.kernel(kernel_id := host.start("ahead")))
        assert host.pid(kernel_id) == pid
        assert counters.hits["ahead"] == hits + 1
        kernels[-1].run("import sys, os; already = 'heavy' in sys.modules; import heavy, random, numpy")
        assert (
            kernels[-1].value("(already, heavy.Loaded.by == os.getpid(), os.environ['HEAVY'])") == "(True, True, '1')"
        )
        assert kernels[-1].value("heavy.multiprocessing.process.ORIGINAL_DIR == os.getcwd()") == "True"
        assert kernels[-1].value("heavy.OF_KERNEL.items() <= os.environ.items()") == "True"
        assert kernels[-1].value("heavy.warnings.filters[0][1].pattern") == "'of heavy'"
        assert kernels[-1].value("sys.modules['__mp_main__'] is sys.modules['__main__']") == "True"
        assert kernels[-1].value("heavy.handler.stream._stream is sys.stderr") == "True"
    for draw in ("random.random()", "numpy.random.random()", "random.getrandbits(64)"):
        assert kernels[0].value(draw) != kernels[1].value(draw)


def test_a_module_that_was_changed_is_imported_again(host: StandbyHost, tmp_path: Path) -> None:
    """The standby kernel has the old one: the start is cold, and the next standby kernel has the new one."""
    old = host.ready().pid
    module = host.folder / "library/heavy.py"
    module.write_text(module.read_text() + "VERSION = 2\n")
    kernel_id = host.start("ahead")
    assert host.pid(kernel_id) != old
    assert counters.differed["ahead", MissReason.MODULES] == str(module)
    kernel = host.kernel(kernel_id)
    kernel.run("import heavy")
    assert kernel.value("heavy.VERSION") == "2"
    cold = probed(host, kernel_id, kernel, tmp_path / "seen.json")
    wait_until(lambda: not alive(old), "the standby kernel with the old module has ended")
    following = host.ready().pid
    kernel_id = host.start("ahead")
    assert host.pid(kernel_id) == following
    # With the same cells, nothing else can be told apart.
    kernel = host.kernel(kernel_id)
    kernel.run("import heavy")
    assert kernel.value("heavy.VERSION") == "2"
    ahead = probed(host, kernel_id, kernel, tmp_path / "seen.json")
    assert sorted(cold.pop("environment")) == sorted(ahead.pop("environment"))  # in another order
    found = [each for each in start_probe.differences(cold, ahead) if not OF_BACKGROUND.search(each)]
    assert not found, "\n".join(found[:40])
