"""The source of the agent, which runs with the Python of a node."""

from __future__ import annotations

import ast
import sys

from fastgpu_jupyter.pool.clusters import agent

#: The oldest Python of a node.
OLDEST = (3, 8)
#: What Debian's Slurm takes as a job script, by default, is 4 MiB.
BYTES_MAX = 128 * 1024


def test_source_needs_old_python_standard_library_and_pyzmq() -> None:
    tree = ast.parse(agent.source(), feature_version=OLDEST)
    modules = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [("." * node.level) + (node.module or "")]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules <= {*sys.stdlib_module_names, "zmq"}, "the agent is one file"
    assert len(agent.source()) <= BYTES_MAX


def test_source_defines_each_name_once() -> None:
    names = [node.name for node in ast.parse(agent.source()).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert sorted(set(names)) == sorted(names)


def test_source_is_the_agents_module_when_it_is_loaded() -> None:
    """It starts nothing by itself: a job script calls ``main`` with the specification."""
    namespace = {"__name__": "fastgpu_agent"}
    exec(compile(agent.source(), "agent", "exec"), namespace)
    assert callable(namespace["main"])
