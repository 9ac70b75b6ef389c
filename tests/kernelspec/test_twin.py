"""The content and the name of a FastGPU kernelspec that is made from another one."""

from __future__ import annotations

from typing import Any

import pytest

from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.kernelspec.twin import TwinSize, name_of_twin, require_valid_name, size_of, twin_of
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.wire.schemas.parameters import parameters

HALF = TwinSize("half")


def spec(display_name: str = "Python 3", **metadata: Any) -> dict[str, Any]:
    argv = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return {"argv": argv, "display_name": display_name, "language": "python", "env": {"A": "1"}, "metadata": metadata}


def own(options: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """The kernelspec of FastGPU itself, with other options."""
    provisioner = {"provisioner_name": "fastgpu-provisioner", "config": config}
    found = spec("Python 3 (FastGPU)", debugger=True, kernel_provisioner=provisioner, fastgpu=options or {"gate": True})
    return {**found, "argv": ["python", "-m", "fastgpu_jupyter.kernel", "-f", "{connection_file}"]}


def test_twin_with_a_gate_runs_fastgpus_kernel() -> None:
    twin = twin_of(spec(debugger=True), gate=True, size=HALF)
    assert twin["argv"] == ["python", "-m", "fastgpu_jupyter.kernel", "-f", "{connection_file}"]
    assert twin["display_name"] == "Python 3 (FastGPU half)"
    assert twin["env"] == {"A": "1"}
    assert twin["metadata"] == {
        "debugger": True,
        "fastgpu": {"gate": True},
        "kernel_provisioner": {"provisioner_name": "fastgpu-provisioner", "config": {"profile": "half"}},
        "parameters": parameters({"size": "half"}),
    }


def test_twin_without_a_gate_runs_the_same_command() -> None:
    source = spec()
    twin = twin_of(source, gate=False, size=TwinSize())
    assert twin["argv"] == source["argv"]
    assert twin["display_name"] == "Python 3 (FastGPU)"
    assert twin["metadata"]["kernel_provisioner"]["config"] == {"profile": "full"}


def test_twin_keeps_the_options_of_its_source() -> None:
    options = {"priority": "low", "hold": True, "wait": "10m"}
    assert twin_of(spec(fastgpu=options), gate=True, size=HALF)["metadata"]["fastgpu"] == {**options, "gate": True}


def test_twin_has_its_size_and_options_as_defaults_beside_the_parameters_of_its_source() -> None:
    standard = {"type": "string", "enum": ["C++14", "C++17"]}
    source = spec(fastgpu={"priority": "low", "hold": True}, parameters={"properties": {"standard": standard}})
    properties = twin_of(source, gate=True, size=TwinSize(memory="24GiB"))["metadata"]["parameters"]["properties"]
    own = parameters({"size": "24GiB", "priority": "low", "hold": True})["properties"]
    assert properties == {"standard": standard, **own}


def test_twin_of_a_fastgpu_kernelspec_is_one_of_another_size() -> None:
    source = own({"gate": True, "priority": "low", "memory": "10GiB"}, profile="full", grant_timeout_s=5)
    twin = twin_of(source, gate=True, size=HALF)
    assert twin["argv"] == source["argv"]
    assert twin["display_name"] == "Python 3 (FastGPU half)"
    assert twin["metadata"]["fastgpu"] == {"gate": True, "priority": "low"}
    # An amount of memory of the source would override the profile.
    assert twin["metadata"]["kernel_provisioner"]["config"] == {"profile": "half", "grant_timeout_s": 5}
    again = twin_of(twin, gate=True, size=TwinSize(memory="24GiB"))
    assert (again["display_name"], size_of(again)) == ("Python 3 (FastGPU 24GiB)", TwinSize(memory="24GiB"))
    assert source["metadata"]["fastgpu"]["memory"] == "10GiB"  # the source is not changed


def test_twin_of_a_source_that_names_a_size_has_that_size() -> None:
    assert size_of(twin_of(spec(fastgpu={"profile": "half"}), gate=True, size=TwinSize())) == HALF


@pytest.mark.parametrize(
    ("source", "size", "why"),
    [
        (spec(), TwinSize("half", "24GiB"), "not both"),
        (spec(), TwinSize("3x"), "'3x'"),
        (spec(), TwinSize(memory="lots"), "'lots'"),
        (spec(), TwinSize(memory="1KiB"), "1 MiB"),
        (own(), TwinSize(), "is one of FastGPU already"),
        (spec(kernel_provisioner={"provisioner_name": "ssh-provisioner"}), HALF, "the provisioner ssh-provisioner"),
        (spec(fastgpu="yes"), HALF, "it is 'yes'"),
        (spec(fastgpu={"gate": "no"}), HALF, "gate must be true or false"),
        (spec(fastgpu={"profile": 5}), TwinSize(), "must be a text; it is 5"),
        (spec(fastgpu={"profile": "3x"}), TwinSize(), "'3x'"),
        (spec(fastgpu={"profle": "half"}), HALF, "no option 'profle'; use gate, profile, memory, preload, cluster"),
        (spec(fastgpu={"priority": "urgent"}), HALF, "'urgent' is none of"),
        (spec(fastgpu={"wait": "soon"}), HALF, "'soon' is not a time"),
    ],
)
def test_twin_of_wrong_options_is_refused(source: dict[str, Any], size: TwinSize, why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        twin_of(source, gate=True, size=size)
    assert why in text_of(refused.value)


@pytest.mark.parametrize(
    ("source", "content", "size", "name"),
    [
        ("python3", spec(), TwinSize(), "python3-fastgpu"),
        ("Python3", spec(), HALF, "python3-fastgpu-half"),
        ("python3", spec(), TwinSize(memory="24GiB"), "python3-fastgpu-24gib"),
        ("python3", spec(), TwinSize("a100:1/2"), "python3-fastgpu-a100-1-2"),
        ("python3", spec(), TwinSize("h100|a100"), "python3-fastgpu-h100-a100"),
        ("fastgpu", own(), HALF, "fastgpu-half"),
        ("fastgpu-half", own(profile="half"), TwinSize("quarter"), "fastgpu-quarter"),
        ("python3-fastgpu-half", own(profile="half"), TwinSize("1g.10gb"), "python3-fastgpu-1g.10gb"),
    ],
)
def test_name_of_a_twin_has_its_source_and_size(source: str, content: Any, size: TwinSize, name: str) -> None:
    assert name_of_twin(source, content, size) == name
    require_valid_name(name)


@pytest.mark.parametrize("name", ["", "my gpu", "größe", "../evil", "a/b", "..", "a\n", "a" * 101])
def test_name_that_jupyter_cannot_use_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        require_valid_name(name)
