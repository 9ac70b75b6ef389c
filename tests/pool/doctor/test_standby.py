"""What doctor says of standby kernels: known, unknown, refused, and why starts were cold."""

from __future__ import annotations

from fastgpu_jupyter.cli.doctor import RenderedFinding, rendered
from fastgpu_jupyter.messages.language import ENGLISH
from fastgpu_jupyter.pool.doctor.standby import StandbyFacts, findings
from fastgpu_jupyter.wire.preload import Refusal, RefusalReason
from fastgpu_jupyter.wire.schemas import StandbyList
from fastgpu_jupyter.wire.standby_status import ColdStarts, StandbyStatus

MIB = 2**20
SERVER = StandbyStatus(7, waiting=2, hits=0, cold=(), refused=())


def listed(budget_bytes: int | None = 1024 * MIB) -> StandbyList:
    own = [{"pid": pid, "server_pid": 7, "memory_bytes": 60 * MIB} for pid in (8, 9)]
    totals = {"count": 5, "memory_bytes": 300 * MIB, "budget_bytes": budget_bytes}
    return {"kernels": own, "host": totals}  # type: ignore[typeddict-item]


def found(facts: StandbyFacts) -> dict[str, RenderedFinding]:
    return {finding.subject: finding for finding in (rendered(one, ENGLISH) for one in findings(facts))}


def test_doctor_counts_own_standby_kernels_and_those_of_the_host() -> None:
    (finding,) = found(StandbyFacts(listed(), [SERVER])).values()
    assert finding.state == "ok"
    assert finding.detail == (
        "2 of yours with 120 MiB of memory; on this host 5 with 300 MiB. All together may have 1 GiB."
    )
    assert (
        "memory this host has cannot be read" in found(StandbyFacts(listed(None), [SERVER]))["standby kernels"].detail
    )


def test_doctor_without_an_answer_says_that_memory_is_not_known() -> None:
    finding = found(StandbyFacts(None, [SERVER], pressure_known=False))
    assert finding["standby kernels"].state == "off"
    assert finding["standby kernels"].detail.startswith("2 of yours; their memory is not known")
    assert finding["memory pressure"].detail.startswith("not known")


def test_doctor_says_nothing_of_standby_kernels_where_there_is_no_server() -> None:
    assert found(StandbyFacts(None)) == {}


def test_doctor_says_that_the_administrator_allows_none() -> None:
    finding = found(StandbyFacts(listed(0), [SERVER]))["standby kernels"]
    assert (finding.state, "allows no standby kernels" in finding.detail) == ("off", True)


def test_doctor_lists_cold_starts_by_reason_and_refused_preloads() -> None:
    cold = (ColdStarts("python3", "first_use", 1, ""), ColdStarts("fastgpu", "environment", 3, "PATH"))
    refused = (("fastgpu", Refusal("torch", RefusalReason.PRINTS, "Hello")),)
    server = SERVER._replace(hits=6, cold=cold, refused=refused)
    finding = found(StandbyFacts(listed(), [server]))
    assert finding["starts of server 7"].detail == (
        "6 of 10 used a standby kernel. Cold ones: 3 of fastgpu: another environment (PATH) and 1 of python3: the "
        "first one in use."
    )
    assert finding["preload of server 7"].state == "off"
    assert finding["preload of server 7"].detail.startswith("torch is not imported ahead for fastgpu:")
    busy = SERVER._replace(cold=(ColdStarts("fastgpu", "budget", 2, "standby.cpu_busy"),))
    assert found(StandbyFacts(listed(), [busy]))["starts of server 7"].detail == (
        "0 of 2 used a standby kernel. Cold ones: 2 of fastgpu: processes waited for a processor."
    )
    newer = SERVER._replace(cold=(ColdStarts("fastgpu", "of_a_newer_version", 1, ""),))
    assert "of_a_newer_version" in found(StandbyFacts(listed(), [newer]))["starts of server 7"].detail
