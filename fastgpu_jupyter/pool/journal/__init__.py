"""The journal: the durable record of all events, and what is kept beside it."""
