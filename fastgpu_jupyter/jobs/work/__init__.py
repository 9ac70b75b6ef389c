"""What runs in the interpreter of a job: the work processes of calls, cells and notebooks."""
