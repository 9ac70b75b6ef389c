"""Why a result was found or not, and why one was not cached: sentences made of ingredients and of what was observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ...errors import Message
from .ingredients import CATEGORIES, Ingredient

#: So many changes, or so many things that were read, are named; of more the number is.
_NAMED_MAX = 5
Found = TypeVar("Found")


def same(old: Sequence[Ingredient], new: Sequence[Ingredient]) -> bool:
    """Return whether two keys have the same ingredients. Two equal keys without are a forced collision."""
    return _digests(old) == _digests(new)


def difference(old: Sequence[Ingredient], new: Sequence[Ingredient]) -> list[Message]:
    """Return what changed from ``old`` to ``new``, as phrases; none where the ingredients are the same."""
    before, after = _by_name(old), _by_name(new)
    changes = []
    for place in sorted({*before, *after}, key=lambda one: (_rank(one[0]), one[1])):
        was, now = before.get(place), after.get(place)
        if was is not None and now is not None:
            if was["digest"] != now["digest"]:
                changes.append(_change(place, was, now))
        elif not _follows(place, before, after):
            changes.append(_change(place, was, now))
    return changes


def closest(
    new: Sequence[Ingredient], stored: Iterable[tuple[Found, Sequence[Ingredient]]]
) -> tuple[Found, Sequence[Ingredient]] | None:
    """Return the stored key with the most ingredients in common, the first of equals; ``None`` without one like it.

    Only a key that has the same code, or code of the same name or with the same inputs, can explain a miss.
    """
    wanted = _digests(new)
    best, most = None, 0
    for found, ingredients in stored:
        if not _is_like(_by_name(ingredients), _by_name(new)):
            continue
        common = 1 + sum(_WEIGHTS.get(one[0], 1) for one in wanted & _digests(ingredients))
        if common > most:
            best, most = (found, ingredients), common
    return best


def why_hit() -> Message:
    """Return the sentence for a result that was found."""
    return Message.of("cache.hit")


def why_miss(changes: Sequence[Message]) -> Message:
    """Return the sentence for a result that was not found, with what :func:`difference` returned; it may be empty."""
    if not changes:
        return Message.of("cache.miss_first")
    return Message.of("cache.miss", changes=_some(changes))


def collision() -> Message:
    """Return the sentence for a key that is equal although its ingredients differ."""
    return Message.of("cache.collision")


def not_cached(opened: Sequence[Mapping[str, Any]]) -> Message | None:
    """Return why a job's result is not cached, from what the audit of its process saw; ``None`` if it saw nothing."""
    reasons = []
    for why, phrase in _PHRASES.items():
        named = list(dict.fromkeys(str(one["path"]) for one in opened if one["why"] == why))
        if named:
            reasons.append(phrase(_some(named)))
    return Message.of("cache.not_cached", reasons=tuple(reasons)) if reasons else None


# ---------------------------------------------------------------------------------------------------------------------

_PHRASES: Mapping[str, Callable[[Any], Message]] = {
    "read": lambda names: Message.of("cache.read_undeclared", names=names),
    "listed": lambda names: Message.of("cache.listed_undeclared", names=names),
    "imported": lambda names: Message.of("cache.imported_undeclared", names=names),
    "loaded": lambda names: Message.of("cache.loaded_undeclared", names=names),
    "connected": lambda names: Message.of("cache.used_network", names=names),
    "started": lambda names: Message.of("cache.started_programs", names=names),
    "unseen": lambda names: Message.of("cache.unseen_processes", names=names),
}
#: A stored key is compared with a new one by what they have in common; versions are common to nearly all.
_WEIGHTS: Mapping[str, int] = {
    "code": 100,
    "parameter": 10,
    "input": 10,
    "distribution": 0,
    "interpreter": 0,
    "schema": 0,
}


#: The code of the job itself, as against that of its helpers.
_ROOT = ("code", "")
#: What is reached by other code comes and goes with that code.
_REACHED = frozenset({"code", "default", "closure", "global", "attribute", "module", "distribution"})
#: What a job is given, by name.
_GIVEN = frozenset({"parameter", "input", "file"})

Places = Mapping[tuple[str, str], Ingredient]


def _follows(place: tuple[str, str], before: Places, after: Places) -> bool:
    """Return whether a part that only one key has follows from another change, which is named by itself."""
    category, name = place
    if category == "global" and ("code", name) in {*before, *after}:
        return True
    old, new = before.get(_ROOT), after.get(_ROOT)
    return category in _REACHED and old is not None and new is not None and old["digest"] != new["digest"]


def _is_like(old: Places, new: Places) -> bool:
    """Return whether two keys are of the same job, as far as that can be told, with a change."""
    was, now = old.get(_ROOT), new.get(_ROOT)
    if was is not None and now is not None and (was["digest"] == now["digest"] or was["shown"] != now["shown"]):
        return was["digest"] == now["digest"]
    given = [{place for place in places if place[0] in _GIVEN} for places in (old, new)]
    return (was is None) == (now is None) and given[0] == given[1]


def _digests(ingredients: Sequence[Ingredient]) -> set[tuple[str, str, str]]:
    return {(one["category"], one["name"], one["digest"]) for one in ingredients}


def _by_name(ingredients: Sequence[Ingredient]) -> dict[tuple[str, str], Ingredient]:
    return {(one["category"], one["name"]): one for one in ingredients}


def _rank(category: str) -> int:
    return CATEGORIES.index(category) if category in CATEGORIES else len(CATEGORIES)


def _some(named: Sequence[Any]) -> tuple[Any, ...]:
    """Return the first few, and how many more there are."""
    if len(named) <= _NAMED_MAX:
        return tuple(named)
    return (*named[:_NAMED_MAX], Message.of("cache.more", count=len(named) - _NAMED_MAX))


def _change(place: tuple[str, str], was: Ingredient | None, now: Ingredient | None) -> Message:
    category, name = place
    old, new = was and was["shown"], now and now["shown"]
    match category:
        case "code":
            label = new or old or ""
            return Message.of("cache.changed_code_of", name=label) if label else Message.of("cache.changed_code")
        case "distribution" | "interpreter" if old and new:
            return Message.of("cache.changed_version", name=name, old=old, new=new)
        case "file" | "module" | "variable":
            return _CHANGED[category](name)
        case "outputs" | "save" | "key" | "environment" | "schema":
            return _CHANGED[category](name)
    name = _NAMES.get(category, name)
    if was is None:
        return Message.of("cache.added", name=name)
    if now is None:
        return Message.of("cache.removed", name=name)
    if old and new and old != new:
        return Message.of("cache.changed_value", name=name, old=old, new=new)
    return Message.of("cache.changed_content", name=name)


_NAMES: Mapping[str, str] = {"seed": "seed", "gpu_model": "gpu_model"}
_CHANGED: Mapping[str, Callable[[str], Message]] = {
    "file": lambda name: Message.of("cache.changed_file", path=name),
    "module": lambda name: Message.of("cache.changed_module", name=name),
    "variable": lambda name: Message.of("cache.changed_variable", name=name),
    "outputs": lambda _: Message.of("cache.changed_outputs"),
    "save": lambda _: Message.of("cache.changed_save"),
    "key": lambda _: Message.of("cache.changed_key"),
    "environment": lambda _: Message.of("cache.changed_kernel"),
    "schema": lambda _: Message.of("cache.changed_schema"),
}
