"""Concerns of a single lease: preparation, resize, migration, memory limit, health, invariants."""
