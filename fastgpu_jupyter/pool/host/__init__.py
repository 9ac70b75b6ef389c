"""What the operating system knows: processes, clocks, memory, control groups and sockets."""
