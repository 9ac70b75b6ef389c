"""What is shown of a job in each state: the sentences, the same in text and HTML, and nothing that is not known."""

from __future__ import annotations

import re
import time
from html import unescape
from typing import Any

import pytest

from fastgpu_jupyter.jobs.rendering import MIME, bundle, clock, rows
from fastgpu_jupyter.messages import language
from tests.jobs.fakes import done, job_view, running, text


def shown(view: Any) -> str:
    """Return the text of a job, whose words are also in its HTML."""
    found = bundle(view)
    assert found[MIME] == {"interface": 1, "id": view["id"], "view": view}
    plain = unescape(re.sub(r"<[^>]*>", " ", found["text/html"]))
    for line in found["text/plain"].split("\n"):
        for part in line.split(" · ") if line.startswith(("■", "●", "✓", "◆", "◇", "◌")) else [line]:
            words = re.sub(r"^\[[#.]*\] |^\| ", "", part.strip()).replace("`", "")
            assert "".join(words.split()) in "".join(plain.replace("`", "").split()), words
    return str(found["text/plain"])


def test_queued_job_says_position_and_that_nothing_is_billed() -> None:
    found = shown(job_view(position=2, estimate_ms=240_000))
    assert found.startswith("■ Queued · Job 17 · train · nothing is billed\n")
    assert "Position 2, about 4 min. half, low priority." in found
    assert re.search(r"Kept when the server restarts\. `job.cancel\(\)` cancels it\. As of \d\d:\d\d:\d\d\.", found)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reason": text("Every GPU is in use.")}, "Every GPU is in use."),
        ({"cancelling": True}, "It is being cancelled."),
        ({"notes": [text("Queued again after a restart.")]}, "Queued again after a restart."),
    ],
)
def test_queued_job_says_why_it_waits(changes: dict[str, Any], says: str) -> None:
    assert says in shown(job_view(**changes))


def test_running_job_shows_progress_log_and_cost() -> None:
    progress = {"done": 21, "total": 50, "unit": "epochs", "text": "about 5 min left"}
    lines = [f"epoch {n} loss 0.2" for n in (18, 19, 20, 21)]
    found = shown(running(progress=progress, log_tail=lines))
    assert found.startswith("● Running · Job 17 · train · 0.0800 USD at 1.25 USD an hour\n")
    assert "half · A100-80GB · started" in found
    assert "[########............] 42% · 21 of 50 epochs · about 5 min left" in found
    assert "epoch 18" not in found
    assert "| epoch 21 loss 0.2" in found
    assert "You can close the notebook." in found


def test_progress_without_a_total_is_a_count_without_a_bar() -> None:
    view = running(progress={"done": 7, "total": None, "unit": "files", "text": None})
    assert "\n  7 files\n" in shown(view)
    assert "<progress" not in bundle(view)["text/html"]


def test_running_job_whose_lease_is_parked_says_so() -> None:
    assert "Parked for a request that goes first" in shown(running(lease_state="parked"))
    assert "Position 3." in shown(running(lease_state="waiting", position=3))


def test_cost_that_is_not_known_is_neither_zero_nor_left_out() -> None:
    assert "· cost not known\n" in shown(running(cost_micro=None, rate_micro=None))
    assert "not known at 1.25 USD an hour" in shown(running(cost_micro=None))


def test_simulated_device_is_labelled() -> None:
    assert "A100 (simulated)" in shown(running(gpu={"model": "A100", "device_ids": ["S"], "simulated": True}))


def test_done_job_names_its_result() -> None:
    found = shown(done())
    assert found.startswith("✓ Done · Job 17 · train · 20 min 10 s · 0.0800 USD\n")
    assert "model · 102 MiB · 2 outputs" in found
    assert "`job.result()` gives model." in found


def test_cached_and_not_cached_are_sentences() -> None:
    at = 1_700_000_000_000
    cache = {"outcome": "hit", "message": text("Hit, because it is."), "computed_at": at, "saved_micro": 420_000}
    hit = shown(done(cache=cache, started_at=None, cost_micro=0))
    assert "Job 17 · train · cached" in hit
    assert f"Cached: computed {clock(at)} on A100-80GB, saved 0.4200 USD." in hit
    assert f"Cached: computed {clock(at)}." in shown(done(cache={**cache, "saved_micro": None}))
    assert "Cached." in shown(done(cache={**cache, "computed_at": None}))
    why = "Result kept, but not cached, because it read undeclared data/x.csv."
    cache = {"outcome": "not_cached", "message": text(why), "computed_at": None, "saved_micro": None}
    missed = shown(done(cache=cache))
    assert why in missed
    assert "· cached" not in missed


def test_failed_job_shows_its_error_and_what_was_not_changed() -> None:
    found = shown(running(state="failed", ended_at=2_008_000, error={"name": "NameError", "text": "name 'lr' is…"}))
    assert "◆ Failed · Job 17 · train · after 8 s" in found
    assert "NameError: name 'lr' is…" in found
    assert "Nothing of this kernel was changed." in found


def test_lost_job_says_what_was_kept() -> None:
    note = "The computer was restarted while the job ran. The log is kept; there is no result."
    found = shown(running(state="lost", ended_at=2_008_000, notes=[text(note)]))
    assert "◇ Lost · Job 17 · train · at " in found
    assert note in found


def test_state_of_a_newer_dispatcher_is_shown_as_it_is() -> None:
    assert shown(job_view(state="suspended")).startswith("◇ suspended · Job 17")


def test_text_from_outside_is_escaped() -> None:
    evil = "<script>alert('x')</script>\x1b[2J"
    view = running(name=evil, log_tail=[evil], progress={"done": 1, "total": 2, "unit": evil, "text": evil})
    failed = running(state="failed", ended_at=1, error={"name": evil, "text": evil}, size=evil)
    for one in (view, failed):
        assert "<script" not in bundle(one)["text/html"]
        assert "\x1b" not in bundle(one)["text/html"] + bundle(one)["text/plain"]


def test_html_is_readable_without_colours_and_for_a_screen_reader() -> None:
    html = bundle(running(progress={"done": 1, "total": 4, "unit": None, "text": None}))["text/html"]
    assert 'role="group" aria-label="Job 17 · train: Running"' in html
    assert '<span aria-hidden="true"' in html
    assert 'role="status"' in html
    assert '<progress max="100" value="25" aria-label="Progress">' in html


def test_times_of_another_day_have_their_date() -> None:
    now = time.mktime((2026, 11, 30, 18, 0, 0, 0, 0, -1))
    assert clock(int(now * 1000) - 7_200_000, now) == "16:00"
    assert clock(int(now * 1000) - 86_400_000, now) == "2026-11-29 18:00"


def test_rows_say_what_matters_of_each_state() -> None:
    cache = {"outcome": "hit", "message": None, "computed_at": 1, "saved_micro": 1}
    views: Any = [
        job_view(id=4, position=2), running(id=3, progress={"done": 1, "total": 2, "unit": None, "text": None}),
        done(id=2), done(id=1, cache=cache),
    ]  # fmt: skip
    assert [(row[0], row[2], row[4]) for row in rows(views)] == [
        ("4", "■ Queued", "Position 2."), ("3", "● Running", "50% · 1 of 2"), ("2", "✓ Done", "20 min 10 s"),
        ("1", "✓ Done", "cached"),
    ]  # fmt: skip


def test_a_job_is_shown_in_the_language_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_current", "zh_CN")
    assert shown(job_view(position=2)).startswith("■ 排队中 · 作业 17 · train · 不计费")
