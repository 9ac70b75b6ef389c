"""The part of the package that the fake has."""
