"""A forward pass as a graph of operators, and two of them side by side."""
