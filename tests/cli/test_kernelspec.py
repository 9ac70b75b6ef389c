"""``jupyter fastgpu kernelspec install``, as a user runs it."""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from fastgpu_jupyter.cli import kernelspec
from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.kernelspec.command import Probe
from tests.helpers import KernelHelper, PoolProcess, fastgpu


@pytest.fixture
def folder(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's kernelspecs, with a plain one; no command is run."""
    monkeypatch.setattr(kernelspec, "probe", lambda *_: Probe(gate=True))
    kernels = isolated / "data" / "kernels"
    write(kernels, "plain", "Plain")
    return kernels


def write(kernels: Path, name: str, display_name: str, **more: Any) -> Path:
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernels / name).mkdir()
    content = {"argv": argv, "display_name": display_name, "language": "python", **more}
    (kernels / name / "kernel.json").write_text(json.dumps(content))
    return kernels / name


def read(kernels: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((kernels / name / "kernel.json").read_text()))


def install(*words: str) -> str:
    done = fastgpu("kernelspec", "install", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refuse(*words: str) -> str:
    done = fastgpu("kernelspec", "install", *words)
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


def test_sizes_have_names_and_logos_of_their_own(folder: Path) -> None:
    for words in ((), ("--profile=half",), ("--memory=24GiB",)):
        install("plain", *words)
    names = ["plain-fastgpu", "plain-fastgpu-half", "plain-fastgpu-24gib"]
    specs = [read(folder, name) for name in names]
    assert [one["display_name"] for one in specs] == [
        "Plain (FastGPU)", "Plain (FastGPU half)", "Plain (FastGPU 24GiB)",
    ]  # fmt: skip
    logos = [(folder / name / "logo-svg.svg").read_text() for name in names]
    assert [ET.fromstring(logo)[-1].text for logo in logos] == ["GPU", "half", "24GiB"]


def test_logo_of_a_twin_contains_that_of_its_source(folder: Path) -> None:
    install("fastgpu", "--profile=a100|h100")
    source = (folder / "fastgpu" / "logo-svg.svg").read_bytes()
    logo = ET.fromstring((folder / "fastgpu-a100-h100" / "logo-svg.svg").read_text())
    assert b64decode(logo[0].attrib["href"].partition("base64,")[2]) == source
    assert logo[-1].text == "a100|h100"


def test_twin_that_is_installed_again_replaces_itself(folder: Path) -> None:
    install("plain", "--profile=half")
    install("plain", "--profile=half")
    assert sorted(path.name for path in folder.iterdir()) == ["fastgpu", "plain", "plain-fastgpu-half"]


def test_name_of_another_kernelspec_is_refused_unless_replaced(folder: Path) -> None:
    install("plain", "--profile=half", "--name=mine")
    for words in (("--name=mine",), ("--profile=quarter", "--name=mine"), ("--name=plain",), ("--name=python3",)):
        assert "already" in refuse("plain", *words)
    assert read(folder, "mine")["display_name"] == "Plain (FastGPU half)"
    assert read(folder, "plain")["display_name"] == "Plain"
    assert not (folder / "python3").exists()
    install("plain", "--profile=quarter", "--name=mine", "--replace")
    assert read(folder, "mine")["display_name"] == "Plain (FastGPU quarter)"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("plain", "--name=My GPU"), "'my gpu' cannot be the name"),
        (("plain", "--name=größe"), "cannot be the name"),
        (("plain", "--name=../evil"), "cannot be the name"),
        (("nope",), "no kernelspec 'nope'"),
        (("plain", "plain"), "Name one kernelspec"),
        (("fastgpu",), "is one of FastGPU already"),
        (("plain", "--profile=huge"), "'huge' is neither a profile"),
        (("plain", "--profile=2xhuge"), "'2xhuge' is neither a profile"),
        (("plain", "--profile=quater"), "'quater' is neither a profile"),
        (("plain", "--profile=65xa100"), "'65xa100'"),
        (("plain", "--memory=lots"), "'lots' is not an amount"),
        (("plain", "--memory=24GiB", "--profile=half"), "not both"),
        (("plain", "--prefix=/proc/none"), "/proc/none"),
    ],
)
def test_wrong_size_or_name_is_refused_and_nothing_installed(folder: Path, words: tuple[str, ...], why: str) -> None:
    before = sorted(folder.rglob("*"))
    assert why in refuse(*words)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("size", ["full", "a100:1/2", "2xh100", "h100|a100", "rtx 4090", "any>=40GiB", "1g.10gb"])
def test_sizes_of_known_models_are_installed(folder: Path, size: str) -> None:
    install("plain", f"--profile={size}", "--name=mine")
    assert read(folder, "mine")["metadata"]["kernel_provisioner"]["config"] == {"profile": size}


def test_unknown_model_is_installed_where_the_user_insists(folder: Path) -> None:
    install("plain", "--profile=mi300", "--any-model")
    assert (folder / "plain-fastgpu-mi300").is_dir()


@pytest.mark.parametrize(
    ("gate", "sentence"), [(True, "a cell waits for its GPU"), (None, "its start waits for its GPU, because it hangs.")]
)
def test_outcome_says_what_waits_for_the_gpu(
    folder: Path, monkeypatch: pytest.MonkeyPatch, gate: bool | None, sentence: str
) -> None:
    reason = None if gate else Message.of_text("it hangs.")
    monkeypatch.setattr(kernelspec, "probe", lambda *_: Probe(gate, reason))
    assert sentence in install("plain")
    assert read(folder, "plain-fastgpu")["metadata"]["fastgpu"] == {"gate": bool(gate)}


@pytest.mark.slow
def test_kernel_of_a_wrapped_twin_holds_a_lease_of_its_size(
    pool: PoolProcess, kernels: KernelHelper, isolated: Path
) -> None:
    wrapper = ["env", "WRAPPED=yes", sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    write(isolated / "data/kernels", "wrapped", "Wrapped", argv=wrapper, metadata={"fastgpu": {"hold": True}})
    assert "a cell waits" in install("wrapped", "--profile=half")
    kernel = kernels.start("wrapped-fastgpu-half")
    assert kernel.value("__import__('os').environ['WRAPPED']") == "'yes'"
    lease = pool.lease(kernel.lease_id)
    assert (lease["request"]["size"], lease["parking"]["retention"]) == ("half", "hold")
    pool.wait_state(kernel.lease_id, "active")
