"""What ``%fastgpu`` shows and refuses, against a pool that the test drives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError

from fastgpu_jupyter.kernel import magics, render
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.verbs import VERBS, Context
from fastgpu_jupyter.kernel.wait_display import WaitDisplay, as_html, headline, hint_of, stopped_wait_text
from tests.kernel.fakes import FakePool, active_view, changed, lease_view, logical_gpu, message, queue_group


@pytest.fixture
def pool() -> FakePool:
    return FakePool(active_view())


@pytest.fixture
def context(pool: FakePool, tmp_path: Path) -> Context:
    token = tmp_path / "token"
    token.write_text("secret")
    environ = {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    gate = Gate("lease-1", "active", token, environ, pool.connect, granted=dict(environ))
    return Context(gate, gated=True)


def test_show_lists_state_device_memory_and_cost(context: Context) -> None:
    shown = magics.run(context, "")
    for wanted in ("active", "A100-80GB", "20 GiB of 80 GiB", "50 %", "1 min 05 s", "0.0450 USD", "by the hardware"):
        assert wanted in shown.text
        assert wanted in shown.html
    assert "[#####..............." in shown.text
    assert 'aria-label="Memory: 25 percent"' in shown.html
    assert '<th scope="row"' in shown.html
    assert "simulated" not in shown.text


def test_show_labels_simulated_devices(context: Context, pool: FakePool) -> None:
    pool.view = active_view(gpu=logical_gpu(simulated=True, mechanism="simulated"), memory_limit="none")
    shown = magics.run(context, "")
    assert "GPU lease (simulated)" in shown.text
    assert "not enforced (simulated)" in shown.html


def test_html_escapes_text_from_outside(context: Context, pool: FakePool) -> None:
    evil = "<script>alert('x')</script>"
    pool.view = lease_view(size=evil, queue=queue_group(1, evil), gpu=logical_gpu(model=evil))
    assert "<script" not in magics.run(context, "").html
    assert "<script" not in as_html(evil, evil, evil)
    assert "<script" not in render.sentence(evil).html


def test_wait_display_names_the_holder_and_counts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("fastgpu_jupyter.kernel.wait_display.time.time", lambda: now_s)
    shown: list[str] = []
    display = WaitDisplay(lambda _, content: shown.append(str((content.get("data") or {}).get("text/plain"))))
    held = "“a.ipynb” has a GPU and is idle, so that it is parked for this request."
    holder = {"lease_id": "one", "notebook": "a.ipynb", "yields_at": 1_002_500, "message": message("holder.idle", held)}
    view: Any = lease_view(requested_at=1_000_000, queue={**queue_group(1), "holder": holder})
    for passed_s in (0.0, 1.0, 3.0):
        now_s = 1000.0 + passed_s
        display.show(view, None)
    head = f"Waiting for a GPU: position 1 in the queue. Every GPU is in use. {held}"
    assert [text.removesuffix(f" {hint_of(parked=False)}") for text in shown] == [
        f"{head} It is parked in 3 s. Waited 0 s.",
        f"{head} It is parked in 2 s. Waited 1 s.",
        f"{head} Waited 3 s.",
    ]


def test_help_lists_verbs_and_unknown_verbs_are_refused(context: Context) -> None:
    listed = magics.run(context, "help").text
    for verb in VERBS:
        assert f"%fastgpu {verb}".strip() in listed
    with pytest.raises(UsageError, match=r"no verb 'sing'(?s:.*)%fastgpu release"):
        magics.run(context, "sing loudly")
    with pytest.raises(UsageError, match="takes no arguments"):
        magics.run(context, "release now")


def test_release_then_request(context: Context, pool: FakePool) -> None:
    assert "stays allocated until the kernel restarts" in magics.run(context, "release").text
    assert "nothing to release" in magics.run(context, "release").text
    shown = magics.run(context, "request 1.5 GiB")
    assert pool.calls[-1][:3] == ("request", "1.5 GiB", None)
    assert "The next cell waits for it." in shown.text


def test_request_with_options(context: Context, pool: FakePool) -> None:
    with pytest.raises(UsageError, match=r"cannot be changed. Run `%fastgpu release` first|already has a GPU"):
        magics.run(context, "request half --hold")
    magics.run(context, "release")
    magics.run(context, "request half --priority low --hold --wait 10m")
    options = {"priority": "low", "retention": "hold", "wait_ms_max": 600_000}
    assert pool.calls[-1] == ("request", "half", None, None, "a.ipynb", options)
    with pytest.raises(UsageError, match="cannot be changed"):
        magics.run(context, "request half --priority high")
    with pytest.raises(UsageError, match="There is no option 'colour'"):
        magics.run(context, "request --colour red")


def test_park_and_resume_show_the_state(context: Context, pool: FakePool) -> None:
    assert "no cell has run for" in magics.run(context, "").text
    assert "is parked. Its variables, and their GPU memory, are kept" in magics.run(context, "park").text
    shown = magics.run(context, "")
    assert "You parked it. Its variables" in shown.text
    assert not context.gate.open
    assert "The next cell waits for it." in magics.run(context, "resume").text
    assert [call[0] for call in pool.calls] == ["activity", "park", "resume"]


def test_request_while_parked_resumes_the_lease(context: Context, pool: FakePool) -> None:
    magics.run(context, "park")
    magics.run(context, "request")
    assert pool.calls[-1] == ("resume",)


def test_release_while_parked_says_what_is_lost(context: Context, pool: FakePool) -> None:
    magics.run(context, "park")
    assert "The GPU memory of this kernel is lost; restart the kernel" in magics.run(context, "release").text


def test_pin_and_unpin(context: Context, pool: FakePool) -> None:
    assert "Pinned: this kernel keeps its GPU" in magics.run(context, "pin").text
    assert "pinned: keeps its GPU" in magics.run(context, "").text
    assert "Not pinned" in magics.run(context, "unpin").text
    assert "may be parked for others" in magics.run(context, "").text
    assert pool.calls == [("pin", True), ("pin", False)]
    pool.view = changed(pool.view, busy=True)
    assert "a cell is running" in magics.run(context, "").text
    magics.run(context, "release")
    for verb in ("park", "resume", "pin", "unpin"):
        with pytest.raises(UsageError, match="has no GPU lease"):
            magics.run(context, verb)


def test_snooze_takes_a_time_or_half_an_hour(context: Context, pool: FakePool) -> None:
    assert "for the next 2 h because this kernel is idle" in magics.run(context, "snooze 2h").text
    magics.run(context, "snooze")
    assert pool.calls == [("snooze", 7_200_000), ("snooze", 1_800_000)]
    with pytest.raises(UsageError, match="is not a time; write it like 90s"):
        magics.run(context, "snooze long")


def test_advise_names_a_size_or_says_why_not(context: Context, pool: FakePool) -> None:
    assert "Nothing was measured" in magics.run(context, "advise").text
    basis = message("advice.basis", "Peak of 38 cells. Size quarter would have cost 71 % less.")
    pool.advised = {"advice": {"size": "quarter", "basis": basis}, "reason": None, "silenced": False}
    shown = magics.run(context, "advise").text
    assert "71 % less. `%fastgpu resize quarter` applies it" in shown
    context.gate.cluster = "end"  # such a lease keeps its size
    shown = magics.run(context, "advise").text
    assert "resize" not in shown
    assert "71 % less. `%fastgpu advise --silence` stops" in shown
    magics.run(context, "advise --silence")
    magics.run(context, "advise --undo")
    assert pool.calls == [("advice",), ("advice",), ("advice",), ("silence", True), ("silence", False)]
    with pytest.raises(UsageError, match="takes --silence or --undo"):
        magics.run(context, "advise --silence --undo")


def test_cpu(context: Context) -> None:
    assert "without a GPU from now on" in magics.run(context, "CPU").text
    assert context.gate.open
    assert context.gate.cpu_only


def test_resize_passes_the_size_as_typed(context: Context, pool: FakePool) -> None:
    assert "half" in magics.run(context, "resize half").text
    assert pool.calls[-1][2] == "half"
    with pytest.raises(UsageError, match="Give the new size"):
        magics.run(context, "resize")
    magics.run(context, "release")
    with pytest.raises(UsageError, match="has no GPU lease"):
        magics.run(context, "resize half")


def test_run_shows_an_error_of_the_pool_as_one_sentence(context: Context, pool: FakePool) -> None:
    pool.down = "No pool manager answers."
    with pytest.raises(UsageError, match=r"^No pool manager answers\.$"):
        magics.run(context, "status")


def test_run_in_another_kernel_explains_itself(tmp_path: Path) -> None:
    context = Context(Gate.from_environment({}), gated=False)
    assert "not started as a FastGPU kernel" in magics.run(context, "").text
    assert "not started as a FastGPU kernel" in magics.run(context, "request").text


@pytest.mark.parametrize("line", ["help;", "help  # what can I do", "help; # all"])
def test_comment_and_semicolon_after_a_verb_are_no_arguments(context: Context, line: str) -> None:
    assert magics.run(context, line).text == magics.run(context, "help").text


def test_headline_states_position_and_reason() -> None:
    view: Any = lease_view()
    assert headline(view, None) == "Waiting for a GPU: position 1 in the queue. Every GPU is in use."
    basis = message("estimate.recent_leases", "12 leases lasted 8 min on average")
    queue = {**view["queue"], "estimate_ms": 240_000, "estimate_basis": basis}
    expected: Any = {**view, "queue": queue}
    assert headline(expected, None).endswith(
        "Every GPU is in use. Expected wait: about 4 min (12 leases lasted 8 min on average)."
    )
    assert headline(view, "No pool manager answers.") == "Waiting for a GPU. No pool manager answers."
    assert "asking" in headline(None, None)
    view = lease_view(state="preparing")
    assert "being prepared" in headline(view, None)
    assert "%fastgpu cpu" in stopped_wait_text(None)


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("requested", "You parked it."),
        ("idle", "No cell ran, and another request needed the GPU."),
        ("priority", "A request of a higher priority needed the GPU."),
        ("guarantee", "A tenant below its guarantee needed the GPU."),
        ("fairness", "Its turn was over, and a tenant that was served less needed the GPU."),
    ],
)
def test_headline_of_a_parked_lease_states_reason_and_what_is_kept(reason: str, sentence: str) -> None:
    view: Any = lease_view(park_reason=reason)
    said = headline(view, None, had_gpu=True)
    assert said.startswith("Waiting for the GPU to come back to this notebook: position 1 in the queue. Every GPU")
    assert f"It was parked: {sentence} Its variables, and their GPU memory, are kept." in said
    resuming: Any = {**view, "state": "resuming"}
    assert "being restored" in headline(resuming, None, had_gpu=True)
    assert "keeps its position in the queue (position 1). Its variables" in stopped_wait_text(view, had_gpu=True)
    # After a restart of the kernel nothing is left to be kept: it waits like any other.
    assert headline(view, None).startswith("Waiting for a GPU: position 1")
    assert "kept" not in headline(view, None)


def test_wait_display_is_updated_in_place_and_cleared() -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    line = WaitDisplay(lambda kind, content: sent.append((kind, content)))
    line.clear()
    view: Any = lease_view(requested_at=2**50)
    line.show(view, None)
    line.show(view, None)
    further: Any = changed(view, position=2)
    line.show(further, None)
    line.clear()
    assert [kind for kind, _ in sent] == ["display_data", "update_display_data", "clear_output"]
    assert sent[0][1]["transient"] == sent[1][1]["transient"]
    assert "Stop ends the wait" in sent[0][1]["data"]["text/plain"]


def test_status() -> None:
    device: Any = {
        "id": "GPU-1", "index": 0, "model": "A100-80GB", "simulated": True, "drained": True, "rate_micro_per_hour": 1,
        "health": {"state": "suspect", "message": message("health.reason", "ECC")},
        "memory": {"total_bytes": 80 * 2**30, "free_bytes": 20 * 2**30, "used_bytes": None},
        "usage": {"utilization_percent": None},
        "capabilities": {"mechanisms": [], "partitions": [], "parkable": False},
        "allocations": [], "unleased_processes": [],
    }  # fmt: skip
    pool: Any = {"simulated": True, "message": message("pool.message", "Recovered <2> leases.")}
    entry: Any = {
        "lease_id": None, **queue_group(1, "in use"), "size": "full", "priority": "normal", "memory_bytes": None,
        "notebook": None, "tenant": None, "waiting_since": 0, "mine": False,
    }  # fmt: skip
    leases: Any = [active_view(), active_view(state="ended")]
    shown = render.status({"pool": pool, "devices": [device], "leases": leases, "queue": [entry]})
    for wanted in ("60 GiB of 80 GiB", "suspect: ECC, drained", "another user", "FastGPU pool (simulated)"):
        assert wanted in shown.text
    assert shown.text.count("a.ipynb") == 1
    assert "Recovered &lt;2&gt; leases." in shown.html
