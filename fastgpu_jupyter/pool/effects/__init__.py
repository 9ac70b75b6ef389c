"""Work outside the pool that follows from events: devices, scrubbing, device files."""
