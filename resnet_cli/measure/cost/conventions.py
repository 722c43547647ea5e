"""FLOP conventions: each tool's count as a formula over the same counted terms, and how any two counts reconcile.

The formulas were found by running each tool on ResNets of five depths, where they hold exactly. A convention whose
tool is installed is checked again on the network at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from resnet_cli.errors import ResnetCliError
from resnet_cli.results.flops import Convention, FlopTerm, Reconciliation, ReconciliationStep

Terms = tuple[tuple[str, float], ...]

# MACs that the paper's network does without: `flops._saved_by_paper`.
SAVED_BY_PAPER = "S"
UNEXPLAINED = "?"


@dataclass(frozen=True, slots=True)
class ConventionRule:
    """A row of the registry: how a tool or publication counts.

    Attributes:
        key: named after the tool.
        title: in tables.
        unit: "MAC" or "FLOP", whatever the tool calls it.
        terms: the formula, as symbols of `ops.op_cost.TERMS` with their coefficients.
        source: where the count comes from.
        is_measured: whether the tool's own count of a network is known here, because it is run or published.
        note: shown beside the count.
    """

    key: str
    title: str
    unit: str
    terms: Terms
    source: str
    is_measured: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """The count of a network by a tool or publication, or the reason why there is none.

    Attributes:
        value: in the convention's unit.
        rounding: what a published count is rounded to.
        reason: why `value` is None.
        version: of the tool that ran.
    """

    value: int | None
    rounding: float | None = None
    reason: str | None = None
    version: str | None = None


def _terms(**coefficients: float) -> Terms:
    return tuple(coefficients.items())


_COMPARISONS = 8  # per output of a 3x3 max-pool

CONVENTIONS: tuple[ConventionRule, ...] = (
    ConventionRule(
        "resnet-cli",
        "resnet-cli MACs",
        "MAC",
        _terms(C=1, L=1),
        "convolutions and matrix products",
        is_measured=True,
    ),
    ConventionRule(
        "resnet-cli-ops",
        "resnet-cli operations",
        "FLOP",
        _terms(C=2, L=2, b=1, k=1, B=2, R=1, A=1, m=_COMPARISONS, G=1, V=1, N=7, U=7, E=1),
        "every arithmetic operation of inference",
        is_measured=True,
    ),
    ConventionRule(
        "torch",
        "torch FlopCounterMode",
        "FLOP",
        _terms(C=2, L=2),
        "torch.utils.flop_counter, its formulas for the same calls",
        is_measured=True,
    ),
    ConventionRule(
        "torchvision",
        "torchvision, published",
        "MAC",
        _terms(C=1, L=1),
        "`_ops` in the metadata of torchvision's weights, named GFLOPS there",
        is_measured=True,
        note="called GFLOPS, counts multiply-accumulates",
    ),
    ConventionRule(
        "torchinfo",
        "torchinfo mult-adds",
        "MAC",
        _terms(C=1, L=1, b=1, k=1, P=1),
        "torchinfo.summary().total_mult_adds",
        is_measured=True,
        note="counts the parameters of a batch norm, not the elements that go through it",
    ),
    ConventionRule(
        "fvcore",
        "fvcore, eval mode",
        "MAC",
        _terms(C=1, L=1, B=2, G=1, N=5, U=4, u=1),
        "fvcore.nn.FlopCountAnalysis().total()",
        is_measured=True,
        note="called flops; a MAC counts as one",
    ),
    ConventionRule(
        "fvcore-train",
        "fvcore, train mode",
        "MAC",
        _terms(C=1, L=1, B=5, G=1, N=5, U=4, u=1),
        "fvcore.nn.FlopCountAnalysis on a network in train mode",
    ),
    ConventionRule(
        "ptflops-aten",
        "ptflops, aten backend",
        "MAC",
        _terms(C=1, L=1, b=1),
        "ptflops 0.7.5, backend='aten'",
    ),
    ConventionRule(
        "ptflops",
        "ptflops, pytorch backend",
        "MAC",
        _terms(C=1, L=1, b=1, k=1, B=2, R=2, M=2, G=2, V=2),
        "ptflops 0.7.5, its default backend",
        note="counts ReLU and pooling twice: once by a module hook, once by a patched function",
    ),
    ConventionRule(
        "deepspeed-macs",
        "DeepSpeed, calflops: MACs",
        "MAC",
        _terms(C=1, L=1),
        "DeepSpeed flops profiler, calflops 0.3.2",
    ),
    ConventionRule(
        "deepspeed",
        "DeepSpeed, calflops: FLOPs",
        "FLOP",
        _terms(C=2, L=2, k=1, B=2, R=1, M=1, G=1, V=1, N=5),
        "DeepSpeed flops profiler, calflops 0.3.2",
    ),
    ConventionRule("thop", "thop", "MAC", _terms(C=1, L=1, B=4, G=1, g=1, v=1), "thop 0.1.1"),
    ConventionRule(
        "paper",
        "the paper, published",
        "MAC",
        _terms(C=1, L=1, S=-1),
        "He et al. 2015, arXiv:1512.03385, table 1; ResNeXt: Xie et al. 2016, arXiv:1611.05431, table 1",
        is_measured=True,
        note="called FLOPs, counts multiply-adds",
    ),
)


def conventions_for(comparisons_per_output: float) -> tuple[ConventionRule, ...]:
    """The registry for a network.

    Args:
        comparisons_per_output: of its max-pools, k - 1 for windows of k elements; 8 for 3x3.
    """

    def with_comparisons(rule: ConventionRule) -> ConventionRule:
        terms = tuple((symbol, comparisons_per_output if symbol == "m" else factor) for symbol, factor in rule.terms)
        return replace(rule, terms=terms)

    return tuple(map(with_comparisons, CONVENTIONS))


# Pairs that are reconciled unless others are asked for.
DEFAULT_RECONCILIATIONS = tuple((key, "resnet-cli") for key in ("torch", "torchinfo", "fvcore", "paper"))

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
    """A formula as text, such as "C + L + 2B + G".

    Args:
        terms: symbols and coefficients.
        parts: values of the symbols for a network; those that are 0 are left out. None keeps all.
    """
    words = []
    for symbol, coefficient in terms:
        if parts is not None and not parts.get(symbol):
            continue
        magnitude = "" if abs(coefficient) == 1 else f"{abs(coefficient):g}"
        words.append(f"{'−' if coefficient < 0 else '+'} {magnitude}{symbol}")
    text = " ".join(words)
    return text.removeprefix("+ ") or "0"


def value(terms: Terms, parts: Mapping[str, int]) -> int:
    """Value of a formula for a network."""
    return round(sum(coefficient * parts.get(symbol, 0) for symbol, coefficient in terms))


def apply(
    rule: ConventionRule, parts: Mapping[str, int], figure: Figure | None, missing: Sequence[str] = ()
) -> Convention:
    """A convention applied to a network: the value of its formula, compared with the tool's own count if known.

    Args:
        rule: the convention.
        parts: values of the terms.
        figure: the tool's own count.
        missing: operators that are in no term although the convention counts such; with any, the value of the
            formula is a lower bound, and agrees with nothing.
    """
    predicted = value(rule.terms, parts)
    verdict, measured, rounding, note = "not_run", None, None, rule.note
    if figure is not None and figure.value is None:
        verdict, note = "unavailable", figure.reason
    elif figure is not None and figure.value is not None:
        measured, rounding = figure.value, figure.rounding
        verdict = _verdict(predicted, measured, rounding)
        if verdict == "rounded" and rounding is not None and abs(predicted - measured) > rounding / 2:
            note = f"{note}; its last digit is cut, not rounded" if note else "its last digit is cut, not rounded"
    if missing and measured is not None:
        verdict = "lower_bound"
    return Convention(
        key=rule.key,
        name=rule.title,
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
    start: Convention, end: Convention, parts: Sequence[FlopTerm], operators: Mapping[str, Iterable[str]]
) -> Reconciliation:
    """Reconcile two counts: a step for each term that they weigh differently.

    Args:
        start: the count that it begins with: the tool's own if it is exact, else that of the formula.
        end: the count that it ends with.
        parts: the counted terms.
        operators: titles of the operators that contribute to a term, by symbol.

    Returns:
        Steps that add up to `end_value - start_value`. What a tool counts beyond its formula is a step of its own.
    """
    before, after = dict(start.coefficients), dict(end.coefficients)
    first, last = _figure(start), _figure(end)
    steps = []
    for part in parts:
        coefficients = before.get(part.symbol, 0.0), after.get(part.symbol, 0.0)
        if part.value and coefficients[0] != coefficients[1]:
            difference = round((coefficients[1] - coefficients[0]) * part.value)
            names = tuple(sorted(operators.get(part.symbol, ())))
            steps.append(ReconciliationStep(part.symbol, part.meaning, names, part.value, *coefficients, difference))
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
    """Keys of all conventions."""
    return tuple(rule.key for rule in CONVENTIONS)


def parse_reconciliation(text: str) -> tuple[str, str]:
    """Two keys from "fvcore:torchvision".

    Raises:
        ResnetCliError: it is not two known keys.
    """
    start, colon, end = text.partition(":")
    known = keys()
    for key in (start, end):
        if key not in known:
            problem = f"{key!r} is not a FLOP convention" if colon else f"{text!r} is not a pair of FLOP conventions"
            raise ResnetCliError(problem, f"write two as FROM:TO, of {', '.join(known)}")
    return start, end
