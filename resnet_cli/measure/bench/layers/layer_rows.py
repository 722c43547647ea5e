"""Rows of a layer tree with the times of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import median

from resnet_cli.measure.bench.layers.profiled_layers import own_ops
from resnet_cli.measure.bench.stats.estimators import median_interval
from resnet_cli.measure.tracing.module_stack import CallSite
from resnet_cli.results.bench import Ceiling, LayerTime
from resnet_cli.results.summary import Layer


@dataclass(frozen=True, slots=True)
class LayerRows:
    """The rows of a layer tree.

    A disturbance rarely falls on a given layer but often on the whole forward, so medians do not add up. The time of
    a module with children is therefore the sum of the medians of its children and of the time between them.

    Args:
        spent: seconds by call site, of each forward.
        ceiling: of the device.
        macs: of the whole forward.
    """

    spent: Sequence[Mapping[CallSite, float]]
    ceiling: Ceiling | None
    macs: int

    def of(self, layer: Layer, depth: int) -> list[LayerTime]:
        """Rows of a layer and of its descendants, without shares; a layer that no forward ran has none.

        Several operators that a forward runs itself share one row, with the path `…:own`, since one function may run
        several operators.
        """
        site = CallSite(layer.path, layer.call)
        if layer.is_operator or not self._ran(site):
            return []
        below = [rows for child in layer.children if (rows := self.of(child, depth + 1))]
        parts = [CallSite(rows[0].path, rows[0].call) for rows in below]
        # A row without an output holds the parameters of the module itself.
        operators = [child for child in layer.children if child.is_operator and child.output_shape is not None]
        if operators and self._ran(own := own_ops(site)):
            names = ", ".join(dict.fromkeys(child.name for child in operators))
            row = self._row(own, names, names, operators, depth + 1)
            # A single operator has the path that it has in every other layer tree.
            below.append([replace(row, path=operators[0].path) if len(operators) == 1 else row])
            parts.append(own)
        row = self._row(site, layer.name, layer.layer_type, [layer], depth)
        if not below:
            return [row]
        between = median(
            [max(0.0, times.get(site, 0.0) - sum(times.get(part, 0.0) for part in parts)) for times in self.spent]
        )
        time_s = between + sum(rows[0].time_s for rows in below)
        return [self._timed(replace(row, is_leaf=False), time_s), *chain.from_iterable(below)]

    def _ran(self, site: CallSite) -> bool:
        return any(site in times for times in self.spent)

    def _row(self, site: CallSite, name: str, layer_type: str, parts: Sequence[Layer], depth: int) -> LayerTime:
        """The row of a leaf, from its timer."""
        times = [seconds.get(site, 0.0) for seconds in self.spent]
        low, high = median_interval(times)
        moved, operations = sum(part.bytes_moved for part in parts), sum(part.ops for part in parts)
        macs = sum(part.macs for part in parts)
        intensity = operations / moved if moved else None
        row = LayerTime(
            path=site.path,
            name=name,
            layer_type=layer_type,
            depth=depth,
            call=site.call,
            is_leaf=True,
            time_s=0.0,
            ci_low_s=low,
            ci_high_s=high,
            share=0.0,
            macs=macs,
            macs_share=macs / self.macs,
            flops_per_s=None,
            bytes_moved=moved,
            bytes_per_s=None,
            arithmetic_intensity=intensity,
            bound=self._bound(intensity),
        )
        return self._timed(row, median(times))

    def _bound(self, intensity: float | None) -> str | None:
        """The ceiling that limits the rate at this arithmetic intensity (operations per byte)."""
        if self.ceiling is None or intensity is None:
            return None
        return "memory" if intensity < self.ceiling.flops_per_s / self.ceiling.bytes_per_s else "compute"

    @staticmethod
    def _timed(row: LayerTime, time_s: float) -> LayerTime:
        """The row with its time and the rates that follow from it."""
        return replace(
            row,
            time_s=time_s,
            ci_low_s=min(row.ci_low_s, time_s),
            ci_high_s=max(row.ci_high_s, time_s),
            flops_per_s=2 * row.macs / time_s if time_s and row.macs else None,
            bytes_per_s=row.bytes_moved / time_s if time_s else None,
        )
