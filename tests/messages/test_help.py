"""The help of the commands is in the language of the process, and its Chinese is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastgpu_jupyter.messages import zh_CN_help
from fastgpu_jupyter.messages.help import CommandApp
from fastgpu_jupyter.text import display_width
from tests.messages.help_texts import commands, texts

ROOT = Path(__file__).resolve().parents[2]


def test_every_text_of_a_help_is_translated_and_no_translation_is_left_over() -> None:
    wanted = texts()
    missing = {text: where for text, where in wanted.items() if text not in zh_CN_help.TEXTS}
    assert missing == {}
    assert set(zh_CN_help.TEXTS) - set(wanted) == set()


def test_every_command_has_its_help_in_the_language_of_the_process() -> None:
    assert [app.__name__ for app in commands() if not issubclass(app, CommandApp)] == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["", "pool --help-all", "quota", "fsck", "kernelspec install"])
def test_help_in_chinese_has_no_english_sentence_and_fits_the_terminal(command: str) -> None:
    environ = {**os.environ, "FASTGPU_LANGUAGE": "zh_CN", "PYTHONUTF8": "1"}
    asked = [sys.executable, "-m", "fastgpu_jupyter", *command.split()]
    done = subprocess.run(
        asked if "--help" in command else [*asked, "--help"],
        capture_output=True, text=True, check=True, timeout=60, env=environ, cwd=ROOT, encoding="utf-8",
    )  # fmt: skip
    lines = done.stdout.splitlines()
    english = [line for line in lines if re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", line) and "fastgpu" not in line]
    assert english == []
    assert [line for line in lines if display_width(line) > 100] == []
