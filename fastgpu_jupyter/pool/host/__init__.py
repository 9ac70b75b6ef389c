"""What the operating system knows: processes, clocks, who is at the other end of a socket."""
