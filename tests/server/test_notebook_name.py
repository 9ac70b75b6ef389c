"""The name of what a kernel is for, from its session or from the command that starts it."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.server.notebook_name import NAME_MAX, Program, name_of_command, name_of_kernel, name_of_session

BIN = "/venv/bin"


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        ([f"{BIN}/jupyter-nbconvert", "--execute", "--to=html", "sub/a.ipynb"], "/srv/sub/a.ipynb"),
        (["/lib/nbconvert/__main__.py", "--execute", "/abs/a.ipynb"], "/abs/a.ipynb"),
        ([f"{BIN}/jupyter-nbconvert", "--execute", "a.ipynb", "--output", "b.ipynb"], "/srv/a.ipynb"),
        ([f"{BIN}/jupyter-nbconvert", "--execute", "a.ipynb", "b.ipynb"], "jupyter nbconvert (2 notebooks)"),
        ([f"{BIN}/papermill", "in.ipynb", "out.ipynb", "-p", "n", "1"], "/srv/in.ipynb"),
        (["/lib/papermill/__main__.py", "s3://bucket/in.ipynb", "out.ipynb"], "s3://bucket/in.ipynb"),
        ([f"{BIN}/jupyter-execute", "a.ipynb", "--output=b.ipynb"], "/srv/a.ipynb"),
        ([f"{BIN}/jupyter-console", "--kernel", "fastgpu"], "jupyter console"),
        ([f"{BIN}/jupyter-qtconsole"], "jupyter qtconsole"),
        ([f"{BIN}/jupyter-run", "--kernel", "fastgpu", "job.py"], "/srv/job.py"),
        (["/v/site-packages/jupyter_client/runapp.py", "--kernel", "fastgpu", "job.py"], "/srv/job.py"),
        (["/v/site-packages/jupyter_client/runapp.py"], "runapp"),
        ([f"{BIN}/pytest", "--nbmake"], "pytest"),
        (["train_all.py", "config.py"], "/srv/train_all.py"),
        (["/jobs/train_all.py"], "/jobs/train_all.py"),
        ([""], "python"),
        (["-c", "x"], "python"),
        ([], "python"),
    ],
)
def test_name_of_command_is_what_it_runs(argv: list[str], name: str) -> None:
    assert name_of_command(argv, "/srv") == name


def program(*argv: str, inherited: str | None = None, is_kernel: bool = False) -> Program:
    return Program(argv, "/srv", inherited, is_kernel)


def test_name_of_a_session_is_that_of_the_server() -> None:
    env = {"JPY_SESSION_NAME": "/nb/a.ipynb"}
    assert name_of_kernel(env, program("jupyter-lab"), has_sessions=True) == "/nb/a.ipynb"
    assert name_of_kernel({}, program("jupyter-lab"), has_sessions=True) is None
    # A server that was started in a kernel passes the names of its own sessions.
    inside = program("jupyter-lab", inherited="/nb/a.ipynb")
    assert name_of_kernel(env, inside, has_sessions=True) == "/nb/a.ipynb"


def test_name_that_a_client_sets_wins_over_its_command() -> None:
    env = {"JPY_SESSION_NAME": "nightly run"}
    assert name_of_kernel(env, program("papermill", "a.ipynb"), has_sessions=False) == "nightly run"


def test_notebook_run_in_a_cell_has_its_own_name() -> None:
    env = {"JPY_SESSION_NAME": "/nb/outer.ipynb"}  # inherited from the kernel of the cell
    child = program("papermill", "inner.ipynb", inherited="/nb/outer.ipynb")
    assert name_of_kernel(env, child, has_sessions=False) == "/srv/inner.ipynb"
    itself = program("ipykernel_launcher.py", "-f", "x.json", inherited="/nb/outer.ipynb", is_kernel=True)
    assert name_of_kernel(env, itself, has_sessions=False) == "/nb/outer.ipynb"


@pytest.mark.parametrize(
    ("session", "name"),
    [
        ("sub/model-jvsc-0f3c1a2b-77aa-4b1e-9f5e-aaaabbbbcccc.ipynb", "sub/model.ipynb"),
        ("model-jvsc-0f3c1a2b-77aa-4b1e-9f5e-aaaabbbbcccc", "model"),
        ("a-jvsc-b.ipynb", "a-jvsc-b.ipynb"),
        ("a\udce9.ipynb", "a?.ipynb"),
        ("größe.ipynb", "größe.ipynb"),
    ],
)
def test_name_of_session_has_nothing_that_a_front_end_added(session: str, name: str) -> None:
    assert name_of_session(session) == name


def test_name_of_a_long_path_keeps_the_name_of_the_file() -> None:
    name = name_of_session("/".join(["d" * 200] * 15) + "/run.ipynb")
    assert len(name) == NAME_MAX
    assert name.startswith("…")
    assert name.endswith("/run.ipynb")
