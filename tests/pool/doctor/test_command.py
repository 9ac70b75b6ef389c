"""``jupyter fastgpu doctor``: what it prints and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fastgpu_jupyter.cli import doctor
from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.pool.devices.diagnosis import DoctorFinding, FindingState
from fastgpu_jupyter.pool.doctor.gather import gather
from fastgpu_jupyter.pool.doctor.rules import verdict


def test_table_shows_a_remedy_in_one_piece() -> None:
    remedy = "sudo something " * 10
    subject, why = Message.of("doctor.driver"), Message.of_text("why " * 40)
    finding = DoctorFinding(subject, FindingState.BROKEN, why, Message.of_text(remedy.strip()))
    lines = doctor.table([finding])
    assert lines[0].startswith("WHAT    STATE")
    assert lines[-1].strip() == f"-> {remedy.strip()}"
    assert all(len(line) <= 100 for line in lines[:-1])


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_doctor_command_exits_with_its_verdict(flags: list[str]) -> None:
    command = [sys.executable, "-m", "fastgpu_jupyter", "doctor", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    outcome = verdict(gather())
    assert done.returncode == outcome.value, done.stderr
    if flags:
        output = json.loads(done.stdout)
        assert output["verdict"] == outcome.name.lower()
        assert {"subject", "state", "detail", "remedy"} == set(output["findings"][0])
        assert output["machine"]["host"]["system"] == "Linux"
    else:
        assert "WHAT" in done.stdout
