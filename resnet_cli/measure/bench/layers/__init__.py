"""Latency of every layer."""
