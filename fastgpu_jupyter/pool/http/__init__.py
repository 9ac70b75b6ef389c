"""The pool's HTTP on a Unix socket: thin routes over the services."""
