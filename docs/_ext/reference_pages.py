"""A Sphinx extension that writes the reference pages from the code before the pages are read.

Each function returns one page as MyST Markdown. The pages are in ``docs/reference`` with the suffix ``.generated.md``;
git ignores them. A page shows what the code defines, so it cannot differ from the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from traitlets.config import Configurable


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def code(text: object) -> str:
    """Return ``text`` as inline code; empty where there is nothing to show."""
    shown = str(text)
    return f"`{shown}`" if shown else ""


def page(title: str, introduction: str, *parts: str) -> str:
    """Return a page with a title and an introduction."""
    return "\n\n".join([f"# {title}", introduction, *parts]) + "\n"


# -- command line ------------------------------------------------------------------------------------------------------


def command_line() -> str:
    """Return the page of ``jupyter fastgpu``."""
    from traitlets.utils.importstring import import_item

    from fastgpu_jupyter.cli import FastGPUApp

    parts = []
    for name, (target, summary) in FastGPUApp.subcommands.items():
        app = import_item(target) if isinstance(target, str) else target
        rows = [(code(f"--{_name(flag)}"), text) for flag, (_, text) in sorted(_mapping(app, "flags").items())]
        rows += [
            (code(f"--{_name(alias)}=…"), code(_alias_target(target)))
            for alias, target in sorted(_mapping(app, "aliases").items())
        ]
        shown = [f"## `jupyter fastgpu {name}`", str(app.description or summary).strip()]
        nested = [(code(f"{name} {sub}"), str(text)) for sub, (_, text) in _mapping(app, "subcommands").items()]
        shown += [table(("subcommand", "what it does"), nested)] if nested else []
        shown += [table(("option", "meaning"), rows)] if rows else []
        parts.append("\n\n".join(shown))
    return page("Command line", "`jupyter fastgpu COMMAND --help` prints the same in a terminal.", *parts)


def _mapping(app: type, name: str) -> dict[Any, Any]:
    """Return a table of an application class; a class that does not define it has the trait in its place."""
    value = getattr(app, name)
    return value if isinstance(value, dict) else dict(value.default() or {})


def _name(key: object) -> str:
    return str(key[-1] if isinstance(key, tuple) else key)


def _alias_target(target: object) -> str:
    return str(target[0] if isinstance(target, tuple) else target)


# -- configuration -----------------------------------------------------------------------------------------------------


def configurable_classes() -> list[type[Configurable]]:
    """Return the classes that a configuration file can set, in the order of the page."""
    from fastgpu_jupyter.jobs.settings import Jobs
    from fastgpu_jupyter.pool.app import FastGPUPool
    from fastgpu_jupyter.server.extension import FastGPUExtension
    from fastgpu_jupyter.server.provisioner import FastGPUProvisioner
    from fastgpu_jupyter.server.standby import StandbyKernels

    own = [cls for cls in FastGPUPool.classes if cls.__module__.startswith("fastgpu_jupyter")]
    return [FastGPUPool, *own, FastGPUProvisioner, FastGPUExtension, StandbyKernels, Jobs]


def own_traits(cls: type[Configurable]) -> Iterator[tuple[str, Any]]:
    """Yield name and trait of everything that can be configured of a class and is not inherited from a library."""
    for name, trait in sorted(cls.class_traits(config=True).items()):
        if trait.this_class is not None and trait.this_class.__module__.startswith("fastgpu_jupyter"):
            yield name, trait


def configuration() -> str:
    """Return the page of the settings."""
    parts = []
    for cls in configurable_classes():
        rows = [(code(f"{cls.__name__}.{name}"), _default(trait), trait.help) for name, trait in own_traits(cls)]
        documentation = (cls.__doc__ or "").strip().partition("\n\n")[0]
        parts.append(f"## {cls.__name__}\n\n{documentation}\n\n{table(('setting', 'default', 'meaning'), rows)}")
    introduction = (
        "Settings of the pool manager are in `jupyter_fastgpu_config.py`, those of the Jupyter server and the "
        "provisioner in `jupyter_server_config.py`, those of jobs in `jupyter_fastgpu_jobs_config.py`, in any folder "
        "that `jupyter --paths` lists under *config*. Each file may be JSON as well."
    )
    return page("Configuration", introduction, *parts)


def _default(trait: Any) -> str:
    value = trait.default_value
    empty = value is None or type(value).__name__ in ("Sentinel", "Undefined") or value in ("", {}, [], ())
    return "none" if empty else code(value)


# -- magics ------------------------------------------------------------------------------------------------------------


def magics() -> str:
    """Return the page of ``%fastgpu``."""
    from fastgpu_jupyter.kernel.verbs import VERBS
    from fastgpu_jupyter.messages import render
    from fastgpu_jupyter.wire.options import usage

    rows = [
        (code(" ".join(part for part in ("%fastgpu", verb.name, verb.arguments) if part)), render(verb.summary))
        for verb in VERBS.values()
    ]
    options = f"The options of a request are:\n\n```text\n{usage()}\n```"
    introduction = "In a kernel that is not FastGPU's, `%load_ext fastgpu_jupyter` loads the verbs that work there."
    return page("Magics", introduction, table(("in a cell", "what it does"), rows), options)


# -- REST --------------------------------------------------------------------------------------------------------------


def rest() -> str:
    """Return the page of the pool manager's HTTP interface, from its OpenAPI document."""
    from fastgpu_jupyter.wire.openapi import document

    described = document()
    rows = [
        (code(f"{method.upper()} {path}"), operation.get("summary", ""))
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    ]
    schemas = []
    for name, schema in sorted(described.get("components", {}).get("schemas", {}).items()):
        properties = schema.get("properties")
        if properties:
            fields = [(code(field), _type(value), value.get("description", "")) for field, value in properties.items()]
            schemas.append(f"### {name}\n\n{table(('field', 'type', 'meaning'), fields)}")
    introduction = (
        "The pool manager speaks HTTP on its Unix socket. `GET /v1/openapi.json` returns the document from which this "
        "page is made. The Jupyter server offers the part that the browser needs below `fastgpu/api`."
    )
    return page(
        "REST interface", introduction, "## Operations", table(("request", "answer"), rows), "## Schemas", *schemas
    )


def _type(schema: dict[str, Any]) -> str:
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_type(one) for one in schema[key])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(map(str, kind))
    return f"list of {_type(schema.get('items', {}))}" if kind == "array" else str(kind)


# -- metrics, events, errors, messages ---------------------------------------------------------------------------------


def errors() -> str:
    """Return the page of the error codes."""
    from fastgpu_jupyter.errors import FastGPUError

    def below(cls: type[FastGPUError]) -> Iterator[type[FastGPUError]]:
        yield cls
        for child in cls.__subclasses__():
            yield from below(child)

    rows = [(code(cls.code), str(cls.status), (cls.__doc__ or "").strip()) for cls in below(FastGPUError)]
    introduction = "Each error has a stable code for programs, an HTTP status and a sentence for people."
    return page("Error codes", introduction, table(("code", "status", "meaning"), rows))


def metrics() -> str:
    """Return the page of the Prometheus metrics."""
    from fastgpu_jupyter.core.model.entities import State
    from fastgpu_jupyter.core.scheduling.queue_report import QueueReport
    from fastgpu_jupyter.pool.devices.driver import Sample
    from fastgpu_jupyter.pool.monitors.metrics import EngineReading, Metrics, MetricsSnapshot

    state = State()
    empty = MetricsSnapshot(
        state,
        QueueReport(state),
        Sample(),
        subscribers=0,
        connections=0,
        accepting=True,
        at=state.last,
        foreign={},
        failures={},
        engine=EngineReading({}, {}, answers=True),
    )
    rows = [
        (code(f"{family.name}_total" if family.type == "counter" else family.name), family.type, family.documentation)
        for family in Metrics().families(empty)
    ]
    introduction = (
        "`GET /v1/metrics` on the pool manager's socket answers in Prometheus' text format. Counters begin at the "
        "start of the pool manager. No label names a user, a notebook or a lease."
    )
    return page("Metrics", introduction, table(("metric", "type", "meaning"), rows))


def events() -> str:
    """Return the page of the events of the Jupyter server and of the journal."""
    from typing import get_args

    from jupyter_events import yaml

    from fastgpu_jupyter.core.model.events import Event
    from fastgpu_jupyter.server import extension

    parts = []
    for path in sorted((Path(extension.__file__).parent / "event_schemas").rglob("*.yaml")):
        schema = yaml.load(path)
        rows = [(code(name), value.get("description", "")) for name, value in schema["properties"].items()]
        parts.append(f"### `{schema['$id']}`\n\n{schema['description']}\n\n{table(('field', 'meaning'), rows)}")
    journal = [(code(cls.__name__), (cls.__doc__ or "").strip().partition("\n\n")[0]) for cls in get_args(Event)]
    return page(
        "Events",
        "The Jupyter server emits events through Jupyter's event bus; the pool manager writes its own to the journal.",
        "## Events of the Jupyter server",
        *parts,
        "## Events in the journal",
        table(("event", "meaning"), journal),
    )


def message_catalogue() -> str:
    """Return the page of the messages, from the English catalogue."""
    from fastgpu_jupyter.messages import Plural, catalogue

    rows = [
        (code(name), f"{template.one} / {template.other}" if isinstance(template, Plural) else template)
        for name, template in sorted(catalogue().items())
    ]
    introduction = (
        "Refusals, reasons and notes are codes with parameters on the wire (`message`, `reason`, `notes`). The "
        "sentence is made of the template. Parameters in braces are formatted by their unit."
    )
    return page("Messages", introduction, table(("code", "English"), rows))


PAGES: dict[str, Callable[[], str]] = {
    "command-line": command_line,
    "configuration": configuration,
    "magics": magics,
    "rest": rest,
    "metrics": metrics,
    "events": events,
    "errors": errors,
    "messages": message_catalogue,
}


def write_pages(folder: Path) -> None:
    """Write all pages; leave a file alone whose content is the same, so that Sphinx does not read it again."""
    for name, make in PAGES.items():
        path, text = folder / f"{name}.generated.md", make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages when Sphinx starts."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "reference"))
    return {"parallel_read_safe": True}
