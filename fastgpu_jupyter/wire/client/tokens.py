"""The token of a lease: a secret that its holder keeps, of which the pool manager stores the digest."""

from __future__ import annotations

import hashlib
import secrets


def new_token() -> str:
    """Return a new secret for one lease; a request sends only its :func:`token_digest` to the pool manager."""
    return secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """Return the SHA-256 of a lease token, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()
