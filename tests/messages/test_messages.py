"""The catalogue of sentences: every code has one, with exactly its parameters, and the core has no prose of its own."""

from __future__ import annotations

import ast
import json
import re
import string
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from fastgpu_jupyter.core.model.device import MISSING
from fastgpu_jupyter.core.model.entities import EndReason, Enforcement, Health, ParkReason, PendingReason
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.model.size import SizeEffect
from fastgpu_jupyter.core.scheduling.next_to_yield import YieldState
from fastgpu_jupyter.errors import Conflict, HostFault, Message
from fastgpu_jupyter.messages import Plural, catalogue, joined, language, render, sentence_of, text_of, view_of, zh_CN
from fastgpu_jupyter.pool.devices.diagnosis import FindingState
from fastgpu_jupyter.pool.doctor.standby import BOUNDS
from fastgpu_jupyter.server.start_match import MissReason
from fastgpu_jupyter.wire.job_states import JobState
from fastgpu_jupyter.wire.preload import RefusalReason
from fastgpu_jupyter.wire.schemas.kept_kernel import KEPT_STATES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fastgpu_jupyter"
#: Codes that are made of an enumeration, with the parameters of each.
OF_ENUMERATIONS: Mapping[str, frozenset[str]] = {
    **{f"pending.{reason.value}": frozenset({"place"}) for reason in PendingReason},
    **{f"end.{reason.value}": frozenset() for reason in EndReason},
    **{f"park.{reason.value}": frozenset() for reason in ParkReason},
    **{f"state.{state.value}": frozenset() for state in (*LeaseState, *JobState)},
    **{f"device_state.{state}": frozenset() for state in (*Health, MISSING)},
    **{f"doctor_state.{state.value}": frozenset() for state in FindingState},
    **{f"size_effect.{effect.value}": frozenset() for effect in SizeEffect},
    **{f"enforced.{enforcement.value}": frozenset() for enforcement in Enforcement},
    **{f"preload.{reason.value}": frozenset() for reason in RefusalReason},
    **{f"cold.{reason.value}": frozenset() for reason in MissReason},
    **{f"cold.{bound}": frozenset() for bound in BOUNDS},
    **{f"kept_state.{state}": frozenset() for state in KEPT_STATES},
    **{f"holder.{state.value}": frozenset({"holder"}) for state in YieldState if state is not YieldState.NOT_PARKABLE},
}
#: The parameters of the message that holds a text as it is.
OF_TEXT = {"host.detail": frozenset({"text"})}


class Use(NamedTuple):
    """A call of ``Message.of`` or of ``say`` in the source."""

    where: str
    code: str | None  #: ``None``: it is not a literal
    params: frozenset[str]


@cache
def uses() -> tuple[Use, ...]:
    """Every call of ``Message.of`` and of ``say`` in the package."""
    sources = ((path, path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py")))
    return tuple(
        use for path, source in sources if "Message.of(" in source or "say(" in source for use in uses_in(path, source)
    )


def uses_in(path: Path, source: str) -> Iterator[Use]:
    """The calls of ``Message.of`` and of ``say`` in one module."""
    functions = {"Message.of"} | (
        {"say"} if re.search(r"(?:messages|\.render) import [^\n]*\bsay\b", source) else set()
    )
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in functions:
            first = node.args[0] if node.args else None
            code = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
            names = frozenset(one.arg or "**" for one in node.keywords)
            yield Use(f"{path.relative_to(ROOT)}:{node.lineno}", code, names)


def parameters(code: str) -> set[str]:
    """The parameters that the sentence of a code names."""
    template = catalogue()[code]
    texts = (template.one, template.other) if isinstance(template, Plural) else (template,)
    named = {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}
    return named | ({template.plural} if isinstance(template, Plural) else set())


@pytest.fixture(autouse=True, scope="module")
def parsed() -> None:
    """Parse the package before the first test that asks for its calls."""
    uses()


def test_message_of_every_call_has_a_sentence_with_exactly_its_parameters() -> None:
    wrong = [use for use in uses() if use.code is None or use.code not in catalogue()]
    assert wrong == []
    differing = [use for use in uses() if use.code is not None and use.params != parameters(use.code)]
    assert differing == []


def test_catalogue_has_no_sentence_that_is_never_used() -> None:
    used = {use.code for use in uses()} | OF_ENUMERATIONS.keys() | OF_TEXT.keys()
    assert set(catalogue()) - used == set()


@pytest.mark.parametrize(("code", "params"), [*OF_ENUMERATIONS.items(), *OF_TEXT.items()])
def test_message_of_an_enumeration_has_a_sentence(code: str, params: frozenset[str]) -> None:
    assert parameters(code) == params


def test_catalogue_sentences_are_all_different() -> None:
    # A word may need another translation in another place.
    texts = [text for text in map(str, catalogue().values()) if " " in text]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("path", sorted([*(PACKAGE / "core").rglob("*.py"), PACKAGE / "units.py"]), ids=str)
def test_core_module_has_no_prose_outside_of_docstrings_and_internal_errors(path: Path) -> None:
    assert list(prose(path.read_text(encoding="utf-8"))) == []


def prose(source: str) -> Iterator[str]:
    """The sentences among the string literals of a module, but for docstrings and the texts of internal errors."""
    tree = ast.parse(source)
    allowed: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            allowed.add(id(node.value))  # a docstring
        internal = isinstance(node, ast.Raise) and node.exc is not None and "InternalError" in ast.unparse(node.exc)
        if internal or isinstance(node, ast.Assert):
            allowed.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in allowed
        if is_text and re.search(r"\w \w.*[.:;]\s*$", str(node.value)):  # type: ignore[attr-defined]
            yield f"{node.lineno}: {node.value}"  # type: ignore[attr-defined]


#: What prints or sends sentences to users: a phrase in it belongs to the catalogue.
SHOWN = (
    "cli", "kernel", "kernelspec", "server", "pool/doctor", "pool/devices/nvidia/doctor",
    "pool/host/single_instance.py", "pool/journal/fsck.py", "pool/settings.py", "pool/idle_settings.py",
)  # fmt: skip
#: Texts in these that are no sentences: commands, queries, markup, regular expressions, and what other programs said.
NOT_SHOWN = re.compile(
    r"<|%|\(\\d|: (FastGPU events|still here)|No module named|exit status |display: |style=|charset=|attachment;"
    r"|default-src |^\[--"
    r"|^(sudo |jupyter fastgpu[\w ]*(--\S+.*)?$|PRAGMA|DELETE FROM|SELECT )"
    # Details of a damaged journal, a driver and a process, which are shown within a sentence as they are.
    r"|does not fit what came before|no answer within|CUDA says|bindings failed|was not found|has not ended"
)
#: Its texts are regular expressions.
NO_TEXTS = ("cell_kinds.py", "start_counters.py")
#: Attributes of the classes of commands that a help shows: test_help.py requires their Chinese.
OF_HELP = {"description", "examples", "flags", "aliases", "subcommands"}


@pytest.mark.slow
def test_module_that_users_read_has_no_phrase_of_its_own() -> None:
    modules = [path for part in SHOWN for path in sorted((PACKAGE / part).rglob("*.py")) or [PACKAGE / part]]
    texts = [(path, path.read_text(encoding="utf-8")) for path in modules if path.name not in NO_TEXTS]
    assert [f"{path.relative_to(PACKAGE)}:{phrase}" for path, text in texts for phrase in phrases(text)] == []


def phrases(source: str) -> Iterator[str]:
    """The string literals of a module with at least two words, but for docstrings, internal errors, logs and help."""
    tree = ast.parse(source)
    allowed: set[int] = set()
    for node in ast.walk(tree):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        internal = isinstance(node, ast.Assert) or (
            isinstance(node, ast.Raise) and "InternalError" in ast.unparse(node)
        )
        named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in OF_HELP
        help_text = named or (isinstance(node, ast.keyword) and node.arg == "help")
        log = isinstance(node, ast.Call) and re.match(r"(?:self\.)?_?log\.|warnings\.", ast.unparse(node.func))
        if docstring or internal or help_text or log:
            allowed.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in allowed:
            words = re.search(r"[A-Za-z]{2,}[,;:]? [a-z]{2,}|\w [a-z]+[.:]\s*$", node.value)
            if words and not NOT_SHOWN.search(node.value):
                yield f"{node.lineno}: {node.value}"


def test_phrases_finds_what_users_read_and_nothing_else() -> None:
    assert list(phrases('write("No pool manager serves")\n')) == ["1: No pool manager serves"]
    assert list(phrases('x = f"{device} does not support MIG."\n')) == ["1:  does not support MIG."]
    nothing = '"""A doc string."""\nlog.info("It is so.")\nx = Bool(help="Do it so.")\nflags = {"a": "Do it so."}\n'
    assert list(phrases(nothing)) == []


def test_prose_finds_a_sentence_in_a_literal_and_in_an_f_string() -> None:
    assert list(prose('"""A doc string."""\nx = "It is so."\n')) == ["2: It is so."]
    assert list(prose('x = f"{1} is too much."\nraise InternalError("It is so.")\n')) == ["1:  is too much."]
    assert list(prose('x = "a.b.c"\ny = "no sentence"\n')) == []


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Message.of_text("As it is."), "As it is."),
        (
            Message.of("resize.memory_in_use", used_bytes=3 << 30, limit_bytes=1 << 30, size="1GiB", kept="full"),
            (
                "Resize to 1GiB refused. 3 GiB are in use and 1GiB has 1 GiB. Nothing was changed: full stays. Free "
                "memory, or choose full or more."
            ),
        ),
        (
            Message.of("pending.capacity", place=Message.of("queue.requests_ahead", count=1)),
            "Every GPU that could serve this is in use; 1 request is before it.",
        ),
        (
            Message.of("pending.capacity", place=Message.of("queue.requests_ahead", count=2)),
            "Every GPU that could serve this is in use; 2 requests are before it.",
        ),
        (
            Message.of("resize.needs_restart", libraries=("A", "B", "C"), count=3),
            "A, B and C keep the earlier size until the kernel is restarted.",
        ),
        (
            Message.of("resize.above_quota", tenant="ann", limit_milli=1500),
            (
                "With that, ann would hold more than the 1.5 GPUs that it may have. Nothing was changed; release "
                "another lease, or ask an administrator for a higher quota."
            ),
        ),
        (
            Message.of(
                "fault.certain",
                fault=Message.of_text("read or wrote outside its memory on the GPU"),
                fault_code="Xid 31",
                advice="",
            ),
            (
                "Your code read or wrote outside its memory on the GPU: Xid 31. What this kernel has on the GPU is "
                "lost; restart the kernel."
            ),
        ),
        (Message("of.a.newer.version", {"count": 3}), "of.a.newer.version (count=3)"),
    ],
)
def test_render_fills_parameters_in_by_their_units(message: Message, text: str) -> None:
    assert render(message) == text


@pytest.mark.parametrize("text", ["\x1b[2J", "\u202egnp", "a\n[W] forged", "tab\there", "half\ud800"])
def test_render_inserts_texts_from_outside_on_one_line_and_printable(text: str) -> None:
    for message in (
        Message.of_text(text),
        Message.of("refused.no_such_model", size=text, models=(text, text), sizes=()),
    ):
        assert render(message).isprintable()


def test_text_of_returns_the_sentence_of_a_code_and_the_text_of_a_plain_error() -> None:
    assert text_of(Conflict(Message.of("lease.over"))) == "This lease is over; ask for a new one."
    assert text_of(HostFault("The driver is gone.")) == "The driver is gone."
    assert str(Conflict(Message.of("lease.not_found", lease="'a'"))) == "lease.not_found (lease='a')"


def test_view_of_carries_code_parameters_and_the_english_text() -> None:
    assert view_of(None) is None
    view = view_of(Message.of("pending.quota", place=Message.of("queue.next")))
    assert view == {
        "code": "pending.quota",
        "params": {"place": {"code": "queue.next", "params": {}, "text": "it is next"}},
        "text": "Its tenant holds all that it may have at once; it is next.",
    }
    assert json.loads(json.dumps(view)) == view


def test_module_prints_the_catalogue_as_json() -> None:
    command = [sys.executable, "-m", "fastgpu_jupyter.messages", "--json"]
    printed = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert printed["language"] == "en"
    assert set(printed["messages"]) == set(catalogue())
    assert printed["messages"]["queue.requests_ahead"] == {
        "plural": "count",
        "one": "{count} request is before it",
        "other": "{count} requests are before it",
    }


def test_render_uses_the_language_of_the_process_and_english_where_it_lacks_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chinese = {"queue.next": "排在下一位", "host.detail": "{text}", "pending.capacity": "没有空闲的 GPU；{place}。"}
    monkeypatch.setattr(zh_CN, "MESSAGES", chinese)
    monkeypatch.setattr(language, "_current", "en")
    catalogue.cache_clear()
    try:
        waits = Message.of("pending.capacity", place=Message.of("queue.next"))
        assert render(waits) == "Every GPU that could serve this is in use; it is next."
        language.use("zh_CN")
        assert render(waits) == "没有空闲的 GPU；排在下一位。"
        assert render(Message.of("lease.over")) == "This lease is over; ask for a new one."
        assert joined([render(waits), None, render(Message.of_text("Xid 31.")), render(waits)]) == (
            "没有空闲的 GPU；排在下一位。Xid 31. 没有空闲的 GPU；排在下一位。"
        )
        # On the wire every sentence is English; a reader shows it in its own language, where it knows the code.
        assert view_of(waits)["text"] == "Every GPU that could serve this is in use; it is next."
        assert sentence_of(view_of(waits)) == "没有空闲的 GPU；排在下一位。"
        assert sentence_of({"code": "of.a.newer.version", "params": {}, "text": "It is new."}) == "It is new."
        language.use("tlh")
        assert language.current() == "en"
    finally:
        catalogue.cache_clear()


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh_CN"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LC_MESSAGES": "zh_SG"}, "zh_CN"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh_CN"),
        ({"LANG": "C", "LANGUAGE": "zh_CN"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "FASTGPU_LANGUAGE": "en"}, "en"),
        ({"FASTGPU_LANGUAGE": "zh-Hans"}, "zh_CN"),
        ({"LANG": "zh_TW.UTF-8"}, "en"),
    ],
)
def test_preferred_language_follows_the_environment(environ: dict[str, str], chosen: str) -> None:
    assert language.preferred(environ) == chosen
