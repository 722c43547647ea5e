"""Rows of `flops`: calls of one operator together, the dearest first, every counter's figure at its own operator."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from torch import Tensor, nn

from resnet_cli.measure.cost.flops_tables import module_rows, op_rows
from resnet_cli.measure.tracing import tracer
from resnet_cli.measure.tracing.trace import Trace
from resnet_cli.results.flops import ModuleFlops, Operator
from tests.helpers.models import meta_copy, on_meta


class Head(nn.Module):
    """A head of train mode alone, with a module in it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 7, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.mean((2, 3))) @ self.inner[0].weight
        return out


class Net(nn.Module):
    """Two convolutions, an addition, and a head of train mode alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.lin, self.aux = nn.Linear(4, 5), Head()

    def forward(self, x: Tensor) -> Any:
        x = self.body(x)
        out = self.lin((x + x).mean((2, 3))).sort(1)[0]
        return (out, self.aux(x)) if self.training else out


def seven(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    return 7


def traced(*, training: bool = False, tally: tracer.FlopFormula | None = seven) -> Trace:
    return tracer.run(meta_copy(Net()), (on_meta(2, 3, 2, 2),), training=training, backward=training, tally=tally)


@cache
def step() -> Trace:
    return traced(training=True)


PIXELS = 2 * 4
# At the two convolutions, the linear layer, the addition, the means and the ReLU.
MACS = {"convolution": PIXELS * (12 + 16), "addmm": 2 * 20}
OPERATIONS = {
    "convolution": 2 * PIXELS * (12 + 16) + 2 * PIXELS * 4,
    "addmm": 2 * 2 * 20 + 2 * 5,
    "add": PIXELS * 4,
    "mean": PIXELS * 4,
    "relu": PIXELS * 4,
    "sort": 0,
}


def forward_rows(
    fvcore: dict[str, int] | None = None, tally: tracer.FlopFormula | None = seven
) -> tuple[Operator, ...]:
    return op_rows(traced(tally=tally).operators, [], fvcore)


def test_a_row_holds_all_calls_of_its_operator() -> None:
    found = {row.name: row for row in forward_rows()}
    assert {name: row.ops for name, row in found.items()} == OPERATIONS
    assert {name: row.macs for name, row in found.items() if row.macs} == MACS
    assert all(row.flops == 2 * row.macs for row in found.values())
    convolution = found["convolution"]
    assert (convolution.calls, convolution.elements, convolution.term) == (2, 2 * PIXELS * 4, "C")
    assert (convolution.torch_flops, found["relu"].torch_flops) == (14, 7)
    assert {name for name, row in found.items() if not row.counted} == {"sort"}
    assert {row.phase for row in found.values()} == {"forward"}
    assert all(row.torch_flops is None for row in forward_rows(tally=None))


def test_backward_rows_come_last_and_have_no_figure_of_fvcore() -> None:
    training = step()
    backward = [op for op in training.operators if op.backward]
    found = op_rows(traced().operators, backward, {})
    phases = [row.phase for row in found]
    assert phases == sorted(phases, reverse=True)
    assert set(phases) == {"forward", "backward"}
    last = [row for row in found if row.phase == "backward"]
    assert [row.macs for row in last] == sorted((row.macs for row in last), reverse=True)
    assert all(row.fvcore is None for row in last)
    assert all(row.fvcore == 0 for row in found if row.phase == "forward")


def test_figures_of_fvcore_stand_at_the_operators_that_it_means() -> None:
    theirs = {"conv": 3, "linear": 5, "adaptive_avg_pool2d": 7, "batch_norm": 11, "relu": 13, "odd": 17, "none": 0}
    found = {row.name: row for row in forward_rows(theirs)}
    assert {name: row.fvcore for name, row in found.items()} == {
        "convolution": 3,
        "addmm": 5,
        "mean": 7,
        "relu": 13,
        "add": 0,
        "sort": 0,
        "batch_norm": 11,  # it is in no forward of ours, so it keeps its own name
        "odd": 17,
    }
    odd = found["odd"]
    assert (odd.phase, odd.calls, odd.term, odd.counted) == ("forward", 0, None, True)
    assert (odd.elements, odd.macs, odd.flops, odd.ops, odd.torch_flops) == (0, 0, 0, 0, None)
    assert {row.fvcore for row in forward_rows(None)} == {None}


def flat(module: ModuleFlops) -> dict[str, ModuleFlops]:
    found = {module.path: module}
    for child in module.children:
        found |= flat(child)
    return found


def modules(training: Trace | None = None, fvcore: dict[str, int] | None = None) -> dict[str, ModuleFlops]:
    return flat(module_rows(traced().root, "net", fvcore, training))


def test_modules_hold_what_runs_inside_them() -> None:
    found = modules()
    assert list(found) == ["", "body", "body.0", "body.1", "body.2", "lin"]
    assert {path: row.macs for path, row in found.items()} == {
        "": sum(MACS.values()),
        "body": PIXELS * 28,
        "body.0": PIXELS * 12,
        "body.1": 0,
        "body.2": PIXELS * 16,
        "lin": 40,
    }
    assert all(row.flops == 2 * row.macs for row in found.values())
    assert found[""].ops == sum(OPERATIONS.values())
    assert found["body"].ops == OPERATIONS["convolution"] + OPERATIONS["relu"]
    # Seven each: three inside of body, one in lin, and an addition, a mean and a sum of the network's own.
    assert [found[path].torch_flops for path in ("", "body", "lin")] == [7 * 7, 3 * 7, 7]
    assert {path: (row.name, row.layer_type, row.depth) for path, row in found.items()} == {
        "": ("net", "Net", 0),
        "body": ("body", "Sequential", 1),
        "body.0": ("0", "Conv2d", 2),
        "body.1": ("1", "ReLU", 2),
        "body.2": ("2", "Conv2d", 2),
        "lin": ("lin", "Linear", 1),
    }
    assert {row.backward_macs for row in found.values()} == {None}


def test_figures_of_fvcore_stand_at_first_calls() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    model.append(model[0])
    root = tracer.run(meta_copy(model), (on_meta(2, 3, 2, 2),)).root
    found = module_rows(root, "net", {"": 10, "0": 4}, None)
    assert (found.fvcore, [child.fvcore for child in found.children]) == (10, [4, 0, None])
    assert {row.fvcore for row in modules().values()} == {None}


def test_work_backward_stands_at_the_modules_that_make_it() -> None:
    training = step()
    found = modules(training)
    assert list(found) == ["", "body", "body.0", "body.1", "body.2", "lin", "aux", "aux.inner", "aux.inner.0"]
    expected = {
        "body.0": PIXELS * 12,  # nothing goes towards the image
        "body.1": 0,
        "body.2": 2 * PIXELS * 16,
        "lin": 2 * 40,
        "aux.inner.0": 2 * 2 * 28,
        "aux.inner": 2 * 2 * 28,
        "aux": 2 * 2 * 2 * 28,  # it multiplies by that weight once more
        "body": PIXELS * (12 + 32),
    }
    expected[""] = expected["body"] + expected["lin"] + expected["aux"]
    assert {path: row.backward_macs for path, row in found.items()} == expected
    assert expected[""] == sum(op.counted.macs for op in training.operators if op.backward)


@pytest.mark.parametrize(
    ("path", "name", "kind", "depth"),
    [("aux", "aux", "Head", 1), ("aux.inner", "inner", "Sequential", 2), ("aux.inner.0", "0", "Linear", 3)],
)
def test_a_head_of_train_mode_costs_nothing_at_inference(path: str, name: str, kind: str, depth: int) -> None:
    row = modules(step(), {"": 3})[path]
    assert (row.name, row.layer_type, row.depth) == (name, f"{kind} (train mode only)", depth)
    assert (row.macs, row.flops, row.ops, row.torch_flops, row.fvcore) == (0, 0, 0, 0, None)
