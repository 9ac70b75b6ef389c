"""The pool manager: the one process that talks to GPUs and writes the journal; never a parent of kernels."""
