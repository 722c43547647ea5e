"""Notes on what a pass runs where that is not always the same: in train mode, by chance, or in a first call."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli.measure.tracing.trace import Trace
from resnet_cli.results.common import Note
from resnet_cli.results.summary import INFERENCE_MEMORY, TRAINING_MEMORY

_MAX_NAMES = 4
_FIGURES = {  # of a pass in each mode
    "eval": ("macs", "flops", "ops", *INFERENCE_MEMORY),
    "train": ("backward_macs", "backward_flops", *TRAINING_MEMORY),
}


def is_same_pass(trace: Trace, other: Trace) -> bool:
    """Whether two passes ran the same operators in the same modules, and needed the same memory."""
    return _steps(trace) == _steps(other) and (trace.peak, trace.saved) == (other.peak, other.saved)


def _steps(trace: Trace) -> list[tuple[str, str, int]]:
    return [(op.op, op.module.path, op.counted.operations) for op in trace.operators]


def first_call_note() -> Note:
    """The note of a network whose first call leaves something behind that later calls use."""
    text = (
        "the first call leaves state behind that later calls use (a cache, or a layer that it makes): "
        "all figures are those of a later call"
    )
    return Note("note", text, "first-call-differs")


def chance_note(mode: str, traces: Sequence[Trace]) -> Note | None:
    """A note where random numbers decide what a pass runs; None where all passes are the same.

    Args:
        mode: "train" or "eval".
        traces: of the same pass under different seeds, the first one that of the figures.
    """
    if all(is_same_pass(traces[0], other) for other in traces[1:]):
        return None
    macs = [_forward_macs(trace) for trace in traces]
    text = (
        f"random numbers decide what runs in {mode} mode: all figures are those of one seed, {macs[0]:,} MACs; "
        f"{len(traces)} seeds give {min(macs):,} to {max(macs):,}"
    )
    paths = _not_in_all(traces)
    if paths:
        text += f"; not called by all of them: {_listed(paths)}"
    return Note("note", text, f"random-path-{mode}", unknown=_FIGURES[mode])


def mode_notes(inference: Trace, training: Trace | None) -> tuple[Note, ...]:
    """A note where train mode and eval mode run different layers, such as an auxiliary head."""
    if training is None:
        return ()
    macs = [_forward_macs(trace) for trace in (inference, training)]
    only = _outermost(training, inference), _outermost(inference, training)
    if macs[0] == macs[1] and not any(only):
        return ()
    text = f"train mode differs from eval mode: {macs[1]:,} MACs in train mode, {macs[0]:,} in eval mode"
    for mode, paths in zip(("train", "eval"), only, strict=True):
        if paths:
            text += f"; only called in {mode} mode: {_listed(paths)}"
    return (Note("note", text, "train-mode-differs"),)


def _outermost(trace: Trace, other: Trace) -> list[str]:
    """Modules that only the first pass calls, without those inside them."""
    others = {call.path for call in other.root.modules()}
    only = dict.fromkeys(call.path for call in trace.root.modules() if call.path not in others)
    return [path for path in only if path.rpartition(".")[0] not in only]


def _not_in_all(traces: Sequence[Trace]) -> list[str]:
    """Modules that some passes call and others do not, in the network's order, without those inside them."""
    called = [{call.path for call in trace.root.modules()} for trace in traces]
    some = {path for paths in called for path in paths if not all(path in others for others in called)}
    paths = [path for path, _ in traces[0].root.module.named_modules() if path in some]
    return [path for path in paths if path.rpartition(".")[0] not in some]


def _forward_macs(trace: Trace) -> int:
    return sum(op.counted.macs for op in trace.operators if not op.backward)


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _MAX_NAMES} more" if len(paths) > _MAX_NAMES else ""
    return ", ".join(paths[:_MAX_NAMES]) + more
