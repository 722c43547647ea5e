"""The formulas of every convention on ResNet-18's counts, worked out by hand, and how they are told apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnet_cli.measure.cost.conventions import (
    CONVENTIONS,
    UNEXPLAINED,
    ConventionRule,
    Figure,
    Terms,
    apply,
    conventions_for,
    formula,
    reconcile,
    value,
)
from resnet_cli.results.flops import Convention, FlopTerm

# At 224 x 224, block by block: (64, 56), (128, 28), (256, 14) and (512, 7) are channels and side of the four stages.
STAGES = ((64, 56), (128, 28), (256, 14), (512, 7))
ELEMENTS = {channels: channels * side**2 for channels, side in STAGES}
STEM = 64 * 112**2
PROJECTED = sum(ELEMENTS.values()) - ELEMENTS[64]
CONVOLUTIONS = (
    STEM * 3 * 49
    + sum(3 * ELEMENTS[channels] * 9 * channels for channels, _ in STAGES)
    + ELEMENTS[64] * 9 * 64
    + sum(ELEMENTS[channels] * 9 * channels // 2 + ELEMENTS[channels] * channels // 2 for channels, _ in STAGES[1:])
)
TERMS = {
    "C": CONVOLUTIONS,
    "L": 512 * 1000,
    "b": 1000,
    "k": 0,
    "B": STEM + 4 * sum(ELEMENTS.values()) + PROJECTED,
    "P": 9600,
    "R": STEM + 4 * sum(ELEMENTS.values()),
    "A": 2 * sum(ELEMENTS.values()),
    "M": STEM,
    "m": ELEMENTS[64],
    "G": ELEMENTS[512],
    "g": 512,
    "E": 0,
}
# What each tool said of ResNet-18 when it was run; the paper's and torchvision's figures are rounded.
SAID = {
    "resnet-cli": 1_814_073_344,
    "torch": 3_628_146_688,
    "torchvision": 1_814_073_344,
    "torchinfo": 1_814_083_944,
    "fvcore": 1_819_065_856,
    "fvcore-train": 1_826_516_992,
    "ptflops-aten": 1_814_074_344,
    "ptflops": 1_825_313_768,
    "deepspeed-macs": 1_814_073_344,
    "deepspeed": 3_636_250_112,
    "thop": 1_824_033_792,
    "paper": 1_814_073_344,
    # 2 (C + L) + b + 2 B + R + A + 8 comparisons of each maximum + G
    "resnet-cli-ops": 3_628_146_688 + 1000 + 2 * 2_483_712 + 2_308_096 + 752_640 + 8 * 200_704 + 25_088,
}
RULE = ConventionRule("x", "X", "MAC", (("C", 1), ("L", 1)), "somewhere", note="a note")


def terms(key: str) -> Terms:
    return next(rule.terms for rule in CONVENTIONS if rule.key == key)


@pytest.mark.parametrize("key", SAID)
def test_each_formula_gives_what_its_tool_said(key: str) -> None:
    assert value(terms(key), TERMS) == SAID[key]


def test_every_coefficient_counts() -> None:
    """Parts that this network has none of: biases of convolutions, other operations, what the paper saves."""
    more = TERMS | {"k": 7, "E": 11, "S": 13, "P": 0}
    grown = {
        key: value(rule.terms, more) - value(rule.terms, TERMS)
        for key, rule in ((rule.key, rule) for rule in CONVENTIONS)
    }
    assert {key: by for key, by in grown.items() if by} == {
        "resnet-cli-ops": 7 + 11,
        "torchinfo": 7 - 9600,
        "ptflops": 7,
        "deepspeed": 7,
        "paper": -13,
    }
    assert value(conventions_for(3)[1].terms, TERMS) == SAID["resnet-cli-ops"] - 5 * 200_704


def test_formulas_as_people_write_them() -> None:
    assert formula(terms("fvcore")) == "C + L + 2B + G + 5N + 4U + u"
    assert formula(terms("paper")) == "C + L − S"
    assert formula(terms("paper"), {"C": 1}) == "C"
    assert formula((("C", 0.5), ("L", -2.0))) == "0.5C − 2L"
    assert formula(terms("resnet-cli"), {}) == "0"


def applied(figure: Figure | None, rule: ConventionRule = RULE) -> Convention:
    return apply(rule, {"C": 900, "L": 100}, figure)


def test_verdicts() -> None:
    found = applied(None)
    assert (found.verdict, found.predicted, found.measured, found.version) == ("not_run", 1000, None, None)
    found = applied(Figure(None, reason="not installed"))
    assert (found.verdict, found.measured, found.note) == ("unavailable", None, "not installed")
    found = applied(Figure(1000, version="1.0"))
    assert (found.verdict, found.measured, found.version, found.note) == ("exact", 1000, "1.0", "a note")
    assert applied(Figure(1001)).verdict == "differs"


@pytest.mark.parametrize(
    ("said", "verdict", "is_cut"),
    [
        (1000, "exact", False),
        (1004, "rounded", False),
        (1005, "rounded", False),  # half a digit: rounded either way
        (1006, "rounded", True),
        (994, "rounded", True),
        (1009, "rounded", True),
        (1010, "differs", False),
        (990, "differs", False),
    ],
)
def test_a_published_figure_is_rounded_or_cut(said: int, verdict: str, is_cut: bool) -> None:
    found = applied(Figure(said, rounding=10))
    assert (found.verdict, found.rounding) == (verdict, 10)
    assert found.note == ("a note; its last digit is cut, not rounded" if is_cut else "a note")
    alone = applied(Figure(said, rounding=10), replace(RULE, note=None))
    assert alone.note == ("its last digit is cut, not rounded" if is_cut else None)


def test_a_walk_names_what_is_counted_differently() -> None:
    figures = {key: apply(rule, TERMS, None) for key, rule in ((rule.key, rule) for rule in CONVENTIONS)}
    counted_terms = tuple(FlopTerm(symbol, f"meaning of {symbol}", count) for symbol, count in TERMS.items())
    way = reconcile(figures["torchvision"], figures["fvcore"], counted_terms, {"B": ["b", "a"], "G": ["pool"]})
    assert (way.start, way.end, way.start_value, way.end_value) == (
        *("torchvision", "fvcore"),
        *(SAID["torchvision"], SAID["fvcore"]),
    )
    assert [(step.symbol, step.operators, step.difference) for step in way.steps] == [
        ("B", ("a", "b"), 2 * 2_483_712),
        ("G", ("pool",), 25_088),
    ]
    back = reconcile(figures["fvcore"], figures["torchvision"], counted_terms, {})
    assert [step.difference for step in back.steps] == [-2 * 2_483_712, -25_088]
    assert reconcile(figures["torchvision"], figures["resnet-cli"], counted_terms, {}).steps == ()


def test_a_walk_starts_where_the_tool_stood_and_not_at_a_rounded_figure() -> None:
    counted_terms = (FlopTerm("C", "c", 900), FlopTerm("L", "l", 100))
    exact, odd = applied(Figure(1000)), applied(Figure(993))
    rounded = applied(Figure(1004, rounding=10))
    assert reconcile(exact, rounded, counted_terms, {}).end_value == 1000
    (step,) = reconcile(exact, odd, counted_terms, {}).steps
    assert (step.symbol, step.difference, step.value) == (UNEXPLAINED, -7, 7)
    assert (step.from_coefficient, step.to_coefficient) == (0.0, -1.0)
    (step,) = reconcile(odd, exact, counted_terms, {}).steps
    assert (step.from_coefficient, step.to_coefficient) == (0.0, 1.0)
    assert (step.symbol, step.difference, step.value) == (UNEXPLAINED, 7, 7)
