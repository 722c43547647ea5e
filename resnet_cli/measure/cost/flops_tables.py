"""The rows of `flops`: one per operator, one per module, with what every counter says of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from resnet_cli.measure.ops.names import from_fvcore
from resnet_cli.measure.tracing.trace import ModuleCall, OperatorCall, Trace
from resnet_cli.results.flops import ModuleFlops, Operator


def total_macs(operators: Iterable[OperatorCall]) -> int:
    """Multiply-accumulates of some operator calls."""
    return sum(op.counted.macs for op in operators)


def op_rows(
    forward: Sequence[OperatorCall], backward: Sequence[OperatorCall], fvcore: Mapping[str, int] | None
) -> tuple[Operator, ...]:
    """A row per operator, the dearest first; what fvcore counts elsewhere has a row of its own."""
    fvcore_counts: dict[str, int] = defaultdict(int)
    names = {op.name for op in forward}
    for name, figure in (fvcore or {}).items():
        target = from_fvcore(name)
        fvcore_counts[target if target in names else name] += figure
    rows = [
        _operator(name, calls, fvcore_counts.get(name, 0) if fvcore is not None else None)
        for name, calls in _by_name(forward).items()
    ]
    rows += [
        Operator(name, "forward", 0, None, 0, 0, 0, 0, None, figure, True)
        for name, figure in fvcore_counts.items()
        if name not in names and figure
    ]
    rows += [_operator(name, calls, None) for name, calls in _by_name(backward).items()]
    return tuple(sorted(rows, key=lambda row: (row.phase != "forward", -row.macs, -row.ops, row.name)))


def _by_name(operators: Sequence[OperatorCall]) -> Mapping[str, list[OperatorCall]]:
    by_name: dict[str, list[OperatorCall]] = defaultdict(list)
    for op in operators:
        if op.counted.operations or not op.counted.counted:
            by_name[op.name].append(op)
    return by_name


def _operator(name: str, calls: Sequence[OperatorCall], fvcore: int | None) -> Operator:
    tallies = [op.tallied for op in calls]
    return Operator(
        name=name,
        phase="backward" if calls[0].backward else "forward",
        calls=len(calls),
        term=calls[0].counted.term,
        elements=sum(op.output_elements for op in calls),
        macs=total_macs(calls),
        flops=2 * total_macs(calls),
        ops=sum(op.counted.operations for op in calls),
        torch_flops=None if None in tallies else sum(tally or 0 for tally in tallies),
        fvcore=fvcore,
        counted=calls[0].counted.counted,
    )


def module_rows(root: ModuleCall, name: str, fvcore: Mapping[str, int] | None, training: Trace | None) -> ModuleFlops:
    """The module tree.

    Args:
        root: the call of the network in eval mode.
        name: of the network.
        fvcore: its figures by path, None where it gave none.
        training: a training step, where the backward pass is wanted.
    """
    return _Modules(root, fvcore, training).row(root, name, 0)


class _Modules:
    """The module tree with every counter's figure."""

    def __init__(self, root: ModuleCall, fvcore: Mapping[str, int] | None, training: Trace | None) -> None:
        self.fvcore = fvcore
        self.evaluated = {(call.path, call.call) for call in root.modules()}
        self.trained = {(call.path, call.call): call for call in training.root.modules()} if training else None

    def row(self, call: ModuleCall, name: str, depth: int) -> ModuleFlops:
        operators = [child for child in call.children if isinstance(child, OperatorCall)]
        inner = [child for child in call.children if isinstance(child, ModuleCall)]
        rows = [self.row(child, child.path[len(call.path) :].lstrip("."), depth + 1) for child in inner]
        own_tallies = [op.tallied for op in operators] + [row.torch_flops for row in rows]
        macs = total_macs(operators) + sum(row.macs for row in rows)
        fvcore = None
        if self.fvcore is not None and call.call == 1:
            fvcore = self.fvcore.get(call.path, 0)
        backward = None
        if self.trained is not None:
            twin = self.trained.get((call.path, call.call))
            rows += [
                self._only_trained(child, call.path, depth + 1)
                for child in (twin.children if twin else ())
                if isinstance(child, ModuleCall) and (child.path, child.call) not in self.evaluated
            ]
            backward = (twin.backward_macs if twin else 0) + sum(row.backward_macs or 0 for row in rows)
        return ModuleFlops(
            path=call.path,
            name=name,
            layer_type=type(call.module).__name__,
            depth=depth,
            macs=macs,
            flops=2 * macs,
            ops=sum(op.counted.operations for op in operators) + sum(row.ops for row in rows),
            backward_macs=backward,
            torch_flops=None if None in own_tallies else sum(tally or 0 for tally in own_tallies),
            fvcore=fvcore,
            children=tuple(rows),
        )

    def _only_trained(self, call: ModuleCall, parent: str, depth: int) -> ModuleFlops:
        """A call that train mode alone makes: no work at inference, and its share of the backward pass."""
        inner = [child for child in call.children if isinstance(child, ModuleCall)]
        rows = tuple(self._only_trained(child, call.path, depth + 1) for child in inner)
        return ModuleFlops(
            path=call.path,
            name=call.path[len(parent) :].lstrip("."),
            layer_type=f"{type(call.module).__name__} (train mode only)",
            depth=depth,
            macs=0,
            flops=0,
            ops=0,
            backward_macs=call.backward_macs + sum(row.backward_macs or 0 for row in rows),
            torch_flops=0,
            fvcore=None,
            children=rows,
        )
