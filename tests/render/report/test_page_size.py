"""A report of ResNet-152 with everything in it stays small enough for a mail."""

from __future__ import annotations

from dataclasses import replace

import torch

from resnet_cli.measure.cost.flops import count_flops
from resnet_cli.measure.models import model
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.render.report.html import to_html
from tests.helpers import results_bench
from tests.helpers import results_compare as parity
from tests.helpers.charted_models import ours, times

MOST = 300_000  # bytes


def test_resnet152_with_everything_is_small() -> None:
    summary = ours("resnet152")
    flops = count_flops(
        model.model_from_spec(ARCHITECTURES["resnet152"]),
        inputs=images((2, 3, 64, 64)),
        dtype=torch.float32,
        device=torch.device("cpu"),
        reconciliations=[("paper", "fvcore")],
    )
    lines = parity.network_lines((3, 8, 36, 3), bottleneck=True)
    assert len(lines) > 500
    other = replace(lines[4], status="setting", model_settings="64→64 1×1 stride 2")
    compared = replace(parity.stride(), aligned_ops=(*lines[:4], other, *lines[5:]))
    bench = replace(results_bench.everything(), layers=times(summary))
    results = [replace(one, network=summary.network) for one in (flops, parity.spread(compared), bench)]
    page = to_html([summary, *results])
    assert "icicle-0" in page
    assert len(page.encode()) < MOST
