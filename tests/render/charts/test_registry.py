"""The registry of charts: each row can be drawn, has its section and its measurements, and is light to import."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from resnet_cli.commands.report import MEASUREMENTS
from resnet_cli.errors import ResnetCliError
from resnet_cli.render.charts import CHARTS, draw_chart
from resnet_cli.render.charts.grouping import NetworkResults, group_by_network
from resnet_cli.render.report.sections import SECTIONS
from tests.helpers import results_bench, results_compare, results_summary_flops
from tests.helpers.chart_checks import size


def networks(*names: str) -> tuple[NetworkResults, ...]:
    """Networks with results of every kind."""
    results = (
        results_summary_flops.summary_result(),
        results_summary_flops.flops_result(),
        results_compare.stride(),
        results_bench.everything(),
    )
    named = [replace(result, network=replace(results[0].network, name=name)) for name in names for result in results]
    return group_by_network(named)[0]


@pytest.mark.parametrize("key", CHARTS)
def test_a_chart_is_drawn_for_one_network_and_for_several(key: str) -> None:
    chart = CHARTS[key]
    for names in (("a",), ("a", "b")):
        panels = chart.panels(networks(*names))
        assert [panel.label for panel in panels] in ([""], list(names))
        for panel in panels:
            assert size(panel.drawing)
            assert panel.drawing.label
    assert chart.panels([]) == []


@pytest.mark.parametrize("key", CHARTS)
def test_a_chart_has_a_section_and_measurements(key: str) -> None:
    chart = CHARTS[key]
    assert chart.section in [section for section, _, _ in SECTIONS]
    assert chart.measurements
    assert set(chart.measurements) <= set(MEASUREMENTS)


def test_results_that_do_not_suffice_are_an_error() -> None:
    (network,) = group_by_network([results_summary_flops.flops_result()])[0]
    with pytest.raises(ResnetCliError) as caught:
        draw_chart("roofline", [network])
    assert CHARTS["roofline"].commands[0] in (caught.value.hint or "")
    with pytest.raises(ResnetCliError):
        draw_chart(None, [])


def test_importing_the_registry_imports_no_chart() -> None:
    script = (
        "import sys, resnet_cli.render.charts; print([n for n in sys.modules if 'render.charts.' in n or n == 'torch'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
