"""Checkpoint files: reading, recognising, converting and describing them."""
