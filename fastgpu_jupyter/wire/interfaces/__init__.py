"""The HTTP interfaces as tables of operations: the pool manager's, and the Jupyter server's for the browser."""
