"""The checks that need no forward: parameters and buffers, settings and structure; and the initialization."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from resnet_cli.formatting import dimensions
from resnet_cli.measure.graph.nodes import Graph
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.torchvision_figures import UnpublishedError, torchvision_figures
from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.parity.checks import CheckOutcome
from resnet_cli.measure.parity.config import TORCHVISION
from resnet_cli.measure.parity.setup import ParityRun, counts
from resnet_cli.results.common import Note
from resnet_cli.results.compare import BITWISE, DIFFERENT, REWRITTEN, Difference

_USUAL = (0.9, 1.1)  # usual range of a weight's standard deviation, as a multiple of Kaiming's


def parameters(run: ParityRun) -> CheckOutcome:
    """Counts, the key map, values, dtypes and frozen parameters."""
    model, reference = run.model, run.reference
    model_counts, reference_counts = counts(model, run.used[0]), counts(reference, run.used[1])
    differences = _values(run) + _frozen(run)
    run.findings += differences
    unmapped = run.unmapped
    is_same = model_counts == reference_counts and not differences and not any(unmapped) and not run.clashes
    text = (
        f"{model_counts[0]:,} parameters ({_by_operator(run.graphs[0], model)}) and {model_counts[1]:,} buffer values"
    )
    if model_counts != reference_counts:
        text += f"; {run.config.reference} has {reference_counts[0]:,} ({_by_operator(run.graphs[1], reference)})"
        text += f" and {reference_counts[1]:,}"
    text += _published(run, reference_counts[0])
    if any(unmapped):
        text += f"; no counterpart for {len(unmapped[0])} tensors of the model"
        text += f", {len(unmapped[1])} of {run.config.reference}"
    if differences:
        text += f"; {len(differences)} with another value or frozen"
    if unused := run.unused:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        note = f"no forward reads {', '.join(unused[:3])}{more}: excluded from all counts"
        run.notes.append(Note("note", note, "unused-tensors"))
    if run.layouts:
        text += f"; {len(run.layouts)} stored with {'its' if len(run.layouts) == 1 else 'their'} axes in another order"
    return CheckOutcome(DIFFERENT if not is_same else REWRITTEN if run.layouts else BITWISE, text)


def _by_operator(graph: Graph, model: nn.Module) -> str:
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters(remove_duplicate=False)}
    by_operator: dict[str, int] = defaultdict(int)
    seen: set[str] = set()
    for node in graph.nodes:
        for leaf in node.leaves.values():
            if leaf.name in sizes and leaf.name not in seen:
                seen.add(leaf.name)
                by_operator[node.operator] += sizes[leaf.name]
    return ", ".join(f"{spoken(kind)} {count:,}" for kind, count in by_operator.items())


def _published(run: ParityRun, count: int) -> str:
    """How the count compares with the one that torchvision publishes for the reference."""
    if run.config.reference != TORCHVISION:
        return ""
    name = run.reference_name.removeprefix("torchvision ")
    try:
        published = torchvision_figures(name).num_params
    except UnpublishedError:
        return ""
    if published == count:
        return ", as torchvision publishes"
    return f"; torchvision publishes {published:,} for {name}"


def _values(run: ParityRun) -> list[Difference]:
    """Mapped tensors whose values are not the same."""
    model, reference = random_init.tensors(run.model), run.reference_tensors
    unequal = {
        name: partner
        for name, partner in run.pairs.items()
        if name in model and partner in reference and not _equal(model[name], reference[partner])
    }
    # The other tensor whose values a tensor holds, where it does.
    swapped = {
        name: next(
            (other for other in unequal if other != name and _equal(model[name], reference[unequal[other]])), None
        )
        for name in unequal
    }
    parameters = dict(run.model.named_parameters(remove_duplicate=False))
    differences = []
    for name, partner in unequal.items():
        a, b = model[name].detach(), reference[partner].detach().reshape(model[name].shape)
        other = swapped[name]
        if not bool(torch.isfinite(a).all()):
            text, subject = f"{name}: {int((~torch.isfinite(a)).sum()):,} values are not finite", "nan"
        elif a.dtype != b.dtype and torch.equal(a, b.to(a.dtype)):
            text, subject = f"{name}: {_dtype(a)}, {run.config.reference} has {_dtype(b)}", "dtype"
        elif other is not None and swapped[other] == name:
            text, subject = f"{name} holds the values of {unequal[other]}: the two are swapped", "swapped"
        else:
            largest = float((a.double() - b.double()).abs().max())
            text = f"{name}: {int((a != b).sum()):,} of {a.numel():,} values differ, by at most {largest:.3g}"
            subject = "weight" if name in parameters else "buffer"
        differences.append(Difference("parameters", "value", subject, name, partner, None, None, text))
    return differences


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.numel() == b.numel() and a.dtype == b.dtype and torch.equal(a, b.reshape(a.shape))


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _frozen(run: ParityRun) -> list[Difference]:
    """Mapped tensors that are trained in one network only, or a parameter in one network only."""
    model = dict(run.model.named_parameters(remove_duplicate=False))
    reference = dict(run.reference.named_parameters(remove_duplicate=False))
    differences = []
    for name, partner in run.pairs.items():
        if name in model and partner in reference and model[name].requires_grad != reference[partner].requires_grad:
            words = ("trainable", "frozen") if model[name].requires_grad else ("frozen", "trainable")
            text = f"{name} is {words[0]}, {run.config.reference}'s is {words[1]}"
            differences.append(Difference("parameters", "frozen", "requires_grad", name, partner, *words, text))
        elif (name in model) != (partner in reference) and partner in random_init.tensors(run.reference):
            text = (
                f"{name} is a {'parameter' if name in model else 'buffer'}, {run.config.reference}'s {partner} is not"
            )
            differences.append(Difference("parameters", "parameter", "kind", name, partner, None, None, text))
    return differences


def settings(run: ParityRun) -> CheckOutcome:
    """Settings of every operator, and how they are connected."""
    structure = run.structure
    outputs = _outputs(run)
    run.findings += outputs
    operators = len(structure.pairs)
    equal = sum(status == "equal" for status in structure.status.values())
    places = f"{len(run.rewritings)} place{'s' if len(run.rewritings) > 1 else ''}"
    rewritten = f"written otherwise in {places}, with the same function" if run.rewritings else ""
    if outputs and not structure.differences:
        return CheckOutcome(DIFFERENT, f"{equal} operators are the same; {outputs[0].text}")
    if not structure.differences and not rewritten:
        return CheckOutcome(BITWISE, f"{operators} operators with the same settings and the same inputs")
    if not structure.differences:
        return CheckOutcome(REWRITTEN, f"{equal} operators are the same; {rewritten}")
    by_category = Counter(difference.finding.category for difference in structure.differences)
    listed = ", ".join(f"{count} {_plural(category, count)}" for category, count in by_category.items())
    listed += f"; {rewritten}" if rewritten else ""
    return CheckOutcome(DIFFERENT, f"{equal} of {operators} operators are the same; {listed}")


def _outputs(run: ParityRun) -> list[Difference]:
    """Another number of outputs; or outputs with as many values in other axes, or for another number of images."""
    model, reference = (graph.outputs for graph in run.graphs)
    if len(model) != len(reference):
        texts = [f"{len(shapes)} tensor{'s' if len(shapes) > 1 else ''}" for shapes in (model, reference)]
    else:
        unlike = [
            (a, b)
            for a, b in zip(model, reference, strict=True)
            if a != b and (math.prod(a) == math.prod(b) or a[:1] != b[:1])
        ]
        texts = [dimensions(shape) for shape in unlike[0]] if unlike else []
    if not texts:
        return []
    text = f"the model returns {texts[0]}, {run.config.reference} {texts[1]}"
    return [Difference("settings", "output", "output", None, None, texts[0], texts[1], text)]


def _plural(category: str, count: int) -> str:
    nouns = {"setting": "setting", "wiring": "connection"}
    if category == "shared":
        return "shared module" + ("s" if count > 1 else "")
    if category in nouns:
        return nouns[category] + ("s differ" if count > 1 else " differs")
    return category


def weight_stds(model: nn.Module) -> dict[str, float]:
    """Standard deviation of the weight of each convolution, by name."""
    return {
        name: float(weight.detach().float().std())
        for name, weight in model.named_parameters()
        if weight.dim() > 2 and weight.numel() >= 100 and not weight.is_meta
    }


def initialization(stds: Mapping[str, float], run: ParityRun) -> None:
    """Compare the model's initialization with Kaiming's fan-out rule; adds a note where it differs.

    The rule for ReLU in fan-out mode is a standard deviation of sqrt(2 / (kernel area x channels out)), He et al.
    2015, arXiv 1502.01852; torchvision's ResNets start with it. Like torch's `kaiming_normal_`, this does not divide
    the channels out by the groups.

    Args:
        stds: of the weights that the model came with.
        run: the comparison.
    """
    ratios: dict[str, float] = {}
    for node in run.graphs[0].nodes:
        leaf = node.leaves.get("weight")
        if node.operator == "conv" and leaf is not None and leaf.name in stds:
            ratios[leaf.name] = stds[leaf.name] / math.sqrt(2 / (leaf.shape[0] * math.prod(leaf.shape[2:])))
    unusual = sum(not _USUAL[0] <= ratio <= _USUAL[1] for ratio in ratios.values())
    if unusual and run.config.reference == TORCHVISION:
        text = (
            f"initialization: {unusual} of {len(ratios)} convolutions have a different std than torchvision's Kaiming "
            f"fan-out init ({min(ratios.values()):.2g}× to {max(ratios.values()):.2g}×)"
        )
        run.notes.append(Note("note", text, "initialization-differs"))


def not_comparable(run: ParityRun) -> str | None:
    """Why differences of a forward say nothing about the model: it has random weights without a counterpart."""
    unmapped = run.unmapped[0]
    if not unmapped:
        return None
    more = f" and {len(unmapped) - 2} more" if len(unmapped) > 2 else ""
    verb, owner = ("has", "its") if len(unmapped) == 1 else ("have", "their")
    return f"{', '.join(unmapped[:2])}{more} of the model {verb} no counterpart, so {owner} values are arbitrary"


def not_comparable_in_eval(run: ParityRun) -> str | None:
    """The same for a forward in eval mode, which reads running statistics too."""
    plain = [each.finding for each in run.structure.differences if each.finding.subject == "batch_norm.statistics"]
    reason = not_comparable(run)
    if reason is not None or not plain:
        return reason
    more = f" and {len(plain) - 1} more" if len(plain) > 1 else ""
    return f"the running statistics of {plain[0].model_path}{more} are plain attributes, so their values are arbitrary"
