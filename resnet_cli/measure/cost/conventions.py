"""Every way of counting as a formula over the same counted parts, and the walk from any figure to any other.

The formulas were found by running each tool on ResNets of five depths and hold there to the last unit; a convention
whose tool runs here is proven anew on the network at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resnet_cli.errors import ResnetCliError
from resnet_cli.results.flops import Convention, FlopTerm, Reconciliation, ReconciliationStep

Terms = tuple[tuple[str, float], ...]

# What the paper's network does without: see `paper_savings` in `flops`.
SAVED_BY_PAPER = "S"
UNEXPLAINED = "?"


@dataclass(frozen=True, slots=True)
class Rule:
    """A convention before it meets a network."""

    key: str
    name: str
    unit: str
    terms: Terms
    source: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """What a tool or publication says of this network: a value, or the reason why there is none."""

    value: int | None
    rounding: float | None = None
    reason: str | None = None
    version: str | None = None  # of the tool that was run


def _terms(**coefficients: float) -> Terms:
    return tuple(coefficients.items())


def rules(comparisons_per_maximum: float) -> tuple[Rule, ...]:
    """Every convention.

    Args:
        comparisons_per_maximum: what one output of the network's max-pools takes (8 for 3x3).
    """
    return (
        Rule("macs", "resnet-cli MACs", "MAC", _terms(C=1, L=1), "convolutions and matrix products"),
        Rule(
            "operations",
            "resnet-cli operations",
            "FLOP",
            _terms(C=2, L=2, b=1, k=1, B=2, R=1, A=1, m=comparisons_per_maximum, G=1, E=1),
            "every arithmetic operation of inference",
        ),
        Rule(
            "torch",
            "torch FlopCounterMode",
            "FLOP",
            _terms(C=2, L=2),
            "torch.utils.flop_counter, its formulas for the same calls",
        ),
        Rule(
            "torchvision",
            "torchvision, published",
            "MAC",
            _terms(C=1, L=1),
            "`_ops` in the metadata of torchvision's weights, named GFLOPS there",
            "called GFLOPS, counts multiply-accumulates",
        ),
        Rule(
            "torchinfo",
            "torchinfo mult-adds",
            "MAC",
            _terms(C=1, L=1, b=1, k=1, P=1),
            "torchinfo.summary().total_mult_adds",
            "counts the parameters of a batch norm, not the elements that go through it",
        ),
        Rule(
            "fvcore",
            "fvcore, eval mode",
            "MAC",
            _terms(C=1, L=1, B=2, G=1),
            "fvcore.nn.FlopCountAnalysis().total()",
            "called flops; a MAC counts as one",
        ),
        Rule(
            "fvcore-train",
            "fvcore, train mode",
            "MAC",
            _terms(C=1, L=1, B=5, G=1),
            "fvcore.nn.FlopCountAnalysis on a network in train mode",
        ),
        Rule(
            "ptflops-aten",
            "ptflops, aten backend",
            "MAC",
            _terms(C=1, L=1, b=1),
            "ptflops 0.7.5, backend='aten'",
        ),
        Rule(
            "ptflops",
            "ptflops, pytorch backend",
            "MAC",
            _terms(C=1, L=1, b=1, k=1, B=2, R=2, M=2, G=2),
            "ptflops 0.7.5, its default backend",
            "counts ReLU and pooling twice: once by a module hook, once by a patched function",
        ),
        Rule(
            "deepspeed-macs",
            "DeepSpeed, calflops: MACs",
            "MAC",
            _terms(C=1, L=1),
            "DeepSpeed flops profiler, calflops 0.3.2",
        ),
        Rule(
            "deepspeed",
            "DeepSpeed, calflops: FLOPs",
            "FLOP",
            _terms(C=2, L=2, k=1, B=2, R=1, M=1, G=1),
            "DeepSpeed flops profiler, calflops 0.3.2",
        ),
        Rule("thop", "thop", "MAC", _terms(C=1, L=1, B=4, G=1, g=1), "thop 0.1.1"),
        Rule(
            "paper",
            "the paper, published",
            "MAC",
            _terms(C=1, L=1, S=-1),
            "He et al. 2015, arXiv:1512.03385, table 1; ResNeXt: Xie et al. 2016, arXiv:1611.05431, table 1",
            "called FLOPs, counts multiply-adds",
        ),
    )


# Multiply-adds as published, in units of 10**8. ResNeXt-50's paper has the stride where torchvision has it.
PUBLISHED_IN_PAPERS: Mapping[str, int] = {
    "resnet18": 18,
    "resnet34": 36,
    "resnet50": 38,
    "resnet101": 76,
    "resnet152": 113,
    "resnext50_32x4d": 42,
}


def formula(terms: Terms, parts: Mapping[str, int] | None = None) -> str:
    """The formula as people write it: "C + L + 2B + G". With `sections`, symbols that are 0 here are left out."""
    words = []
    for symbol, coefficient in terms:
        if parts is not None and not parts.get(symbol):
            continue
        magnitude = "" if abs(coefficient) == 1 else f"{abs(coefficient):g}"
        words.append(f"{'−' if coefficient < 0 else '+'} {magnitude}{symbol}")
    text = " ".join(words)
    return text.removeprefix("+ ") or "0"


def value(terms: Terms, parts: Mapping[str, int]) -> int:
    """A formula's figure for a network."""
    return round(sum(coefficient * parts.get(symbol, 0) for symbol, coefficient in terms))


def apply(rule: Rule, parts: Mapping[str, int], figure: Figure | None) -> Convention:
    """A convention on a network: what its formula gives, held against what its maker says."""
    predicted = value(rule.terms, parts)
    verdict, measured, rounding, note = "formula", None, None, rule.note
    if figure is not None and figure.value is None:
        verdict, note = "unavailable", figure.reason
    elif figure is not None and figure.value is not None:
        measured, rounding = figure.value, figure.rounding
        verdict = _verdict(predicted, measured, rounding)
        if verdict == "rounded" and rounding is not None and abs(predicted - measured) > rounding / 2:
            note = f"{note}; its last digit is cut, not rounded" if note else "its last digit is cut, not rounded"
    return Convention(
        key=rule.key,
        name=rule.name,
        unit=rule.unit,
        formula=formula(rule.terms, parts),
        coefficients=rule.terms,
        predicted=predicted,
        measured=measured,
        rounding=rounding,
        verdict=verdict,
        source=rule.source,
        note=note,
        version=figure.version if figure else None,
    )


def _verdict(predicted: int, measured: int, rounding: float | None) -> str:
    if predicted == measured:
        return "exact"
    if rounding is not None and abs(predicted - measured) < rounding:
        return "rounded"
    return "differs"


def reconcile(
    start: Convention, end: Convention, parts: Sequence[FlopTerm], makers: Mapping[str, Iterable[str]]
) -> Reconciliation:
    """The way from one figure to another, a step for each part that the two count differently.

    Args:
        start: where it begins: its own figure where its tool gave one to the unit, else its formula's.
        end: where it ends.
        parts: the counted parts.
        makers: symbol to the names of the operators that make the part.

    Returns:
        Steps whose differences add up to `to_figure - from_figure`. What a tool says beyond its formula is a step
        of its own, so nothing is hidden.
    """
    before, after = dict(start.coefficients), dict(end.coefficients)
    first, last = _figure(start), _figure(end)
    steps = []
    for part in parts:
        coefficients = before.get(part.symbol, 0.0), after.get(part.symbol, 0.0)
        if part.value and coefficients[0] != coefficients[1]:
            difference = round((coefficients[1] - coefficients[0]) * part.value)
            operators = tuple(sorted(makers.get(part.symbol, ())))
            steps.append(
                ReconciliationStep(part.symbol, part.meaning, operators, part.value, *coefficients, difference)
            )
    rest = last - first - sum(step.difference for step in steps)
    if rest:
        meaning = "not explained by the formulas"
        steps.append(ReconciliationStep(UNEXPLAINED, meaning, (), abs(rest), 0.0, 1.0 if rest > 0 else -1.0, rest))
    return Reconciliation(start.key, end.key, first, last, tuple(steps))


def _figure(convention: Convention) -> int:
    if convention.measured is not None and convention.rounding is None:
        return convention.measured
    return convention.predicted or 0


def keys() -> tuple[str, ...]:
    """Names of all conventions, for the command line."""
    return tuple(rule.key for rule in rules(8))


def parse_reconciliation(text: str) -> tuple[str, str]:
    """`fvcore:torchvision` as two keys.

    Raises:
        ResnetCliError: not two known names.
    """
    start, colon, end = text.partition(":")
    known = keys()
    for name in (start, end):
        if name not in known:
            what = f"{name!r} is no convention" if colon else f"{text!r} is no walk"
            raise ResnetCliError(f"--walk {what}", f"write two of them as FROM:TO, of {', '.join(known)}")
    return start, end
