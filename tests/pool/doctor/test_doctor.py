"""The doctor: the host's own findings, the verdict over several drivers, and the command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastgpu_jupyter.cli.doctor import RenderedFinding, rendered
from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.pool.devices.diagnosis import DoctorFinding, DoctorVerdict, FindingState, HostFacts
from fastgpu_jupyter.pool.doctor import rules
from fastgpu_jupyter.pool.doctor.gather import MachineFacts, ServerFacts
from fastgpu_jupyter.pool.doctor.rules import examine, verdict

HOST = HostFacts("Linux", "6.14", root=True, pid_namespace=False, memory_bytes=2**38)


class FakeDoctor:
    """The diagnosis of a kind of GPU whose only fact is its verdict."""

    def gather(self, root: Path) -> DoctorVerdict:
        return DoctorVerdict.SERVES

    def verdict(self, facts: DoctorVerdict) -> DoctorVerdict:
        return facts

    def findings(self, host: HostFacts, facts: DoctorVerdict) -> Iterator[DoctorFinding]:
        yield DoctorFinding(Message.of("doctor.driver"), FindingState.OK, Message.of_text(f"it {facts.name.lower()}"))


@pytest.fixture(autouse=True)
def fake_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = [SimpleNamespace(name=name, doctor=FakeDoctor()) for name in ("one", "two")]
    monkeypatch.setattr(rules, "DRIVERS", fakes)


def machine(
    one: DoctorVerdict = DoctorVerdict.SERVES, two: DoctorVerdict = DoctorVerdict.NO_DRIVER, **host: Any
) -> MachineFacts:
    return MachineFacts(replace(HOST, **host), {"one": one, "two": two})


def examined(machine: MachineFacts) -> list[RenderedFinding]:
    return [rendered(finding) for finding in examine(machine)]


def found(machine: MachineFacts, subject: str) -> RenderedFinding:
    [finding] = [finding for finding in examined(machine) if finding.subject == subject]
    return finding


@pytest.mark.parametrize(
    ("verdicts", "outcome"),
    [
        ("SERVES NO_DRIVER", "SERVES"),
        ("BROKEN SERVES", "SERVES"),
        ("NO_DRIVER BROKEN", "BROKEN"),
        ("NO_DRIVER NO_DRIVER", "NO_DRIVER"),
    ],
)
def test_verdict_of_several_drivers_is_the_best_that_is_not_missing(verdicts: str, outcome: str) -> None:
    one, two = (DoctorVerdict[name] for name in verdicts.split())
    assert verdict(machine(one, two)).name == outcome


def test_examine_has_the_findings_of_every_driver() -> None:
    details = [finding.detail for finding in examined(machine()) if finding.subject == "driver"]
    assert details == ["it serves", "it no_driver"]


def test_examine_without_a_gpu_says_nothing_of_what_needs_one() -> None:
    subjects = {finding.subject for finding in examined(machine(DoctorVerdict.BROKEN))}
    assert subjects == {"system", "driver"}


@pytest.mark.parametrize(("limited", "state"), [(True, FindingState.BROKEN), (False, FindingState.OK)])
def test_processes_are_attributed_only_in_the_hosts_pid_namespace(limited: bool, state: FindingState) -> None:
    assert found(machine(pid_namespace=limited), "processes").state == state


@pytest.mark.parametrize(
    ("facts", "state", "says", "remedy"),
    [
        (machine(), FindingState.OK, "Access.restrict_device_files", None),
        (
            machine(device_access_refusal=Message.of_text("no control groups.")),
            FindingState.OFF,
            "none can be closed: no control groups.",
            None,
        ),
        (
            machine(device_access_refusal=Message.of_text("only root."), root=False),
            FindingState.OFF,
            "none is closed: only root.",
            "sudo",
        ),
    ],
)
def test_device_access_finding_names_the_refusal(
    facts: MachineFacts, state: FindingState, says: str, remedy: str | None
) -> None:
    finding = found(facts, "device files")
    assert (finding.state, says in finding.detail) == (state, True)
    assert (finding.remedy is None) == (remedy is None)
    assert remedy is None or remedy in str(finding.remedy)


@pytest.mark.parametrize(
    ("ends_kernels", "state", "says", "remedy"),
    [
        (None, FindingState.OK, "Nothing is known to end the kernels of the Jupyter server of /notebooks", None),
        (Message.of("kept.ends_with_container"), FindingState.OFF, "The container ends with its Jupyter server", None),
        (
            Message.of("kept.ends_with_service", unit="jupyter.service", mode="control-group"),
            FindingState.OFF,
            "systemd ends all processes of jupyter.service",
            "Set KillMode=process",
        ),
    ],
)
def test_server_whose_kernels_end_with_it_is_named(
    ends_kernels: Message | None, state: FindingState, says: str, remedy: str | None
) -> None:
    facts = replace(machine(), servers=(ServerFacts(1234, "/notebooks", ends_kernels),))
    finding = found(facts, "Kernels that outlive server 1234")
    assert (finding.state, finding.detail.startswith(says)) == (state.value, True)
    assert (finding.remedy or "").startswith(remedy or "")
    assert (finding.remedy is None) is (remedy is None)
