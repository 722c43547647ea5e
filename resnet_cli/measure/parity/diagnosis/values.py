"""Patterns in values: weights, running statistics, and wiring that only the outputs show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from resnet_cli.measure.ops.names import spoken
from resnet_cli.measure.parity.checks.eval_settings import BY_BATCH
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Match, match, places
from resnet_cli.measure.parity.train_step import NO_GRADIENT
from resnet_cli.results.compare import Difference

_KEYS = {
    ("value", "nan"): "nan",
    ("value", "swapped"): "swapped-weights",
    ("value", "weight"): "weight-values",
    ("value", "buffer"): "buffer-values",
}


def shared_modules(context: DiffContext) -> Iterator[Match]:
    """One module of the model in place of several of the reference."""
    shared = context.of("shared")
    if shared:
        nodes = [difference.model_node for difference in shared if difference.model_node is not None]
        is_whole = any(
            node.label != difference.finding.model_path for node, difference in zip(nodes, shared, strict=True)
        )
        cause = " (`[block] * n` repeats one object)" if is_whole else ""
        more = (
            f"; likewise {places([str(row.finding.model_path) for row in shared[1:]])[3:]}" if len(shared) > 1 else ""
        )
        yield match("shared-module", f"{shared[0].finding.text}{cause}{more}", shared)


def train_mode_in_eval(context: DiffContext) -> Iterator[Match]:
    """Batch norms or dropout that stay in train mode."""
    for subject, act in (("batch_norm", "use the statistics of the batch"), ("dropout", "drop values")):
        alike = [row for row in context.differences if (row.category, row.subject) == ("eval mode", subject)]
        if alike and (subject == "dropout" or alike[0].model_value == BY_BATCH):
            more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
            text = f"layers that {act} in eval mode: {alike[0].model_path}{more}"
            paths = {row.model_path for row in alike}
            follow = [row for row in context.differences if _keeps_no_statistics(row, paths)]
            yield Match(f"{subject.replace('_', '-')}-in-eval", text, alike + follow)


def _keeps_no_statistics(difference: Difference, paths: Collection[str | None]) -> bool:
    """Whether a difference is about the running statistics of layers, which a forward in eval mode has changed too."""
    path = difference.model_path or ""
    is_setting = (difference.category, difference.subject) == ("setting", "batch_norm.track_running_stats")
    return (is_setting and path in paths) or (difference.category == "statistics" and path.rpartition(".")[0] in paths)


def other_dtypes(context: DiffContext) -> Iterator[Match]:
    """Operators in another dtype, as under autocast."""
    by_dtype: dict[tuple[str | None, str | None], list[Difference]] = defaultdict(list)
    for difference in context.differences:
        if (difference.category, difference.subject) == ("eval mode", "dtype"):
            by_dtype[difference.model_value, difference.reference_value].append(difference)
    for (dtype, expected), alike in by_dtype.items():
        count = f"{len(alike)} operators run" if len(alike) > 1 else "an operator runs"
        path = alike[0].model_path or "the network"
        text = f"{count} in {dtype} (`torch.autocast` or a cast), from {path} on; in {context.reference} in {expected}"
        yield Match("other-dtype", text, alike)


def wiring(context: DiffContext) -> Iterator[Match]:
    """Outputs that differ although each operator is right in isolation."""
    for difference in context.differences:
        if (difference.check, difference.category) == ("eval", "wiring"):
            yield Match("wiring", difference.text, [difference])


def other_operators(context: DiffContext) -> Iterator[Match]:
    """Several operators of a kind that give something else than the reference's on the same inputs."""
    by_kind: dict[str, list[Difference]] = defaultdict(list)
    for difference in context.differences:
        if difference.category == "operator":
            by_kind[difference.subject].append(difference)
    for kind, alike in by_kind.items():
        if len(alike) > 1:
            text = (
                f"{len(alike)} {spoken(kind)}s ({alike[0].model_path}, …) give something else than "
                f"{context.reference}'s on the same inputs, with the same settings"
            )
            yield Match("other-operators", text, alike)


def random_path(context: DiffContext) -> Iterator[Match]:
    """A forward whose operators in train mode are drawn at random, as in stochastic depth (arXiv 1603.09382)."""
    for difference in context.differences:
        if (difference.category, difference.subject) == ("train", "random path"):
            text = f"{difference.text} (stochastic depth?), so that only eval mode is compared"
            yield Match("random-path", text, [difference])


def cut_gradients(context: DiffContext) -> Iterator[Match]:
    """Parameters that get no gradient although they are trained: the graph is cut behind the last of them."""
    cut = [
        difference
        for difference in context.differences
        if difference.category == "gradients" and difference.model_value == NO_GRADIENT
    ]
    if cut:
        count = f"{len(cut)} parameters get" if len(cut) > 1 else f"{cut[0].model_path} gets"
        last = f", the last is {cut[-1].model_path}" if len(cut) > 1 else ""
        yield Match("cut-gradients", f"{count} no gradient (`detach` or `no_grad` behind them?){last}", cut)


def other_gradients(context: DiffContext) -> Iterator[Match]:
    """Gradients with other values although the outputs agree."""
    differing = [row for row in context.differences if row.category == "gradients" and row.model_value != NO_GRADIENT]
    if differing:
        paths = {row.model_path for row in differing}
        steps = [row for row in context.differences if row.category == "step" and row.model_path in paths]
        count = f"{len(differing)} gradients differ" if len(differing) > 1 else "a gradient differs"
        text = (
            f"{count} although the outputs agree, the last is that of {differing[0].model_path}: something behind it "
            "has another backward (`detach` on a branch?)"
        )
        yield Match("other-gradients", text, differing + steps)


def other_outputs(context: DiffContext) -> Iterator[Match]:
    """Another number of outputs, or outputs of other axes."""
    for difference in context.differences:
        if difference.category == "output":
            yield Match("other-outputs", difference.text, [difference])


def frozen_parameters(context: DiffContext) -> Iterator[Match]:
    """Parameters that are trained in one network only; where nothing else differs, the function is the same."""
    frozen = [difference for difference in context.differences if difference.category == "frozen"]
    for state in ("frozen", "trainable"):
        alike = [difference for difference in frozen if difference.model_value == state]
        if alike:
            same = "the same function; " if len(frozen) == len(context.differences) else ""
            are = f"{len(alike)} parameters are {state}" if len(alike) > 1 else f"{alike[0].model_path} is {state}"
            first = f"; the first is {alike[0].model_path}" if len(alike) > 1 else ""
            text = f"{same}{are}, in {context.reference} {alike[0].reference_value}{first}"
            yield Match("frozen-parameter", text, alike)


def repeated_norms(context: DiffContext) -> Iterator[Match]:
    """Norms that run more often than the reference's in a step: their counters say so."""
    counters = [
        difference
        for difference in context.differences
        if difference.category == "statistics" and difference.model_value and difference.reference_value
        if int(difference.model_value) > int(difference.reference_value)
    ]
    owners = {str(difference.model_path).rpartition(".")[0] for difference in counters}
    repeated = [
        difference
        for difference in context.differences
        if difference.category == "statistics" and str(difference.model_path).rpartition(".")[0] in owners
    ]
    if repeated:
        text = (
            f"{len(owners)} batch norms run {counters[0].model_value} times in a training step, as where activation "
            f"checkpointing computes their forward again; in {context.reference} {counters[0].reference_value}"
        )
        yield Match("repeated-norms", text, repeated)


def other_inputs(context: DiffContext) -> Iterator[Match]:
    """Outputs that differ for images of other sizes, or for a single one, and in nothing else."""
    for difference in context.differences:
        if difference.category == "shape":
            yield Match("other-inputs", difference.text, [difference])


def biased_variances(context: DiffContext) -> Iterator[Match]:
    """Running variances that take the biased variance of the batch."""
    biased = [
        difference
        for difference in context.differences
        if difference.category == "statistics" and difference.model_path in context.biased_variances
    ]
    if biased:
        text = (
            f"{biased[0].model_path} is updated with the biased variance (divided by n); torch uses the unbiased one "
            "(n − 1)"
        )
        yield Match("biased-running-variance", text, biased)


def tensor_values(context: DiffContext) -> Iterator[Match]:
    """Tensors with other values."""
    for (category, subject), key in _KEYS.items():
        alike = [row for row in context.differences if (row.category, row.subject) == (category, subject)]
        if alike:
            more = f"; {len(alike) - 1} more like it" if len(alike) > 1 else ""
            yield Match(key, alike[0].text + more, alike)
