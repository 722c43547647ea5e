"""A report of ResNet-152 with everything in it stays small enough for a mail."""

from __future__ import annotations

from dataclasses import replace

from resnet_cli.render.report.html import to_html
from tests.helpers import results_bench, results_summary_flops
from tests.helpers import results_compare as parity
from tests.helpers.charted_models import ours, times

MOST = 300_000  # bytes


def test_resnet152_with_everything_is_small() -> None:
    summary = ours("resnet152")
    lines = parity.network_lines((3, 8, 36, 3), bottleneck=True)
    assert len(lines) > 500
    other = replace(lines[4], status="setting", model_settings="64→64 1×1 stride 2")
    compared = replace(parity.stride(), aligned_ops=(*lines[:4], other, *lines[5:]))
    bench = replace(results_bench.everything(), layers=times(summary))
    results = [
        replace(result, network=summary.network)
        for result in (results_summary_flops.flops_result(), parity.spread(compared), bench)
    ]
    page = to_html([summary, *results])
    assert "icicle-0" in page
    assert len(page.encode()) < MOST
