"""What is timed: a forward or a training step of a network, its inputs, its cost and its precision."""
