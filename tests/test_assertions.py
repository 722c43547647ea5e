"""Assertions as people write them, and the values that they are about."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.assertions import evaluate, parse_assertions, quantities
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.cost.uncounted import uncounted_notes
from resnet_cli.render.document import Fields, ViewOptions
from resnet_cli.render.pages import page
from resnet_cli.results.common import Assertion, Note
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import TRAINING_MEMORY, SummaryResult


@pytest.mark.parametrize(
    ("text", "quantity", "operator", "limit"),
    [
        ("macs<=4.2G", "macs", "<=", 4.2e9),
        (" parameters == 11,689,512 ", "parameters", "==", 11_689_512),
        ("inference_memory<16GiB", "inference-memory", "<", 16 * 2**30),
        ("flops>1e9", "flops", ">", 1e9),
    ],
)
def test_an_assertion_is_read_as_it_is_written(text: str, quantity: str, operator: str, limit: float) -> None:
    (parsed,) = parse_assertions([text], "summary")
    assert (parsed.quantity, parsed.operator, parsed.limit) == (quantity, operator, limit)


@pytest.mark.parametrize("text", ["", "macs", "macs<=", "<=4", "macs=4", "macs<=x", "macs<=inf", "macs<=-1", "mac<=4"])
def test_what_is_not_an_assertion_is_refused(text: str) -> None:
    with pytest.raises(ResnetCliError, match="assertion"):
        parse_assertions([text], "summary")


@given(limit=st.integers(0, 2**53))
def test_it_holds_as_the_comparison_does(summary: SummaryResult, limit: int) -> None:
    texts = [f"parameters{sign}{limit}" for sign in ("<=", "<", ">=", ">", "==")]
    value = summary.parameters
    holds = [assertion.holds for assertion in evaluate(summary, parse_assertions(texts, "summary")).assertions]
    assert holds == [value <= limit, value < limit, value >= limit, value > limit, value == limit]


def asserted(result: SummaryResult | FlopsResult, text: str) -> Assertion:
    if isinstance(result, SummaryResult):
        return evaluate(result, parse_assertions([text], "summary")).assertions[0]
    return evaluate(result, parse_assertions([text], "flops")).assertions[0]


def test_every_quantity_has_a_value(summary: SummaryResult, flops: FlopsResult) -> None:
    for result, command in ((summary, "summary"), (flops, "flops")):
        for name in quantities(command):
            assert asserted(result, f"{name}>=0").holds


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_memory_is_the_total_of_the_page(summary: SummaryResult, phase: str) -> None:
    """The budget was once compared with the peak of the activations, far below the total that the page shows."""
    value = asserted(summary, f"{phase}-memory<1").value
    elements = page(summary, ViewOptions()).elements
    shown = next(each for each in elements if isinstance(each, Fields) and each.title == f"memory, {phase}")
    assert value == getattr(summary.memory, f"{phase}_bytes") == dict(shown.items)["total"].value
    assert asserted(summary, f"{phase}-peak<1").value == getattr(summary.memory, f"{phase}_peak_bytes") < value


def test_what_is_not_known_fails_with_the_reason(summary: SummaryResult, flops: FlopsResult) -> None:
    unknown = {field.name: None for field in fields(summary.memory) if field.name.startswith("training")}
    untrained = replace(
        summary,
        memory=replace(summary.memory, **unknown),  # type: ignore[arg-type]
        notes=(
            Note("note", "another note", "another"),
            Note("note", "no backward: in-place", "training-unavailable", unknown=TRAINING_MEMORY),
        ),
    )
    assertion = asserted(untrained, "training-memory<1G")
    assert (assertion.value, assertion.holds, assertion.reason) == (None, False, "no backward: in-place")
    forward = asserted(replace(flops, backward_macs=None), "backward-macs<1G")
    assert not forward.holds
    assert "backward" in (forward.reason or "")


@pytest.mark.parametrize(
    ("text", "holds", "is_decided"),
    [
        ("macs<={0}", False, False),
        ("macs<{1}", False, False),
        ("flops=={0}", False, False),
        ("macs>={0}", True, True),  # more than the bound can only be more
        ("macs>{1}", False, False),
        ("macs<={-1}", False, True),  # the bound breaks it already
        ("macs=={-1}", False, True),
        ("parameters<={1}", True, True),  # not a figure of arithmetic
    ],
)
def test_a_lower_bound_decides_what_it_can(summary: SummaryResult, text: str, holds: bool, is_decided: bool) -> None:
    bound = replace(summary, notes=tuple(uncounted_notes(["unknown"], ["unknown"])))
    quantity = text.partition("<")[0].partition(">")[0].partition("=")[0]
    for difference in (-1, 0, 1):
        text = text.replace(f"{{{difference}}}", str(getattr(summary, quantity) + difference))
    (checked,) = evaluate(bound, parse_assertions([text], "summary")).assertions
    assert checked.holds is holds
    assert (checked.reason is None) is is_decided


def test_products_are_known_where_only_other_arithmetic_is_not(summary: SummaryResult, flops: FlopsResult) -> None:
    sorting = replace(summary, notes=tuple(uncounted_notes(["sort"], [])))
    checked = evaluate(sorting, parse_assertions(["macs<=1P", "ops<=1P"], "summary"))
    assert [each.holds for each in checked.assertions] == [True, False]
    step = replace(flops, notes=tuple(uncounted_notes([], [], ["unknown"])))
    (backward,) = evaluate(step, parse_assertions(["backward-flops<=1P"], "flops")).assertions
    assert not backward.holds
    assert "unknown" in (backward.reason or "")
