"""Kernelspecs that lease a GPU, made from other kernelspecs.

A *twin* starts the kernel of another kernelspec through the FastGPU provisioner. Where that kernel is ipykernel and its
interpreter can import this package, the twin has the *gate*: it starts at once, and a cell waits for the grant. The
start of any other kernel waits for its grant.
"""
