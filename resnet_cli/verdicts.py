"""The checks of a comparison and what they say, as words; known to all, and quick to import."""

from __future__ import annotations

# The verdicts, best first. "skipped": the user left the check out.
BITWISE, ROUNDING, DIFFERENT, NOT_COMPARABLE, SKIPPED = "bitwise", "rounding", "different", "not comparable", "skipped"
VERDICTS = (BITWISE, ROUNDING, DIFFERENT, NOT_COMPARABLE, SKIPPED)

# The checks, in the order in which they are made and shown.
CHECKS = ("parameters", "settings", "eval", "train", "statistics", "gradients", "step", "shapes")
