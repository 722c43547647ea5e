"""The parts of a page that a reader may choose among, in the order of drawing."""

from __future__ import annotations

FLOPS = ("operators", "modules", "conventions", "walks", "parts")
PARITY = ("checks", "findings", "tree", "mapping", "predictions")
WEIGHTS = ("summary", "weights")
CONVERT = ("files", "tensors")
BENCH = ("timings", "comparison", "ladder", "layers", "replicas", "ceiling")
