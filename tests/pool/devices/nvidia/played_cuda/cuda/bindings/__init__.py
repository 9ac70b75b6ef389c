"""The part of it that is played."""
