"""What makes a network faster: each optimization, and their comparison with eager execution."""
