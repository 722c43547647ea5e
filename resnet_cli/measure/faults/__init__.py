"""Fault injection: known mistakes, put into a network to see whether a comparison finds them."""
