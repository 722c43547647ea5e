"""Budgets as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.assertions import evaluate, parse_assertions, quantities
from resnet_cli.errors import ResnetCliError
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult


@pytest.mark.parametrize(
    ("text", "quantity", "operator", "limit"),
    [
        ("macs<=4.2G", "macs", "<=", 4.2e9),
        (" parameters == 11,689,512 ", "parameters", "==", 11_689_512),
        ("inference_memory<16GiB", "inference-memory", "<", 16 * 2**30),
        ("flops>1e9", "flops", ">", 1e9),
    ],
)
def test_a_budget_reads_as_it_is_written(text: str, quantity: str, operator: str, limit: float) -> None:
    (budget,) = parse_assertions([text], "summary")
    assert (budget.quantity, budget.operator, budget.limit) == (quantity, operator, limit)


@pytest.mark.parametrize("text", ["", "macs", "macs<=", "<=4", "macs=4", "macs<=x", "macs<=inf", "macs<=-1", "mac<=4"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ResnetCliError, match="--assert"):
        parse_assertions([text], "summary")


@given(limit=st.integers(0, 2**53))
def test_a_verdict_is_the_comparison(summary: SummaryResult, limit: int) -> None:
    found = summary.parameters
    texts = [f"parameters{sign}{limit}" for sign in ("<=", "<", ">=", ">", "==")]
    held = [assertion.holds for assertion in evaluate(summary, parse_assertions(texts, "summary")).assertions]
    assert held == [found <= limit, found < limit, found >= limit, found > limit, found == limit]


def test_every_quantity_has_a_figure_or_a_reason(summary: SummaryResult, flops: FlopsResult) -> None:
    for name in quantities("summary"):
        assert evaluate(summary, parse_assertions([f"{name}>=0"], "summary")).assertions[0].holds
    for name in quantities("flops"):
        assert evaluate(flops, parse_assertions([f"{name}>=0"], "flops")).assertions[0].holds
