"""What the rules speak of: entities, sizes, commands, events, effects and the lifecycle table."""
