"""The strings of the front end that can be translated: literals of ``trans.__``, ``_n``, ``_p`` and ``_np``.

``python -m tests.labextension.strings`` lists what has no Chinese translation yet, of the front end and of
``fastgpu_jupyter/messages``, in the form in which the sources of translations have it. With ``--prune`` it also removes
the translations of strings that the front end does not have any more.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jupyterlab_server.translation_utils import _prepare_schema_patterns

from fastgpu_jupyter.messages import Plural, catalogue

LABEXTENSION = Path(__file__).resolve().parent.parent.parent / "labextension"
#: The translations of the front end's strings, by the English text; those with a context by ``CONTEXT | text``.
SOURCE = LABEXTENSION / "locale/zh_CN.json"
#: Subjects of messages that the browser does not get: those that only errors have, which the server sends as text,
#: and those that only the kernel or the command line shows.
NOT_IN_BROWSER = frozenset({
    "config", "http", "intent", "kernelspec", "launch", "lease", "option", "rates", "request", "size", "tenant",
    "transfer", "units", "users", "version",
    "call", "cell", "cli", "cold", "column", "device_state", "enforced", "history", "label", "magic", "note", "profile", "progress",
    "size_effect", "state", "summary", "title", "value", "widget",
    "compare", "job", "job_cell", "job_state", "job_view", "job_words",
    "device_access", "doctor", "doctor_state", "fsck", "help", "kept", "mig_mode", "pool_process", "pool_start", "standby",
    "kept_state", "preload", "requested", "wait",
})  # fmt: skip
#: Of subjects that leases or jobs have, too: errors of what starts kernels on a cluster and of calls of the dispatcher,
#: which servers send as text.
ONLY_ERRORS = frozenset({
    "cluster.agent_busy", "cluster.agent_unclear", "cluster.files_too_large", "cluster.kernel_is_local",
    "cluster.kernel_not_encrypting", "cluster.kernel_not_started", "cluster.kernel_runs", "cluster.kernel_silent",
    "cluster.lease_needs_restart", "cluster.no_kernel", "cluster.no_kernel_here", "cluster.not_granted_at_position",
    "cluster.not_granted_in_time", "cluster.pool_is_local", "cluster.start_too_large", "cluster.system_pool",
    "cluster.unknown_engine",
    "jobs.body_invalid", "jobs.draft_lacks", "jobs.draft_too_large", "jobs.folder_of_another", "jobs.frame_too_long",
    "jobs.no_call", "jobs.no_file", "jobs.no_image", "jobs.no_job", "jobs.no_result", "jobs.other_version",
    "jobs.socket_of_another_user", "jobs.store_foreign", "jobs.too_many_followers", "jobs.wrong_arguments",
})  # fmt: skip
#: The module that translates the templates of ``fastgpu_jupyter/messages``, which are not literals there.
OF_MESSAGES = "texts/message.ts"

_CALL = re.compile(r"\.(__|_n|_p|_np)\(\s*")
_LITERAL = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|`(?:[^`\\$]|\\.)*`")
_COMMENT = re.compile(r"^\s*(?://|\*|/\*)")


class Translatable(NamedTuple):
    """A call in a source of the front end."""

    where: str
    context: str
    text: str
    plural: str | None

    @property
    def key(self) -> str:
        """How the source of translations names it."""
        return f"{self.context} | {self.text}" if self.context else self.text


def is_in_browser(code: str) -> bool:
    """Return whether the browser renders the message of a code."""
    return code.partition(".")[0] not in NOT_IN_BROWSER and code not in ONLY_ERRORS


def sources() -> Iterator[Path]:
    """Yield the TypeScript sources that are not generated."""
    found = sorted((LABEXTENSION / "src").rglob("*.ts*"))
    yield from (path for path in found if "generated" not in path.parts)


def translatables() -> Iterator[Translatable | str]:
    """Yield every call that translates, or where it is if its arguments are no literals, and the texts of settings."""
    for path in sources():
        name = path.relative_to(LABEXTENSION / "src").as_posix()
        if name != OF_MESSAGES:
            yield from calls_in(path.read_text(encoding="utf-8"), name)
    yield from schema_texts()


def schema_texts() -> Iterator[Translatable]:
    """Yield the texts of the settings' schemas, in the contexts in which JupyterLab translates them."""
    for path in sorted((LABEXTENSION / "schema").glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        patterns = _prepare_schema_patterns(schema)
        for where, text in _texts_in(schema, ""):
            context = next((context for pattern, context in patterns.items() if pattern.fullmatch(where)), None)
            if context is not None:
                yield Translatable(f"schema/{path.name}{where}", context, text, None)


def _texts_in(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Yield every text in a schema with its place, as JupyterLab names it."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts_in(inner, f"{where}/{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts_in(inner, f"{where}[{number}]")


def calls_in(source: str, name: str) -> Iterator[Translatable | str]:
    """Yield the calls in one source."""
    for call in _CALL.finditer(source):
        line = source.count("\n", 0, call.start()) + 1
        where = f"{name}:{line}"
        if _COMMENT.match(source.splitlines()[line - 1]):
            continue
        expected = {"__": 1, "_n": 2, "_p": 2, "_np": 3}[call[1]]
        texts, position = [], call.end()
        for _ in range(expected):
            text, position = _text_at(source, position)
            if text is None:
                break
            texts.append(text)
        if len(texts) < expected:
            yield where
            continue
        context = texts.pop(0) if "p" in call[1] else ""
        yield Translatable(where, context, texts[0], texts[1] if len(texts) > 1 else None)


def _text_at(source: str, position: int) -> tuple[str | None, int]:
    """Return the literal at a position, with those that are added to it, and where the next argument begins."""
    text = None
    while match := _LITERAL.match(source, position):
        quoted = match[0]
        body = quoted[1:-1].replace('"', '\\"') if quoted[0] != '"' else quoted[1:-1]
        text = (text or "") + str(ast.literal_eval(f'"""{body}"""'))
        rest = re.compile(r"\s*(\+|,)?\s*").match(source, match.end())
        assert rest is not None
        position = rest.end()
        if rest[1] != "+":
            break
    return text, position


def translations() -> dict[str, str]:
    """Return the Chinese translations of the front end's strings."""
    found: dict[str, str] = json.loads(SOURCE.read_text(encoding="utf-8"))
    return found


def bundle() -> str:
    """Return the catalogue that JupyterLab loads for the extension's domain: its own strings and those of messages."""
    entries: dict[str, object] = {
        "": {
            "domain": "fastgpu_jupyter",
            "language": "zh-CN",
            "plural_forms": "nplurals=1; plural=0;",
            "version": "fastgpu_jupyter",
        }
    }
    plural = {one.key for one in translatables() if isinstance(one, Translatable) and one.plural is not None}
    for key, text in translations().items():
        entries[key.replace(" | ", "\x04", 1)] = [text, text] if key in plural else [text]
    chinese = catalogue("zh_CN")
    for code, template in sorted(catalogue().items()):
        translated = chinese.get(code)
        if translated is None or not is_in_browser(code):
            continue
        # JupyterLab takes a list of one text for a singular, and a longer one for a plural.
        assert isinstance(translated, str)  # Chinese has one form
        translated = escaped(translated)
        if isinstance(template, Plural):
            entries.setdefault(escaped(template.one), [translated, translated])
        else:
            entries.setdefault(escaped(template), [translated])
    return json.dumps(dict(sorted(entries.items())), ensure_ascii=False, indent=1) + "\n"


def escaped(text: str) -> str:
    """Return a text as JupyterLab's translator takes it: it reads two percent signs as one."""
    return text.replace("%%", "%%%%")


def missing() -> tuple[list[Translatable], list[str]]:
    """Return what has no translation: strings of the front end, and codes of messages."""
    known, chinese = translations(), catalogue("zh_CN")
    strings = {one.key: one for one in translatables() if isinstance(one, Translatable)}
    return [one for key, one in strings.items() if key not in known], [
        code for code in catalogue() if code not in chinese
    ]


def prune() -> None:
    """Remove the translations of strings that the front end does not have, and sort the others."""
    used = {one.key for one in translatables() if isinstance(one, Translatable)}
    kept = {key: text for key, text in sorted(translations().items()) if key in used}
    SOURCE.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    """Print what is not translated; return 1 if there is anything."""
    if "--prune" in argv:
        prune()
    strings, codes = missing()
    write = sys.stdout.write
    if strings:
        write(f"# labextension/locale/{SOURCE.name}\n")
    for one in strings:
        write(f'  {json.dumps(one.key, ensure_ascii=False)}: "",\n')
    if codes:
        write("# fastgpu_jupyter/messages/zh_CN*.py\n")
    for code in codes:
        template = catalogue()[code]
        write(f'    "{code}": "",  # {template.other if isinstance(template, Plural) else template}\n')
    return 1 if strings or codes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
