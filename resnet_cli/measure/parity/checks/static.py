"""The checks that need no arithmetic: parameters and buffers by count and by value, settings, initialisation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from resnet_cli.measure.graph.nodes import Graph
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.torchvision_figures import UnpublishedError, torchvision_figures
from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.parity.config import REFERENCE, ParityRun, counts
from resnet_cli.results.common import Note
from resnet_cli.results.compare import BITWISE, DIFFERENT, Check, Diagnosis, Difference

_USUAL = (0.9, 1.1)  # how far the standard deviation of a random weight may be from its rule


def parameters(comparison: ParityRun) -> None:
    """Counts, the map, values, dtypes and frozen parameters."""
    ours, theirs = comparison.ours, comparison.theirs
    mine, other = counts(ours, comparison.used[0]), counts(theirs, comparison.used[1])
    found = _values(comparison) + _frozen(comparison)
    comparison.findings += found
    lost = comparison.unmapped
    same = mine == other and not found and not any(lost) and not comparison.clashes
    said = f"{mine[0]:,} parameters ({_by_kind(comparison.graphs[0], ours)}) and {mine[1]:,} values in buffers"
    if mine != other:
        said += f"; {REFERENCE} has {other[0]:,} ({_by_kind(comparison.graphs[1], theirs)}) and {other[1]:,}"
    said += _published(comparison, other[0])
    if any(lost):
        said += f"; without a counterpart: {len(lost[0])} of ours, {len(lost[1])} of {REFERENCE}'s tensors"
    if found:
        said += f"; {len(found)} with another value or frozen"
    verdict = BITWISE if same else DIFFERENT
    comparison.checks.append(Check("parameters", "parameters and buffers", verdict, None, None, said))
    unused = comparison.unused
    if unused:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        text = f"no forward reads {', '.join(unused[:3])}{more}: left out of every count"
        comparison.notes.append(Note("note", text))


def _by_kind(graph: Graph, model: nn.Module) -> str:
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters(remove_duplicate=False)}
    found: dict[str, int] = defaultdict(int)
    seen: set[str] = set()
    for node in graph.nodes:
        for leaf in node.leaves.values():
            if leaf.name in sizes and leaf.name not in seen:
                seen.add(leaf.name)
                found[node.operator] += sizes[leaf.name]
    return ", ".join(f"{spoken(kind)} {count:,}" for kind, count in found.items())


def _published(comparison: ParityRun, count: int) -> str:
    """Torchvision's own figure, where the reference is a network as published."""
    name = comparison.reference.removeprefix("torchvision ")
    try:
        figure = torchvision_figures(name).num_params
    except UnpublishedError:
        return ""
    if figure == count:
        return f", as {REFERENCE} publishes"
    return f"; {REFERENCE} publishes {figure:,} for {name}"


def _values(comparison: ParityRun) -> list[Difference]:
    """Mapped tensors whose values are not the same."""
    ours, theirs = random_init.tensors(comparison.ours), random_init.tensors(comparison.theirs)
    apart: dict[str, str] = {}
    for mine, other in comparison.pairs.items():
        if mine in ours and other in theirs and not _equal(ours[mine], theirs[other]):
            apart[mine] = other
    swapped = {
        mine: next(
            (one for one in apart if one != mine and _equal(ours[mine], theirs[apart[one]])),
            None,
        )
        for mine in apart
    }
    found = []
    for mine, other in apart.items():
        a, b = ours[mine].detach(), theirs[other].detach().reshape(ours[mine].shape)
        kind = "buffer" if mine not in dict(comparison.ours.named_parameters(remove_duplicate=False)) else "weight"
        twin = swapped[mine]
        if bool(torch.isnan(a).any()) or bool(torch.isinf(a).any()):
            text, subject = f"{mine}: {int((~torch.isfinite(a)).sum()):,} values are not finite (NaN)", "nan"
        elif a.dtype != b.dtype and torch.equal(a, b.to(a.dtype)):
            text, subject = f"{mine}: {_dtype(a)}, {REFERENCE} has {_dtype(b)}", "dtype"
        elif twin is not None and swapped[twin] == mine:
            text, subject = f"{mine} holds the values of {apart[twin]}: the two are swapped", "swapped"
        else:
            differ = (a != b).sum()
            far = float((a.double() - b.double()).abs().max())
            text = f"{mine}: {int(differ):,} of {a.numel():,} values differ, by {far:.3g} at most"
            subject = kind
        found.append(Difference("parameters", "value", subject, mine, other, None, None, text))
    return found


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.numel() == b.numel() and a.dtype == b.dtype and torch.equal(a, b.reshape(a.shape))


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _frozen(comparison: ParityRun) -> list[Difference]:
    ours = dict(comparison.ours.named_parameters(remove_duplicate=False))
    theirs = dict(comparison.theirs.named_parameters(remove_duplicate=False))
    found = []
    for mine, other in comparison.pairs.items():
        if mine in ours and other in theirs and ours[mine].requires_grad != theirs[other].requires_grad:
            is_frozen = not ours[mine].requires_grad
            words = ("frozen", "trainable") if is_frozen else ("trainable", "frozen")
            text = f"{mine} is {words[0]}, {REFERENCE}'s is {words[1]}"
            found.append(Difference("parameters", "frozen", "requires_grad", mine, other, *words, text))
        elif (mine in ours) != (other in theirs) and other in random_init.tensors(comparison.theirs):
            text = f"{mine} is a {'parameter' if mine in ours else 'buffer'}, {REFERENCE}'s {other} is not"
            found.append(Difference("parameters", "parameter", "kind", mine, other, None, None, text))
    return found


def settings(comparison: ParityRun) -> None:
    """Everything that the alignment showed."""
    structure = comparison.structure
    findings = [one.finding for one in structure.differences]
    operators = len(structure.pairs)
    equal = sum(status == "equal" for status in structure.status.values())
    by_kind: dict[str, int] = defaultdict(int)
    for one in findings:
        by_kind[one.category] += 1
    if findings:
        said = f"{equal} of {operators} operators are the same; " + ", ".join(
            f"{count} {_plural(kind, count)}" for kind, count in by_kind.items()
        )
    else:
        said = f"{operators} operators, each with the same settings and the same inputs"
    verdict = DIFFERENT if findings else BITWISE
    comparison.checks.append(Check("settings", "settings and structure", verdict, None, None, said))


def _plural(kind: str, count: int) -> str:
    words = {"setting": "setting", "wiring": "connection"}
    if kind in words:
        return words[kind] + ("s differ" if count > 1 else " differs")
    return kind


def spreads(model: nn.Module) -> dict[str, float]:
    """Standard deviation of every weight of a convolution, by name, as the network comes."""
    return {
        name: float(weight.detach().float().std())
        for name, weight in model.named_parameters()
        if weight.dim() > 2 and weight.numel() >= 100 and not weight.is_meta
    }


def initialisation(spread: Mapping[str, float], comparison: ParityRun) -> None:
    """How the random weights that the network came with compare with Kaiming's fan-out rule, as a note.

    Kaiming's rule for ReLU, fan-out mode: standard deviation sqrt(2 / (kernel area x channels out)), He et al. 2015,
    arXiv 1502.01852; torchvision's ResNets start with it. Groups divide the channels out that one input reaches,
    which torch's `kaiming_normal_` leaves out, and so does this.
    """
    ratios: dict[str, float] = {}
    for node in comparison.graphs[0].nodes:
        leaf = node.leaves.get("weight")
        if node.operator == "conv" and leaf is not None and leaf.name in spread:
            rule = math.sqrt(2 / (leaf.shape[0] * math.prod(leaf.shape[2:])))
            ratios[leaf.name] = spread[leaf.name] / rule
    if not ratios or all(_USUAL[0] <= ratio <= _USUAL[1] for ratio in ratios.values()):
        return
    low, high = min(ratios, key=lambda name: ratios[name]), max(ratios, key=lambda name: ratios[name])
    odd = sum(not _USUAL[0] <= ratio <= _USUAL[1] for ratio in ratios.values())
    comparison.notes.append(
        Note(
            "note",
            f"initialisation: {odd} of {len(ratios)} convolutions start with another spread than {REFERENCE}'s "
            f"(Kaiming, fan-out): {ratios[low]:.2g} × its standard deviation in {low} to {ratios[high]:.2g} × in "
            f"{high}",
        )
    )


def not_comparable(comparison: ParityRun) -> str | None:
    """Why figures of a forward would say nothing of the network itself."""
    lost = comparison.unmapped[0]
    if not lost:
        return None
    more = f" and {len(lost) - 2} more" if len(lost) > 2 else ""
    return f"{', '.join(lost[:2])}{more} of ours have no counterpart, so their values are arbitrary"


def name_values(comparison: ParityRun) -> list[Diagnosis]:
    """What the findings on values are called."""
    names = {"nan": "nan", "swapped": "swapped-weights", "weight": "weight-values", "buffer": "buffer-values"}
    found = []
    for subject, key in names.items():
        places = [i for i, one in enumerate(comparison.findings) if one.category == "value" and one.subject == subject]
        if places:
            first = comparison.findings[places[0]]
            more = f"; {len(places) - 1} more like it" if len(places) > 1 else ""
            found.append(Diagnosis(key, first.text + more, tuple(places)))
    frozen = [i for i, one in enumerate(comparison.findings) if one.category == "frozen"]
    if frozen:
        first = comparison.findings[frozen[0]]
        more = f"; {len(frozen) - 1} more like it" if len(frozen) > 1 else ""
        found.append(Diagnosis("frozen-parameter", first.text + more, tuple(frozen)))
    return found
