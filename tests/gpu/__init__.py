"""Tests of a GPU with whole networks."""
