"""Jobs: work on a logical GPU of its own, kept by a dispatcher, run by a runner, with results stored and cached."""
