"""How fast a network runs: samples that mean something, and what they are held against."""
