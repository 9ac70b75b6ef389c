"""Command loop of the pool manager: decide, append, apply, answer."""
