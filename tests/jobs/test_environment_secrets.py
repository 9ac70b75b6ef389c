"""No secret leaves the process that submits a job, whatever the variables are and whatever the user asks for."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastgpu_jupyter.jobs.environment import looks_secret, recorded, refused_names

_SECRET = "hunter2-secret-value"
_WORDS = st.sampled_from(
    ["TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "CREDENTIALS", "API_KEY", "PRIVATE", "PASSPHRASE"]
)
_PARTS = st.text("ABCXYZ09", min_size=1, max_size=6)
_SECRET_NAMES = st.one_of(
    _WORDS,
    st.builds("{}_{}".format, _PARTS, _WORDS),
    st.builds("{}_{}_{}".format, _PARTS, _WORDS, _PARTS),
    st.builds("{}_{}".format, st.sampled_from(["PYTHON", "CONDA", "OMP", "MKL", "LC"]), _WORDS),
    st.builds(str.lower, st.builds("{}_{}".format, _PARTS, _WORDS)),
)
_ASKED = st.lists(st.one_of(st.just("*"), st.just("*_*"), _SECRET_NAMES), max_size=3)


@settings(max_examples=40)
@given(st.dictionaries(_SECRET_NAMES, st.just(_SECRET), min_size=1, max_size=5), _ASKED)
@example({"PYTHON_KEY": _SECRET, "HF_TOKEN": _SECRET}, ["*"])
def test_secret_never_leaves(secrets: dict[str, str], asked: list[str]) -> None:
    environ = {"PATH": "/bin", "HOME": "/home/ann", "MY_SETTING": "1", **secrets}
    found = recorded(environ, extra=asked)
    assert _SECRET not in json.dumps(found)
    assert not set(found["variables"]) & set(secrets)
    assert found["variables"]["PATH"] == "/bin"
    named = set(asked) & set(secrets)
    assert named <= set(refused_names(environ, asked))


@settings(max_examples=40)
@given(_PARTS, st.text("abcXYZ019.-", min_size=1, max_size=12), _ASKED)
def test_password_in_an_address_never_leaves(name: str, password: str, asked: list[str]) -> None:
    environ = {f"MY_{name}": f"https://ann:{password}hunter2@host/path", "PYTHONPATH": "/code"}
    found = recorded(environ, extra=[*asked, "MY_*"])
    assert "hunter2" not in json.dumps(found["variables"])
    assert list(found["variables"]) == ["PYTHONPATH"]
    assert refused_names(environ, ["MY_*"]) == [f"MY_{name}"]


def test_backend_of_a_notebook_is_not_that_of_its_jobs() -> None:
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    assert recorded(inline)["variables"] == {}
    assert recorded({"MPLBACKEND": "Agg"})["variables"] == {"MPLBACKEND": "Agg"}


def test_names_of_ordinary_settings_do_not_look_secret() -> None:
    for name in ("PYTHONPATH", "OMP_NUM_THREADS", "KEYBOARD", "MONKEY_PATH", "COMPASS", "AUTHOR", "PATH"):
        assert not looks_secret(name), name
