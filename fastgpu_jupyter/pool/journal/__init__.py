"""The event log: what is in it has happened, and nothing else has."""
