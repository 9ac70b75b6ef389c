"""What a module must not do to be imported before the notebook that imports it: each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fastgpu_jupyter.wire.preload import RefusalReason as R
from tests.libcuda.stub import CudaStub

ROOT = Path(__file__).parent.parent.parent
#: Imports each module in a fork of one process that has imported everything else.
RUN = """
import json, os, sys
from pathlib import Path
from fastgpu_jupyter.kernel import later_streams, preload_modules
folder = Path(sys.argv[1])
for name in sys.argv[2:]:
    (folder / "begun").write_text("")
    child = os.fork()
    if not child:
        refusal = preload_modules.run([name], ["GPU_OF_THE_LEASE"], (folder / "begun").write_text)
        os.chdir(folder)
        later_streams.become_the_kernels()
        module = sys.modules.get(name)
        after = None if refusal or not hasattr(module, "after") else module.after()
        (folder / f"{name}.json").write_text(json.dumps([refusal, after]))
        os._exit(0)
    os.waitpid(child, 0)
    if not (folder / f"{name}.json").exists():
        (folder / f"{name}.json").write_text(json.dumps([["ended", (folder / "begun").read_text(), ""], None]))
"""


class Case(NamedTuple):
    """A module, why it is refused (None: it is not), and a part of the detail, or what ``after()`` returns."""

    source: str
    reason: str | None
    says: Any = ""


CASES = {
    "fine": Case("import json, numpy\nNAMES = dict(A=1)\ndef after(): return NAMES", None, {"A": 1}),
    "prints": Case("print('hello')", R.PRINTS, "hello"),
    "prints_below": Case("import os; os.write(2, b'below')", R.PRINTS, "below"),
    "prints_in_c": Case("import ctypes; ctypes.CDLL(None).printf(b'buffered')", R.PRINTS, "buffered"),
    "warns": Case("import warnings; warnings.warn('old')", R.PRINTS, "old"),
    "raises": Case("1 / 0", R.RAISES, "ZeroDivisionError"),
    "lacks": Case("import not_there_at_all", R.RAISES, "not_there_at_all"),
    "not_there": Case("", R.NOT_FOUND, "not_there"),
    "interrupts": Case("raise KeyboardInterrupt", R.RAISES, "KeyboardInterrupt"),
    "exits": Case("import sys; sys.exit('enough')", R.EXITS, "enough"),
    "ends": Case("import os; os._exit(0)", "ended"),
    "threads": Case("import threading, time\nthreading.Thread(target=time.sleep, args=[9], daemon=True).start()",
                    R.STARTS_THREADS),
    "raw_threads": Case("import _thread, time; _thread.start_new_thread(time.sleep, (9,))", R.STARTS_THREADS),
    "processes": Case("import subprocess; A = subprocess.Popen(['sleep', '0'])", R.STARTS_PROCESSES),
    "signals": Case("import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)", R.CHANGES_PROCESS, "signals"),
    "chdir": Case("import os; os.chdir('/usr')", R.CHANGES_PROCESS, "working_directory"),
    "hooks": Case("import sys; sys.excepthook = print", R.CHANGES_PROCESS, "hooks"),
    "limits": Case("import resource as r; r.setrlimit(r.RLIMIT_CORE, (0, 0))\n"
                   "r.setrlimit(r.RLIMIT_NOFILE, (99, r.getrlimit(r.RLIMIT_NOFILE)[1]))", R.CHANGES_PROCESS, "limits"),
    "path": Case("import sys; sys.path.append('/usr')", R.CHANGES_PROCESS, "sys.path"),
    "reads_grant": Case("import os; A = os.environ.get('GPU_OF_THE_LEASE')", R.READS_GRANT, "GPU_OF_THE_LEASE"),
    "copies_environment": Case("import os; A = os.environ.copy()", R.READS_GRANT, "GPU_OF_THE_LEASE"),
    "tqdm": Case("", None),  # it goes through all variables for those of its own
    "reads_of_kernel": Case("import os; A = os.environ['MPLBACKEND']\n"
                            "def after(): return [A, os.environ.get('FORCE_COLOR')]", None,
                            ["module://matplotlib_inline.backend_inline", None]),
    "reads_other": Case("import os; A = os.environ.get('PATH')", None),
    "reads_folder": Case("from pathlib import Path; A = Path.cwd()", R.READS_FOLDER, "getcwd"),
    "resolves": Case("import os; A = os.path.abspath('data')", R.READS_FOLDER, "getcwd"),
    "later_folder": Case("from os import getcwd as after", None, "FOLDER"),
    "spawns_later": Case("import multiprocessing.process", None),
    "asks_type": Case("A = str(type(get_ipython()))\ndef after(): return A", None,
                      "<class 'ipykernel.zmqshell.ZMQInteractiveShell'>"),
    "asks_shell": Case("from IPython import get_ipython; get_ipython().events", R.ASKS_SHELL, "events"),
    "asks_kernel": Case("from IPython import get_ipython; get_ipython().kernel.shell", R.ASKS_SHELL, "kernel.shell"),
    "has_kernel": Case("from IPython import get_ipython; A = hasattr(get_ipython(), 'kernel')", None),
    "asks_later": Case("from IPython import get_ipython as after", None, None),
    "reads_formats": Case("from IPython import get_ipython\n"
                          "A = 'a/b' in get_ipython().display_formatter.formatters", None),
    "adds_format": Case("from IPython import get_ipython\n"
                        "get_ipython().display_formatter.formatters['text/html'].for_type(int, str)",
                        R.ASKS_SHELL, "display_formatter"),
    "seeds": Case("import random; random.seed(0)", R.SEEDS, "random"),
    "seeds_numpy": Case("import numpy; numpy.random.seed(0)", R.SEEDS, "numpy.random"),
    "seeds_own": Case("import random, numpy; A = random.Random(0), numpy.random.default_rng(0)", None),
    "torch": Case("class cuda:\n  def is_initialized(): return True", R.USES_DEVICES),
    "jax": Case("class _src:\n  class xla_bridge:\n    def backends_are_initialized(): return True", R.USES_DEVICES),
    "initializes": Case("import ctypes; A = ctypes.CDLL('libcuda.so.1').cuInit(0)", R.USES_DEVICES),
    "logs_later": Case("import logging, sys\nh = logging.StreamHandler()\nl = logging.getLogger('a'); l.addHandler(h)\n"
                       "def after():\n  import io\n  return [h.stream._stream is sys.stderr]", None, [True]),
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, cuda_stub: CudaStub) -> dict[str, Any]:
    """What became of each module."""
    folder = tmp_path_factory.mktemp("preload")
    for name, case in CASES.items():
        if case.source:
            (folder / f"{name}.py").write_text(case.source)
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT), str(folder))))
    environment = {**os.environ, **cuda_stub.environment(), "PYTHONPATH": path, "GPU_OF_THE_LEASE": ""}
    run = subprocess.run(
        [sys.executable, "-P", "-c", RUN, str(folder), *CASES],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == ""
    found = {name: json.loads((folder / f"{name}.json").read_text()) for name in CASES}
    return {name: [refusal, "FOLDER" if after == str(folder) else after] for name, (refusal, after) in found.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_module_is_refused_for_what_it_does(results: dict[str, Any], name: str) -> None:
    """With its name and the evidence, or is there as if the notebook had imported it."""
    refusal, after = results[name]
    case = CASES[name]
    if case.reason is None:
        assert refusal is None
        assert case.says in ("", after)
    elif case.reason == "ended":
        assert refusal[1] == name, "it is known which module was imported"
    else:
        assert refusal is not None, "it is imported ahead"
        assert refusal[:2] == [name, case.reason]
        assert case.says in refusal[2]
