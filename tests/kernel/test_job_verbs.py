"""``%%fastgpu job``, ``%%fastgpu compare`` and ``%fastgpu jobs`` in a shell, with a dispatcher that the test drives."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from fastgpu_jupyter.errors import Message, NoSuchDevice
from fastgpu_jupyter.jobs.rendering import MIME
from fastgpu_jupyter.kernel import comparison, job_verbs, magics
from fastgpu_jupyter.kernel.cell_kinds import only_asks
from fastgpu_jupyter.kernel.completion import complete
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.verbs import Context
from tests.jobs.fakes import FakeClient, done, job_view, running
from tests.kernel.fakes import FakePool, active_view

GIB = 2**30
SIZES = [
    {"size": "half", "memory_bytes": 40 * GIB, "model": "A100-80GB", "effect": "now", "rate_micro": 600_000},
    {"size": "full", "memory_bytes": 80 * GIB, "model": "A100-80GB", "effect": "now", "rate_micro": 1_200_000},
]


class Pool(FakePool):
    """A pool with sizes."""

    def sizes(self, lease_id: str | None = None) -> dict[str, Any]:
        """Return half and full."""
        return {"options": SIZES}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    found = FakeClient(drafts)
    monkeypatch.setattr(job_verbs, "ensure_dispatcher", lambda: found)
    return found


@pytest.fixture(scope="module")
def one_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    """The shell of this process: it takes a while to make one."""
    config = Config({"HistoryManager": {"enabled": False}})
    folder = str(tmp_path_factory.mktemp("ipython"))
    yield InteractiveShell.instance(config=config, ipython_dir=folder)
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(one_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    before = dict(one_shell.user_ns)
    yield one_shell
    one_shell.user_ns.clear()
    one_shell.user_ns.update(before)


@pytest.fixture
def context(client: FakeClient, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> Context:
    pool = Pool(active_view())
    gate = Gate(None, "", None, {}, pool.connect)
    monkeypatch.setattr(gate.pool, "quick", pool.connect)
    assert client is not None
    assert shell is not None
    return Context(gate, gated=False)


def shown(context: Context, line: str, cell: str) -> list[Any]:
    """Run a cell magic; return the data of what it displays."""
    with capture_output() as captured:
        job_verbs.run_cell(context, line, cell)
    return [output.data for output in captured.outputs]


def test_job_returns_at_once_with_a_live_view_and_a_variable(
    context: Context, client: FakeClient, shell: InteractiveShell
) -> None:
    shell.user_ns.update(x=1, y=[2])
    [data] = shown(context, "job --size half --priority high --in x,y --out model", "model = sum([x, *y])\n")
    assert data[MIME]["view"]["state"] == "queued"
    assert data["text/plain"].startswith("■ Queued · Job 1")
    assert "fastgpu-job" in data["text/html"]
    [body], [files] = client.bodies, client.files
    assert (body["kind"], body["size"], body["options"]) == ("cell", "half", {"priority": "high"})
    assert body["program"]["code"] == "model = sum([x, *y])\n"
    assert body["program"]["outputs"] == ["model"]
    assert pickle.loads(files["inputs.pickle"]) == {"x": 1, "y": [2]}
    assert body["cache"] is None
    assert shell.user_ns["job"].id == 1


def test_functions_of_the_notebook_go_along_and_a_name_can_be_chosen(
    context: Context, client: FakeClient, shell: InteractiveShell
) -> None:
    shell.run_cell("import math\nlr = 0.5\ndef train(n):\n    return math.sqrt(n) * lr\n")  # type: ignore[no-untyped-call]
    shown(context, "job quarter --out model --as training", "model = train(16)")
    values = pickle.loads(client.files[0]["inputs.pickle"])
    assert values["train"](16) == 2.0
    assert (client.bodies[0]["size"], client.bodies[0]["name"]) == ("quarter", "train")
    assert shell.user_ns["training"].id == 1
    assert "job" not in shell.user_ns


def test_syntax_of_ipython_is_allowed_and_sent_as_it_is(context: Context, client: FakeClient) -> None:
    cell = "!nvidia-smi\n%timeit 1 + 1\n"
    shown(context, "job", cell)
    assert client.bodies[0]["program"] == {"code": cell, "inputs": None, "sha256": None, "outputs": []}
    assert "draft" not in client.bodies[0]


@pytest.mark.parametrize(
    ("line", "cell", "says"),
    [
        ("job --in imgs", "print(imgs)", "no variable `imgs` in this notebook for --in; did you mean `images`?"),
        ("job --out modol", "model = 1", "does not define `modol`, which --out names; did you mean `model`?"),
        ("job", "print(images)", "Name them: --in images."),
        ("job", "print(openn)", "The cell uses `openn`, which neither it nor this notebook defines. Nothing"),
        ("job --in lock", "print(lock)", "`lock` cannot be sent to a job: TypeError: cannot pickle '_thread.lock'"),
        ("job --size half full", "1", "Two sizes were given: half and full."),
        ("job --sise half", "1", "did you mean --size?"),
        ("job", "x = (", "Line 1 of the cell is not valid Python"),
        ("job", "  \n# nothing\n", "The cell below `%%fastgpu job` is empty."),
        ("jbo", "1", "did you mean `%%fastgpu job`?"),
        ("zzz", "1", "%%fastgpu has no verb 'zzz'."),
        ("status", "1", "every other verb is a line of its own"),
        ("cpu now", "1", "with nothing else in that line"),
        ("compare half", "1", "Name two sizes"),
        ("compare half full --cache", "1", "`%%fastgpu compare` has no option --cache."),
    ],
)
def test_what_cannot_run_is_one_sentence_and_nothing_is_submitted(
    context: Context, client: FakeClient, shell: InteractiveShell, line: str, cell: str, says: str
) -> None:
    shell.user_ns.update(images=[1], lock=threading.Lock())
    with pytest.raises(UsageError) as refused:
        job_verbs.run_cell(context, line, cell)
    assert says in str(refused.value)
    assert client.bodies == []
    assert list(client.folder.iterdir()) == []


def test_refusal_of_the_pool_is_its_sentence_and_leaves_no_draft(
    context: Context, client: FakeClient, shell: InteractiveShell
) -> None:
    shell.user_ns["x"] = 1
    client.refusal = NoSuchDevice(Message.of_text("No GPU of this pool has 900 GiB."))
    with pytest.raises(UsageError, match="No GPU of this pool has 900 GiB"):
        job_verbs.run_cell(context, "job --size 900GiB --in x", "print(x)")
    assert list(client.folder.iterdir()) == []
    assert "job" not in shell.user_ns


def test_explain_shows_the_reason_below_the_view(context: Context) -> None:
    _, explanation = shown(context, "job --explain", "1")
    assert "nothing is known of job 1" in explanation["text/plain"]


def test_view_is_updated_while_a_cell_waits_for_the_job(
    context: Context, client: FakeClient, shell: InteractiveShell
) -> None:
    shown(context, "job", "1")
    client.next_views = [running(id=1, version=2), done(id=1, version=3)]
    with capture_output() as captured:
        assert shell.user_ns["job"].wait()
    assert [output.data[MIME]["view"]["state"] for output in captured.outputs] == ["running", "done"]


def test_jobs_lists_and_shows_one(context: Context, client: FakeClient) -> None:
    assert "Put `%%fastgpu job` on top of a cell" in magics.run(context, "jobs").text
    client.views = {1: done(id=1), 2: job_view(id=2, position=1)}
    listed = magics.run(context, "jobs").text
    assert listed.index("Position 1") < listed.index("Done")
    assert magics.run(context, "jobs 2").text.startswith("■ Queued · Job 2")
    for words, says in (
        ("99", "no job 99"),
        ("first", "'first' is not the number"),
        ("1 2", "not the number of a job"),
    ):
        with pytest.raises(UsageError, match=says):
            magics.run(context, f"jobs {words}")


def compared(
    context: Context, client: FakeClient, first: dict[str, Any], second: dict[str, Any]
) -> tuple[list[dict[str, Any]], str]:
    """Compare half with full where the jobs end as given; return the bodies and the report."""
    client.next_views = [first, second]
    *_, report = shown(context, "compare half full", "x = 1")
    return client.bodies, report["text/plain"]


def test_compare_runs_one_after_the_other_and_reports_beside_the_prediction(
    context: Context, client: FakeClient, shell: InteractiveShell
) -> None:
    first = done(id=1, size="half", started_at=0, ended_at=30_000, cost_micro=10_000, rate_micro=None, version=2)
    second = done(id=2, size="full", started_at=0, ended_at=20_000, cost_micro=13_000, rate_micro=None, version=2)
    bodies, report = compared(context, client, first, second)
    assert [(body["size"], body["after"]) for body in bodies] == [("half", []), ("full", [1])]
    assert "30 s" in report
    assert "full is 1.5 times as fast as half. It costs 1.3 times as much." in report
    assert "predicts a speed-up of 2 and a cost ratio of 1." in report
    assert shell.user_ns["comparison"].report().text == report


def test_compare_says_first_that_side_effects_happen_twice(context: Context, client: FakeClient) -> None:
    client.next_views = [done(id=1, version=2), done(id=2, version=2)]
    warning, *_ = shown(context, "compare half full", "x = 1")
    assert "what it writes or sends, it does twice" in warning["text/plain"]


def test_compare_measures_nothing_on_simulated_devices(context: Context, client: FakeClient) -> None:
    gpu = {"model": "A100-80GB", "device_ids": ["S"], "simulated": True}
    _, report = compared(
        context, client, done(id=1, size="half", gpu=gpu, version=2), done(id=2, size="full", gpu=gpu, version=2)
    )
    assert "Speed-up: not measured." in report
    assert "times as fast" not in report
    assert "predicts a speed-up of 2" in report


def test_compare_reports_a_job_that_failed(context: Context, client: FakeClient) -> None:
    failed = running(id=1, state="failed", ended_at=3_000_000, error={"name": "E", "text": "t"}, version=2)
    _, report = compared(context, client, failed, job_view(id=2, state="cancelled", ended_at=1, version=2))
    assert "Job 1 ended as failed, so there is nothing to compare." in report


def test_prediction_is_not_made_of_what_is_not_known() -> None:
    def one(**changes: Any) -> comparison.MeasuredJob:
        known = comparison.MeasuredJob("half", 1000, 10, 600_000, 40 * GIB, "A100-80GB", simulated=False)
        return known._replace(**changes)

    full = one(capacity=80 * GIB, rate_micro=1_200_000)
    assert comparison.predicted(one(), full) == (2.0, 1.0)
    assert comparison.predicted(one(rate_micro=None), full) == (2.0, None)
    assert comparison.predicted(one(model="H100"), full) is None
    assert comparison.predicted(one(model=None), full._replace(model=None)) is None
    assert comparison.predicted(one(capacity=None), full) is None
    sizes: Any = {"options": SIZES}
    assert comparison.measured(done(size="24GiB"), sizes).capacity == 24 * GIB
    assert comparison.measured(done(size="2xh100"), sizes).capacity is None


@pytest.mark.parametrize(
    ("code", "asks"),
    [
        ("%%fastgpu job --size half\ntrain()", True),
        ("\n  %%fastgpu compare half full\ntrain()", True),
        ("%%fastgpu JOB\ntrain()", True),
        ("%%fastgpu jobs\ntrain()", False),
        ("%%fastgpu profile\ntrain()", False),
        ("x = 1\n%%fastgpu job\ntrain()", False),
    ],
)
def test_cell_of_a_job_neither_waits_nor_counts_as_use(code: str, asks: bool) -> None:
    assert only_asks(code) is asks


def test_compare_does_not_resume_a_parked_lease_while_it_waits(context: Context, client: FakeClient) -> None:
    gate = context.gate
    counted: list[bool] = []

    def wait(job_id: int, timeout_s: float | None = None) -> Any:
        assert timeout_s
        counted.append(bool(gate.activity.uncounted))
        return done(id=job_id, version=2)

    client.wait = wait  # type: ignore[method-assign]
    with gate.not_counted():
        shown(context, "compare half full", "x = 1")
    assert counted == [False, False]
    assert not gate.activity.running


@pytest.mark.parametrize(
    ("line", "symbol", "found"),
    [
        ("%%fastgpu ", "", {"job", "compare", "cpu", "profile"}),
        ("%%fastgpu job --size ", "", {"half", "full"}),
        ("%%fastgpu job --pri", "--pri", {"--priority"}),
        ("%%fastgpu job --priority ", "", {"low", "normal", "high"}),
        ("%%fastgpu job --in ", "", {"x", "model"}),
        ("%%fastgpu job --in x,", "", {"x", "model"}),
        ("%%fastgpu job --in x,mo", "mo", {"model"}),
        ("%%fastgpu job --cache --o", "--o", {"--out"}),
        ("%%fastgpu compare ha", "ha", {"half"}),
    ],
)
def test_completion_of_a_job(line: str, symbol: str, found: set[str]) -> None:
    offered = complete(line, symbol, lambda: ("half", "full"), lambda: ["x", "model"])
    assert {one for one in offered if one.startswith(symbol)} >= found


def test_completion_does_not_offer_an_option_twice() -> None:
    assert "--cache" not in complete("%%fastgpu job --cache ", "", tuple)


def test_load_ext_registers_the_cell_magic_in_a_kernel_that_is_not_ours(
    context: Context, client: FakeClient, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert context is not None
    magics.load(shell)
    assert "no GPU lease" in capsys.readouterr().out
    with capture_output() as captured:
        shell.run_cell("%%fastgpu job --name mine\nprint(1)")  # type: ignore[no-untyped-call]
    assert [output.data[MIME]["id"] for output in captured.outputs] == [1]
    assert client.bodies[0]["name"] == "mine"
    [completer] = shell.strdispatchers["complete_command"].flat_matches("%%fastgpu")
    assert "--priority" in completer(SimpleNamespace(text_until_cursor="%%fastgpu job --pri", symbol="--pri"))
