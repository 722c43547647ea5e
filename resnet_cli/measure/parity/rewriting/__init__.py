"""Differences that are none: parts of two networks that are written otherwise and compute the same."""
