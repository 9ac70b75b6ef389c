"""The request handlers of the REST interface for the browser; :mod:`..routes` has the table of their paths."""
