"""Every sentence that users can read, by code: the English source, and a catalogue for each other language.

Errors, leases and the queue carry a :class:`~fastgpu_jupyter.errors.Message`: a code with parameters. :func:`render`
makes a sentence of it, in the language of the process (:mod:`.language`). Only the edges of the system import this
package: command line, server, kernel, jobs and the pool's interface. ``python -m fastgpu_jupyter.messages --json``
prints the catalogue, from which the browser's texts are made.

A template names its parameters in braces. A value is formatted by the last part of its parameter's name: ``bytes`` as
memory, ``ms`` as a duration, ``milli`` as thousandths, ``micro`` as an amount of money without its currency. A list is
enumerated, a message inside another is rendered. A :class:`Plural` has a template for each plural category.
"""

from __future__ import annotations

from .render import (
    Catalogue,
    Plural,
    Template,
    catalogue,
    joined,
    render,
    say,
    sentence_of,
    sentences_of,
    text_of,
    view_of,
    word,
)

__all__ = [
    "Catalogue",
    "Plural",
    "Template",
    "catalogue",
    "joined",
    "render",
    "say",
    "sentence_of",
    "sentences_of",
    "text_of",
    "view_of",
    "word",
]
