"""The adapter with answers that were assembled from documentation; see :mod:`.assembled`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model.entities import ClusterRequest
from fastgpu_jupyter.errors import EngineUnavailable, InvalidRequest
from fastgpu_jupyter.messages import render
from fastgpu_jupyter.pool.clusters.engine import Ended, GPUKind, Infeasible, Queued, Running, Status, Want
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine
from fastgpu_jupyter.pool.clusters.slurm.commands import Commands, Ran
from tests.pool.clusters.slurm.assembled import ASSEMBLED, Assembled

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
#: Before all starts that the answers expect.
NOW_S = 1_600_000_000.0
PREFIX = "fgpu-0a1b2c3d-"
#: Waiting jobs with their partitions and priorities: two are before the first one of ours, one beside it.
PENDING = [(1, "gpu", 10), (90, "gpu", 20), (91, "gpu", 11), (92, "gpu", 10), (93, "cpu", 99), (94, "gpu", 9)]
NO_JOB = Ran("", "slurm_load_jobs error: Invalid job id specified\n", 1)


@pytest.fixture
def answers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Commands that answer as the version does which the test names; the calls are in the list."""
    assembled: Assembled = ASSEMBLED[request.param]
    calls: list[tuple[str, ...]] = []

    def answer(argv: tuple[str, ...]) -> Ran:
        calls.append(argv)
        if argv[0] == "squeue":
            return Ran(assembled.pending if "PENDING" in argv else assembled.squeue, "", 0)
        if argv[-1] == "999":
            return NO_JOB
        texts = {"sinfo": assembled.sinfo, "scontrol": assembled.config if "config" in argv else assembled.job}
        return Ran(texts[argv[0]], "", 0)

    def try_out(argv: tuple[str, ...]) -> Ran:
        calls.append(argv)
        return Ran("", assembled.test_only, 0)

    monkeypatch.setattr(Commands, "query", lambda _, *argv: answer(argv))
    monkeypatch.setattr(Commands, "trial", lambda _, argv, __: try_out(tuple(argv)))
    return calls


def engine() -> SlurmEngine:
    return SlurmEngine(clock=lambda: NOW_S)


def sentence(status: Status) -> str:
    assert not isinstance(status, Running)
    return render(status.reason)


def gres(calls: list[tuple[str, ...]]) -> list[str]:
    return [word for argv in calls if argv[0] == "sbatch" for word in argv if word.startswith("--gres")]


@pytest.mark.parametrize("answers", ["20.11"], indirect=True)
def test_2011_is_read(answers: list[tuple[str, ...]]) -> None:
    slurm = engine()
    assert slurm.kinds() == [
        GPUKind("gpu", "", 4, 12, None, (), 2 * DAY_MS, default_partition=True),
        GPUKind("v100", "v100", 8, 3, None, (), DAY_MS),
    ]
    assert (slurm.version(), slurm.controller()) == ("20.11.8", "10.1.0.1")
    found = slurm.statuses(["8102", "8103", "8090", "8091", "8092"])
    assert found["8102"] == Queued(found["8102"].reason, 2, 1_606_752_000_000)  # type: ignore[union-attr]
    assert isinstance(found["8103"], Queued), "a limit that other jobs use up ends"
    assert "QOSMaxGRESPerUser" in sentence(found["8103"])
    assert sentence(found["8090"]) == "The time limit of the job is over. Its variables are lost; files stay."
    assert found["8090"].at_ms == 1_606_703_600_000  # type: ignore[union-attr]
    assert sentence(found["8091"]).startswith("The job used more memory of the host")
    assert isinstance(ending := found["8092"], Running)
    assert ending.ends_at_ms is None, "a job that is cancelled has no time limit to warn of"
    assert slurm.check(Want(2)) == 1_606_752_000_000
    assert gres(answers) == ["--gres=gpu:2"], "the nodes have no types"


@pytest.mark.parametrize("answers", ["23.11"], indirect=True)
def test_2311_is_read(answers: list[tuple[str, ...]]) -> None:
    slurm = engine()
    a100 = "nvidia_a100-sxm4-80gb"
    assert slurm.kinds() == [
        GPUKind("gpu", a100, 8, 7, 8, ("a100_3g.40gb",), 3 * DAY_MS, default_partition=True),
        GPUKind("mig", "", 0, 2, None, ("1g.10gb",), 8 * HOUR_MS),
    ]
    assert slurm.controller() == "ctl1"
    found = slurm.statuses(["512344", "512345", "512346", "512301", "512200", "999"])
    assert "UnavailableNodes:gpu[03-04]" in sentence(found["512344"])
    assert isinstance(found["512345"], Queued)
    assert isinstance(found["512346"], Infeasible), "no other job has to end"
    assert sentence(found["512301"]) == "The job has its nodes, and they are being started."
    assert sentence(found["512200"]).startswith("Slurm gave the GPU to a job with a higher priority.")
    assert isinstance(found["999"], Ended)
    assert found["999"].at_ms is None, "when a forgotten job ended is not known"
    assert slurm.list(PREFIX) == {
        f"{PREFIX}l{n}-1": str(job) for n, job in ((1, 512344), (2, 512345), (3, 512346), (4, 512301))
    }
    for want in (
        Want(1, ("a100",)),
        Want(1, ("a100-80gb",), fraction=(1, 4)),
        Want(1, partition_profile="3g.40gb"),
        Want(1, partition_profile="1g.10gb", options=ClusterRequest("mig")),
    ):
        slurm.check(want)
    assert gres(answers) == [
        f"--gres=gpu:{a100}:1",
        f"--gres=shard:{a100}:2",
        "--gres=gpu:a100_3g.40gb:1",
        "--gres=gpu:1g.10gb:1",
    ]


@pytest.mark.parametrize("answers", ["25.05"], indirect=True)
def test_2505_is_read(answers: list[tuple[str, ...]]) -> None:
    slurm = engine()
    assert slurm.kinds() == [
        GPUKind("h200", "nvidia_h200", 8, 16, 4, (), DAY_MS, default_partition=True),
        GPUKind("interactive", "nvidia_l40s", 4, 2, None, (), DAY_MS // 2),
    ]
    found = slurm.statuses(["90011", "90012", "90013", "90014", "90001", "90002"])
    assert isinstance(waits := found["90011"], Queued)
    assert waits.position == 3
    assert "are down, drained or reserved" in sentence(found["90012"])
    assert "put it on hold" in sentence(found["90013"])
    assert isinstance(found["90014"], Infeasible)
    assert sentence(found["90001"]).startswith("Node h03 failed")
    assert found["90002"] == Running("h04", 1_750_076_400_000, "nvidia_h200", isolated=False)
    with pytest.raises(InvalidRequest) as refused:
        slurm.check(Want(1, ("l40s",), time_limit_ms=DAY_MS, options=ClusterRequest("interactive")))
    assert render(refused.value.message).startswith(
        "Partition interactive allows at most 12 h, and 24 h was requested."
    )
    before = len(answers)
    slurm.statuses(["90011", "90002"])
    assert [argv[0] for argv in answers[before:]] == ["squeue"], "one call for all; positions and models are remembered"


@pytest.mark.parametrize("answers", ["23.11"], indirect=True)
def test_isolation_is_what_slurm_says(answers: list[tuple[str, ...]]) -> None:
    assert engine()._isolates() is False


def test_job_that_the_list_does_not_have_ends_only_where_slurm_does_not_know_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A site may put a command in the place of ``squeue`` that answers from a list of some seconds ago."""
    shown = {
        "1": Ran(f"JobId=1 JobName={PREFIX}l1-1 UserId=ann({os.getuid()}) JobState=RUNNING", "", 0),
        "2": NO_JOB,
        "3": Ran(f"JobId=3 JobName=train UserId=bob({os.getuid() + 1}) JobState=RUNNING", "", 0),
    }
    monkeypatch.setattr(Commands, "query", lambda _, *argv: shown.get(argv[-1], Ran("", "", 0)))
    assert {job: type(status) for job, status in engine().statuses(["1", "2", "3"]).items()} == {"2": Ended, "3": Ended}
    shown["1"] = Ran("", "slurm_load_jobs error: Unexpected message received\n", 1)
    with pytest.raises(EngineUnavailable):
        engine().statuses(["1"])


def test_job_of_another_name_is_not_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller lost its state, and gave the number to a job that the user submitted otherwise."""
    rows = "".join(
        f"{job}|{name}|RUNNING|n1|1600000000|N/A|1:00:00|gpu|None\n"
        for job, name in ((16, f"{PREFIX}l1-1"), (17, "train"))
    )
    cancelled: list[str] = []

    def answer(_: Commands, *argv: str) -> Ran:
        if argv[0] == "scancel":
            cancelled.append(argv[-1])
        return Ran(rows if argv[0] == "squeue" else "", "", 0)

    monkeypatch.setattr(Commands, "query", answer)
    slurm = engine()
    slurm.list(PREFIX)
    for job in ("16", "17", "18"):
        slurm.cancel(job)
    assert cancelled == ["16", "18"]


def test_many_waiting_jobs_are_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Slurm does not say the position of some, such as those whose nodes are being started."""
    states = ["PENDING", "CONFIGURING", "REQUEUE_HOLD", "PENDING"]
    own = "".join(
        f"{job}|{PREFIX}l{job}-1|{state}|n/a|N/A|N/A|1:00:00|gpu|Priority\n" for job, state in enumerate(states, 1)
    )
    pending = "".join(f"{job}|{partition}|{priority}\n" for job, partition, priority in PENDING)
    calls: list[str] = []

    def answer(_: Commands, *argv: str) -> Ran:
        calls.append(argv[0])
        return Ran(pending if "PENDING" in argv else own, "", 0)

    monkeypatch.setattr(Commands, "query", answer)
    found = engine().statuses(["1", "2", "3", "4"])
    assert [status.position for status in found.values() if isinstance(status, Queued)] == [3, None, None, None]
    assert calls == ["squeue", "squeue"]


@pytest.mark.parametrize("text", ["", "slurm_load_jobs error: Unexpected message received\n"])
def test_answer_that_fails_is_unknown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Commands, "query", lambda _, *argv: Ran("", text, 1))
    with pytest.raises(EngineUnavailable):
        engine().statuses(["1"])
    with pytest.raises(EngineUnavailable):
        engine().list(PREFIX)


@pytest.mark.parametrize(
    "text", ["Unable to contact slurm controller (connect failure)", "Socket timed out on send/recv"]
)
def test_submission_that_did_not_reach_slurm_is_no_refusal(text: str, tmp_path: Path) -> None:
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(f"#!/bin/sh\necho 'sbatch: error: Batch job submission failed: {text}' >&2; exit 1\n")
    sbatch.chmod(0o755)
    with pytest.raises(EngineUnavailable):
        Commands({"PATH": str(tmp_path)}).submit((), "#!/bin/sh\n")


def test_answer_of_a_filter_that_prints_more_has_the_job_on_a_line_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastgpu_jupyter.pool.clusters.engine import AgentSpec

    monkeypatch.setattr(Commands, "query", lambda _, *argv: Ran(ASSEMBLED["25.05"].sinfo, "", 0))
    said = ["Your project has 12 hours left.\n4711;cluster1\nGood luck.\n", "4712\n", "It is accepted.\n"]
    monkeypatch.setattr(Commands, "submit", lambda *_: Ran(said.pop(0), "", 0))

    def submit() -> str:
        return engine().submit(Want(1, ("h200",)), AgentSpec("", b"{}"), "fgpu-0-a-1")

    assert [submit(), submit()] == ["4711", "4712"]
    with pytest.raises(EngineUnavailable):  # not a refusal: the job is there
        submit()


def test_state_that_is_not_known_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    row = f"1|{PREFIX}l1-1|?|n1|1600000000|N/A|1:00:00|gpu|None\n"
    monkeypatch.setattr(Commands, "query", lambda _, *argv: Ran(row, "", 0))
    assert engine().statuses(["1"]) == {}
    assert engine().list(PREFIX) == {f"{PREFIX}l1-1": "1"}, "it is not submitted again"


def test_command_that_was_killed_is_no_refusal() -> None:
    with pytest.raises(EngineUnavailable) as error:
        Commands(os.environ).query("sh", "-c", "kill -KILL $$")
    assert render(error.value.message).startswith("sh was ended by signal 9.")
