"""Which kernelspecs the next server prepares for, and what one server tells of its standby kernels."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from jupyter_client.multikernelmanager import AsyncMultiKernelManager

from fastgpu_jupyter.server import recent_starts
from fastgpu_jupyter.server.recent_starts import DAYS_MAX, KERNELSPECS_MAX, REPEAT_S
from fastgpu_jupyter.server.standby import StandbyKernels
from fastgpu_jupyter.server.start_match import Start
from fastgpu_jupyter.wire import standby_status
from fastgpu_jupyter.wire.preload import Refusal, RefusalReason
from fastgpu_jupyter.wire.standby_status import ColdStarts, StandbyStatus
from tests.helpers import PoolProcess, ServerProcess
from tests.waiting import wait_until

DAY_S = 86_400.0


def test_uses_of_the_last_days_are_kept(isolated: Path) -> None:
    """The latest last, each kernelspec once, a bounded number of them."""
    for number in range(KERNELSPECS_MAX + 2):
        recent_starts.note(f"spec-{number}", {"A": ""}, 1000.0 + number)
    recent_starts.note("spec-5", {"A": "0"}, 2000.0)
    names = [one.kernelspec for one in recent_starts.read(2000.0)]
    assert names == ["spec-2", "spec-3", "spec-4", "spec-6", "spec-7", "spec-8", "spec-9", "spec-5"]
    assert recent_starts.read(2000.0)[-1].hidden == {"A": "0"}
    assert [one.kernelspec for one in recent_starts.read(1999.0 + DAYS_MAX * DAY_S)] == ["spec-5"]
    assert recent_starts.read(2001.0 + DAYS_MAX * DAY_S) == []
    assert recent_starts.path().stat().st_mode & 0o777 == 0o600


def test_a_use_is_written_once_in_an_hour(isolated: Path) -> None:
    recent_starts.note("spec", {}, 1000.0)
    recent_starts.note("spec", {}, 1000.0 + REPEAT_S / 2)
    assert recent_starts.read(5000.0)[0].used_at_s == 1000.0
    recent_starts.note("spec", {}, 1000.0 + REPEAT_S)
    assert recent_starts.read(5000.0)[0].used_at_s == 1000.0 + REPEAT_S


@pytest.mark.parametrize("content", [b"", b"[", b"{}", b"[1]", b'[{"kernelspec": "a"}]', b"\xff"])
def test_a_damaged_file_is_as_none(isolated: Path, content: bytes) -> None:
    """It is replaced with the next use."""
    recent_starts.path().parent.mkdir(parents=True)
    recent_starts.path().write_bytes(content)
    assert recent_starts.read() == []
    recent_starts.note("spec", {})
    assert [one.kernelspec for one in recent_starts.read()] == ["spec"]


def test_status_of_servers_that_live_is_read(isolated: Path) -> None:
    """Not that of one that has ended, or that cannot be understood; neither stays when another server stops."""
    cold = (ColdStarts("fastgpu", "environment", 2, "TZ"),)
    status = StandbyStatus(0, 1, 3, cold, (("fastgpu", Refusal("a", RefusalReason.PRINTS, "hello")),))
    standby_status.write(status)
    own = next(standby_status.folder().glob("*.json"))
    ended = json.loads(own.read_text())
    ended["server"][2] -= 1
    (standby_status.folder() / "1.json").write_text(json.dumps(ended))
    (standby_status.folder() / "2.json").write_text("{}")
    assert [one._replace(pid=0) for one in standby_status.read()] == [status]
    standby_status.remove()
    assert list(standby_status.folder().iterdir()) == []


@pytest.mark.slow
def test_server_prepares_what_is_started_most_likely(jupyter: ServerProcess, pool: PoolProcess) -> None:
    """The default kernelspec before its first use, and after a restart of the server what was used."""
    options = "--StandbyKernels.count=1", "--StandbyKernels.wait_for_quiet=False"
    jupyter.start(*options)
    first = wait_until(lambda: [one for one in standby_status.read() if one.waiting], "a standby kernel is ready")
    assert (first[0].pid, first[0].hits) == (jupyter.pid, 0)
    status, session = jupyter.call(
        "POST", "api/sessions", {"path": "a.ipynb", "type": "notebook", "name": "", "kernel": {"name": "fastgpu"}}
    )
    assert status == 201
    wait_until(lambda: [one for one in standby_status.read() if one.hits == 1 and not one.cold], "it was used")
    metrics = urllib.request.Request(f"{jupyter.url}metrics", headers={"Authorization": f"token {jupyter.token}"})
    with urllib.request.urlopen(metrics) as answer:
        assert 'fastgpu_standby_hits_total{kernelspec="fastgpu"} 1.0' in answer.read().decode()
    assert [(one.kernelspec, *one.hidden) for one in recent_starts.read()] == [("fastgpu", "CUDA_VISIBLE_DEVICES")]
    assert jupyter.call("DELETE", f"api/sessions/{session['id']}")[0] == 204


def test_an_expectation_that_was_wrong_is_dropped(isolated: Path) -> None:
    """No standby kernel waits for it any longer; those of other kernelspecs, and of earlier launches, stay."""
    kernels = StandbyKernels(AsyncMultiKernelManager())
    expected = [Start(name, ("python",), {"A": "1"}) for name in ("one", "two")]
    kernels.expect(expected)
    kernels.note_launch(expected[0]._replace(environment={"A": "2"}))
    assert [(one.kernelspec, one.environment["A"]) for one in kernels._recent] == [("two", "1"), ("one", "2")]
    kernels.note_launch(expected[0]._replace(environment={"A": "3"}))
    assert [one.environment["A"] for one in kernels._recent] == ["1", "2", "3"]
