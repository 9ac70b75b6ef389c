"""Order of the queue, preemption, the queue report and defragmentation."""
