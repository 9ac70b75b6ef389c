"""A process that runs mutations, and what it reports.

The process is a pytest that collects nothing (see :mod:`.server`): it imports the package and the tests once, with the
assertions rewritten, and forks a child for each mutation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.crash.mutations.model import ROOT, Failure, Mutation, Outcome, judge

#: The plugins that the tests of mutations need. Loading all that are installed takes longer than most of the tests.
PLUGINS = ("_hypothesis_pytestplugin", "pytest_timeout")
#: Seconds until a test gives up waiting: some mutations are revealed by what does not happen. One of their tests waits
#: a few seconds where nothing is broken.
DEADLINE_S = 12


class Runner:
    """A process that runs mutations one after the other."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-o", "addopts="]
        for plugin in (*PLUGINS, "tests.crash.mutations.server"):
            command += ["-p", plugin]
        environment = {
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "FASTGPU_TEST_DEADLINE_S": str(DEADLINE_S),
        }
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "PYTEST_ADDOPTS"):
            environment.pop(name, None)
        self._process = subprocess.Popen(
            [*command, "--import-mode=importlib"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, mutation: Mutation) -> Outcome:
        """Run what must reveal the mutation, and judge what failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(mutation.name) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that runs mutations ended at {mutation.name!r}")
        reply = json.loads(line)
        failures = [Failure(test, phase, tuple(errors), message) for test, phase, errors, message in reply["failures"]]
        return judge(mutation, failures, reply["cpu_s"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)
