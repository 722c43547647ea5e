"""Comparison of a network with a reference."""
