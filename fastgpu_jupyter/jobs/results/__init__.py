"""The results of jobs: values, outputs and files, each stored once under its SHA-256, with a bound and an order of use.

:class:`ResultStore` is the whole interface. Its files are the user's own; one that belongs to another user, is a link,
or whose checksum differs is never opened as a pickle.
"""

from __future__ import annotations

from .eviction import Evicted, StoreUsage
from .files import open_own, private_opener
from .manifest import Manifest, Stored, StoredValue
from .store import ResultStore

__all__ = [
    "Evicted",
    "Manifest",
    "ResultStore",
    "StoreUsage",
    "Stored",
    "StoredValue",
    "open_own",
    "private_opener",
]
