"""The parts of a page that a reader may choose among, in the order of drawing."""

from __future__ import annotations

FLOPS = ("operators", "modules", "conventions", "walks", "parts")
PARITY = ("checks", "findings", "tree", "mapping", "predictions")
WEIGHTS = ("summary", "weights")
CONVERT = ("files", "tensors")
BENCH = ("timings", "comparison", "ladder", "layers", "replicas", "ceiling")
# What a report measures, in the order of the page; layers and ladder are parts of the benchmark.
MEASUREMENTS = ("summary", "flops", "parity", "bench", "layers", "ladder")
USUAL_MEASUREMENTS = MEASUREMENTS[:-1]  # the ladder compiles, which takes minutes
# The figures of a report, each by itself with --figure, and the measurements that it is made from.
FIGURES = {
    "architecture": ("summary",),
    "icicle": ("summary",),
    "roofline": ("bench", "layers"),
    "distribution": ("bench",),
    "sweep": ("bench",),
    "versus": ("bench",),
    "ladder": ("bench", "ladder"),
    "deviations": ("parity",),
    "walks": ("flops",),
}
# What a report can be written as.
REPORT_FORMATS = ("html", "svg", "png", "json")
