"""The cache key of a job that is submitted, where caching is asked for or configured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import FastGPUError, Message
from ..messages import view_of
from .words import JobOptions

if TYPE_CHECKING:
    from ..wire.schemas.jobs import JobCacheBody
    from .cache import CacheKey, Declared, NotCacheable
    from .call_file import FunctionCall

#: Seconds that the pool manager has to answer.
TIMEOUT_S = 2.0


def of_cell(
    code: str, namespace: Mapping[str, Any], options: JobOptions, environment: Mapping[str, Any]
) -> JobCacheBody | None:
    """Return the key of a cell; ``code`` is Python. None where the result is not to be cached."""
    from .cache import key_of_cell

    def key(declared: Declared) -> CacheKey | NotCacheable:
        return key_of_cell(
            code, namespace, options.inputs, outputs=options.outputs, declared=declared, environment=environment
        )

    return _body("cell", options, key)


def of_function(call: FunctionCall, options: JobOptions, environment: Mapping[str, Any]) -> JobCacheBody | None:
    """Return the key of a call. None where the result is not to be cached."""
    from .cache import key_of_function

    def key(declared: Declared) -> CacheKey | NotCacheable:
        return key_of_function(call.function, call.args, call.kwargs, declared=declared, environment=environment)

    return _body("function", options, key)


def of_notebook(
    content: bytes,
    parameters: Mapping[str, Any],
    options: JobOptions,
    environment: Mapping[str, Any],
    kernel: str | None,
) -> JobCacheBody | None:
    """Return the key of a notebook with that content. None where the result is not to be cached."""
    from .cache import key_of_notebook

    def key(declared: Declared) -> CacheKey | NotCacheable:
        notebook = json.loads(content)
        return key_of_notebook(notebook, parameters, kernel=kernel, declared=declared, environment=environment)

    return _body("notebook", options, key)


def of_command(argv: Sequence[str], options: JobOptions, environment: Mapping[str, Any]) -> JobCacheBody | None:
    """Return the key of a command. None where the result is not to be cached."""
    from .cache import key_of_command

    return _body("command", options, lambda declared: key_of_command(argv, declared=declared, environment=environment))


def _body(kind: str, options: JobOptions, key: Callable[[Declared], CacheKey | NotCacheable]) -> JobCacheBody | None:
    from .cache import Declared, NotCacheable
    from .settings import load

    settings = load()
    asked = options.cache
    if asked is None:
        asked = options.refresh or options.key is not None or bool(settings.of_kind("cache", kind))
    if not asked:
        return None
    model = None
    if options.numeric:
        model = _model(options.size or settings.of_kind("size", kind))
        if model is None:
            return _not_cached(Message.of("cache.gpu_model_unknown"), options)
    found = key(
        Declared(
            files=tuple(options.files),
            variables=tuple(options.variables),
            seed=options.seed,
            gpu_model=model,
            key=options.key,
            save=tuple(options.save),
        )
    )
    if isinstance(found, NotCacheable):
        return _not_cached(found.message, options)
    ingredients: Any = list(found.ingredients)
    return {"key": found.digest, "ingredients": ingredients, "refresh": options.refresh, "reason": None}


def _not_cached(reason: Message, options: JobOptions) -> JobCacheBody:
    return {"key": None, "ingredients": [], "refresh": options.refresh, "reason": view_of(reason)}


def _model(size: str) -> str | None:
    """Return the model of every device that could serve a size; None where they differ or are not known."""
    from ..wire.client import PoolClient
    from ..wire.locate import pool_socket

    try:
        options = PoolClient(pool_socket(), timeout_s=TIMEOUT_S).sizes()["options"]
    except (FastGPUError, OSError):
        return None
    models = {option["model"] for option in options}
    named = {option["model"] for option in options if option["size"] == size}
    [model] = named if len(named) == 1 else models if len(models) == 1 else {None}
    return model
