"""Checks of the project's vocabulary: rejected words, docstrings that are too short, type names defined twice.

``python -m tests.vocabulary [PATH ...]`` prints what ``tests/test_vocabulary.py`` rejects, all of it or below PATH. The
words are in ``docs/rejected-words.toml``; ``docs/glossary.md`` has the terms to use.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "fastgpu_jupyter"
WORDS = ROOT / "docs/rejected-words.toml"
DOCSTRING_WORDS_MIN = 4
#: Files that name rejected words because they are about them.
EXEMPT = ("docs/glossary.md", "tests/vocabulary.py", "tests/test_vocabulary.py")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_DECLARED_IN_TYPESCRIPT = re.compile(
    r"\b(?:const|let|function|class|interface|type|enum)\s+(\w+)|^\s+(?:readonly\s+|private\s+|public\s+)*(\w+)[?!]?\s*[(:]",
    re.MULTILINE,
)


class Rejected(NamedTuple):
    """A word that the project does not use, and what it uses instead."""

    word: str
    use: str
    allowed: tuple[re.Pattern[str], ...]  #: identifiers or lines in which the word means something else


class Rules(NamedTuple):
    """The rejected words of identifiers and the rejected phrases of text."""

    identifiers: dict[str, Rejected]
    phrases: tuple[tuple[re.Pattern[str], Rejected], ...]


def load_rules(path: Path = WORDS) -> Rules:
    """Return the rules of a file such as ``docs/rejected-words.toml``."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))

    def rejected(table: dict[str, object]) -> Rejected:
        allowed = table.get("allowed", [])
        assert isinstance(allowed, list)
        return Rejected(str(table["word"]), str(table["use"]), tuple(re.compile(one) for one in allowed))

    identifiers = {one.word: one for one in map(rejected, tables["identifier"])}
    phrases = tuple(
        (re.compile(rf"\b{re.escape(one.word)}\b", re.IGNORECASE), one) for one in map(rejected, tables["phrase"])
    )
    return Rules(identifiers, phrases)


def parts_of(identifier: str) -> list[str]:
    """Return the words of an identifier in snake or camel case, in lower case."""
    return [part.lower() for part in _PART.findall(identifier)]


def rejected_identifiers(name: str, text: str, rules: Rules) -> Iterator[str]:
    """Yield each identifier that a file defines and that has a rejected part, as ``path:line: why``."""
    declared = _declared_in_python(text) if name.endswith(".py") else _declared_in_typescript(text)
    for line, identifier in declared:
        for part in parts_of(identifier):
            rule = rules.identifiers.get(part)
            if rule is not None and not any(allowed.search(identifier) for allowed in rule.allowed):
                yield f"{name}:{line}: {identifier}: not {part!r} but {rule.use}"


def _declared_in_python(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(asname)):
                yield node.lineno, asname


def _declared_in_typescript(text: str) -> Iterator[tuple[int, str]]:
    for match in _DECLARED_IN_TYPESCRIPT.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1] or match[2]


def rejected_phrases(name: str, text: str, rules: Rules) -> Iterator[str]:
    """Yield each line of prose (comments, strings, documentation) with a rejected phrase, as ``path:line: why``."""
    prose = _prose_of_python(text) if name.endswith(".py") else enumerate(text.splitlines(), 1)
    for line, words in prose:
        for pattern, rule in rules.phrases:
            if pattern.search(words) and not any(allowed.search(words) for allowed in rule.allowed):
                yield f"{name}:{line}: not {rule.word!r} but {rule.use}: {words.strip()[:90]}"


def _prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)):
            yield from enumerate(token.string.splitlines(), token.start[0])


def short_docstrings(name: str, text: str) -> Iterator[str]:
    """Yield each public module, class or function whose docstring has too few words, as ``path:line: why``."""
    tree = ast.parse(text)
    for node in _public_definitions(tree):
        said = ast.get_docstring(node)
        label = getattr(node, "name", "module")
        if said is not None and len(said.split()) < DOCSTRING_WORDS_MIN:
            yield f"{name}:{getattr(node, 'lineno', 1)}: {label}: the docstring {said!r} says too little"


def _public_definitions(node: ast.AST) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    if isinstance(node, ast.Module):
        yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public_definitions(child)


def types_defined_twice(files: Iterable[tuple[str, str]]) -> list[str]:
    """Return each class name or type alias that more than one of the Python files defines at its top level."""
    places = defaultdict(list)
    for name, text in files:
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{name}:{node.lineno}")
    return [f"{name}: {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]


def committed(*suffixes: str) -> list[tuple[str, str]]:
    """Return name and text of the files of the checkout that are neither ignored nor generated, by suffix."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [
        (name, (ROOT / name).read_text(encoding="utf-8"))
        for name in sorted(listed)
        if name.endswith(suffixes) and "/generated/" not in name and (ROOT / name).is_file()
    ]


def findings(below: tuple[str, ...] = ("",)) -> list[str]:
    """Return everything that is rejected in files whose path begins with one of ``below``."""
    rules = load_rules()
    found: list[str] = []
    python = committed(".py")
    for name, text in [*python, *committed(".ts", ".tsx", ".md")]:
        if name.startswith(below) and name not in EXEMPT:
            if not name.endswith(".md"):
                found += rejected_identifiers(name, text, rules)
            if name not in EXEMPT:
                found += rejected_phrases(name, text, rules)
            if name.endswith(".py") and name.startswith(PACKAGE):
                found += short_docstrings(name, text)
    if any(PACKAGE.startswith(one) or one.startswith(PACKAGE) for one in below):
        found += types_defined_twice(one for one in python if one[0].startswith(PACKAGE))
    return found


if __name__ == "__main__":
    print("\n".join(findings(tuple(sys.argv[1:]) or ("",))))  # noqa: T201
