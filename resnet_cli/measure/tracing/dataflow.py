"""Edges between the calls inside a module: which call reads the output of which other call."""

from __future__ import annotations

from collections.abc import Callable

from resnet_cli.measure.tracing.trace import ModuleCall, OperatorCall, Trace

INPUT = -1  # the input of the module itself

Step = ModuleCall | OperatorCall


class DataFlow:
    """The edges between the calls of each module, from the storages that its operators read and wrote.

    Args:
        trace: of a forward.
    """

    def __init__(self, trace: Trace) -> None:
        self._reads: dict[int, dict[int, Step | None]] = {}  # by identity of the reader: what it reads, None its input
        for operator in trace.operators:
            if not operator.backward:
                for writer in operator.reads:
                    self._connect(_chain(operator), None if writer is None else _chain(writer))

    def _connect(self, reader: list[Step], writer: list[Step] | None) -> None:
        """Below their common ancestor the reader's call reads the writer's; the calls inside it read its input."""
        common = 1
        if writer is not None:
            while writer[common] is reader[common]:
                common += 1
            self._reads.setdefault(id(reader[common]), {})[id(writer[common])] = writer[common]
            common += 1
        for call in reader[common:]:
            self._reads.setdefault(id(call), {})[INPUT] = None

    def sources(self, call: Step, index: Callable[[Step], int | None]) -> tuple[int, ...]:
        """The siblings whose outputs a call reads.

        Args:
            call: of a module, or an operator in its forward.
            index: the row of a sibling; None for one without a row, which is replaced by what it reads itself.

        Returns:
            Rows in order, `INPUT` first.
        """
        rows: set[int] = set()
        seen: set[int] = set()
        waiting = [call]
        while waiting:
            for step in self._reads.get(id(waiting.pop()), {}).values():
                row = INPUT if step is None else index(step)
                if row is not None:
                    rows.add(row)
                elif step is not None and id(step) not in seen:
                    seen.add(id(step))
                    waiting.append(step)
        return tuple(sorted(rows))


def _chain(operator: OperatorCall) -> list[Step]:
    """The calls from the network down to an operator, which is the last one."""
    chain: list[Step] = [operator]
    module: ModuleCall | None = operator.module
    while module is not None:
        chain.append(module)
        module = module.parent
    return chain[::-1]
