"""Times of layers by the kernels that torch.profiler has seen: with the profiler itself, and with events of a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import profiler_util
from torch.profiler import ProfilerActivity

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.layers import layer_times as measuring
from resnet_cli.measure.bench.layers.layer_times import layer_times
from resnet_cli.measure.bench.layers.profiled_layers import Label, profile_forwards, seconds_by_site
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import layers
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.tracing.module_stack import CallSite
from resnet_cli.results.bench import LayerTimes
from tests.helpers.fake_clock import SimulatedBackend, SimulatedClock

CPU = torch.device("cpu")
TORCH: Any = profiler_util  # it has no annotations
WEIGHTS = {"aten::convolution": 1.0, "aten::relu": 10.0, "aten::add": 100.0}


class Block(nn.Module):
    """A residual block with one ReLU that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.nothing = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(torch.add(self.nothing(self.relu(self.conv(x))), x))  # type: ignore[no-any-return]


class Net(nn.Module):
    """Two blocks, and an operator of the network itself."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.blocks(x))


def test_each_operator_belongs_to_the_module_that_runs_it() -> None:
    """By the real profiler: operators of the CPU stand for kernels, each with a time by its name."""
    model, batch = Net(), torch.ones(1, 3, 4, 4)
    with torch.inference_mode():
        spent = profile_forwards(
            model, lambda: model(batch), 3, ProfilerActivity.CPU, lambda event: WEIGHTS.get(event.name, 0.0)
        )
    block = {
        ("", 1): 121.0,
        ("conv", 1): 1.0,
        ("relu", 1): 10.0,
        ("relu", 2): 10.0,
        ("nothing", 1): 0.0,
        (":own", 1): 100.0,
    }
    expected = {
        ("", 1): 2 * 121.0 + 10.0,
        (":own", 1): 10.0,
        ("blocks", 1): 2 * 121.0,
        **{
            (f"blocks.{number}{'' if not path or path[0] == ':' else '.'}{path}", call): seconds
            for number in range(2)
            for (path, call), seconds in block.items()
        },
    }
    assert [dict(times.whole) for times in spent] == [expected] * 3
    assert not any(sum(times.backward.values()) for times in spent)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_gradient_belongs_to_the_module_whose_operator_it_is_of() -> None:
    """By the real profiler, in two training steps: each gradient has a time by its name, and each operator too."""
    model, batch = Net(), torch.ones(1, 3, 4, 4)
    weights = {"ConvolutionBackward0": 1000.0, "ReluBackward0": 10_000.0, "AddBackward0": 100_000.0, **WEIGHTS}

    def step() -> None:
        model(batch).sum().backward()

    spent = profile_forwards(model, step, 2, ProfilerActivity.CPU, lambda event: weights.get(event.name, 0.0))
    for times in spent:
        block = {"conv": 1000.0, "relu": 10_000.0, ":own": 100_000.0}
        for number in range(2):
            for path, seconds in block.items():
                site = CallSite(f"blocks.{number}{path if path[0] == ':' else '.' + path}", 1)
                assert times.backward[site] == seconds, site
        assert times.backward[CallSite("blocks.1.relu", 2)] == 10_000.0
        assert times.backward[CallSite("blocks", 1)] == 2 * 121_000.0
        assert times.backward[CallSite("", 1)] == 2 * 121_000.0 + 10_000.0
        assert times.whole[CallSite("", 1)] - times.backward[CallSite("", 1)] == 2 * 121.0 + 10.0


def event(name: str, start: float, end: float, *kernels: tuple[str, float], is_range: bool = False) -> Any:
    """What torch.profiler makes of an operator, or of a range, and of the kernels that are linked to it."""
    made = TORCH.FunctionEvent(
        id=int(start), name=name, thread=1, start_us=start, end_us=end, is_user_annotation=is_range, use_device="cuda"
    )
    for kernel, microseconds in kernels:
        made.append_kernel(kernel, 0, microseconds)
    return made


def tree(*events: Any) -> Any:
    """Events in the tree of operators that torch makes."""
    ordered = TORCH.EventList(list(events), use_device="cuda")
    ordered._build_tree()
    return ordered


def test_kernels_of_a_gpu_count_where_they_were_launched_and_not_when_they_ran() -> None:
    """Also those of operators within operators, and not the ranges that the profiler lists among the kernels."""
    labels = [
        Label(0, CallSite("", 1), True),
        Label(0, CallSite("conv", 1), False),
        Label(0, CallSite("block", 1), True),
        Label(1, CallSite("", 1), True),
    ]
    name = "resnet_cli.module {}".format
    events = tree(
        event(name(0), 0, 100, (name(0), 5000.0), is_range=True),
        event(name(1), 10, 40, (name(1), 4000.0), is_range=True),
        event("aten::conv2d", 11, 39),
        event("aten::cudnn_convolution", 12, 30, ("implicit_gemm", 300.0), ("reduce", 20.0)),
        event("aten::add_", 31, 38, ("elementwise", 7.0)),
        event(name(2), 50, 80, (name(2), 90.0), ("triton_kernel", 2.0), is_range=True),  # launched by no operator
        event("aten::relu", 60, 70, ("elementwise", 11.0)),
        event("aten::copy_", 200, 210, ("memcpy", 1000.0)),  # in no module
        event(name(3), 300, 400, (name(3), 5000.0), is_range=True),
        event("aten::relu", 310, 320, ("elementwise", 13.0)),
    )
    first, second = seconds_by_site(events, labels, 2)
    in_microseconds = {site: round(1e6 * seconds, 6) for site, seconds in first.whole.items()}
    assert in_microseconds == {
        ("", 1): 340.0,
        ("conv", 1): 327.0,
        ("block", 1): 13.0,
        ("block:own", 1): 13.0,
    }
    assert second.whole == {("", 1): pytest.approx(13e-6), (":own", 1): pytest.approx(13e-6)}


def test_kernels_of_a_backward_pass_in_a_thread_of_its_own() -> None:
    labels = [Label(0, CallSite("conv", 1), False), Label(0, CallSite("norm", 1), False)]
    name = "resnet_cli.module {}".format
    operators = [
        event(name(0), 0, 20, is_range=True),
        event("aten::conv2d", 1, 19, ("implicit_gemm", 300.0)),
        event(name(1), 20, 50, is_range=True),
        event("aten::add_", 21, 24, ("elementwise", 1.0)),  # counts batches, and makes no gradient
        event("aten::batch_norm", 25, 49, ("batch_norm", 40.0)),
        event("autograd::engine::evaluate_function: CudnnBatchNormBackward0", 100, 120),
        event("aten::cudnn_batch_norm_backward", 105, 115, ("batch_norm_backward", 80.0)),
        event("autograd::engine::evaluate_function: ConvolutionBackward0", 120, 150),
        event("aten::convolution_backward", 125, 145, ("dgrad", 500.0), ("wgrad", 600.0)),
        event("autograd::engine::evaluate_function: torch::autograd::AccumulateGrad", 150, 160, ("elementwise", 9.0)),
    ]
    for place, number in ((1, 7), (3, 8), (4, 8), (5, 8), (7, 7)):
        operators[place].sequence_nr = number
    for place in range(5, 10):
        operators[place].thread, operators[place].fwd_thread = 2, 1
    (spent,) = seconds_by_site(tree(*operators), labels, 1)
    in_microseconds = [{site[0]: round(1e6 * seconds, 3) for site, seconds in times.items()} for times in spent]
    assert in_microseconds == [{"conv": 1400.0, "norm": 121.0}, {"conv": 1100.0, "norm": 80.0}]


class Accelerator(SimulatedBackend):
    """A device in virtual time that the profiler may see."""

    def __init__(self, activity: ProfilerActivity | None, clock: SimulatedClock) -> None:
        super().__init__(clock)
        self.activity = activity

    def profiler_activity(self) -> ProfilerActivity | None:
        return self.activity


def measured(activity: ProfilerActivity | None, seconds: Any, monkeypatch: pytest.MonkeyPatch) -> LayerTimes:
    """Times of layers on an accelerator that computes 3 ms of each forward; `seconds` of an event."""
    clock = SimulatedClock()
    model = Net()
    model.register_forward_pre_hook(lambda *_: clock.run(3e-3, 1e-3))
    monkeypatch.setattr(
        measuring,
        "profile_forwards",
        lambda model, call, forwards, kind, _: profile_forwards(model, call, forwards, kind, seconds),
    )  # a CPU has no kernels
    root = layers(ModelUnderTest(Net(), "net"), images((1, 3, 4, 4)), torch.float32)
    return layer_times(
        Workload(model, inputs=images((3, 4, 4)), device=CPU),
        1,
        root,
        backend=Accelerator(activity, clock),
        limits=Limits(max_time_s=1.0, min_time_s=0.0),
        progress=lambda text: None,
    )


def test_an_accelerator_s_layers_have_the_times_of_their_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    times = measured(ProfilerActivity.CPU, lambda event: WEIGHTS.get(event.name, 0.0), monkeypatch)
    assert times.method == "kernels"
    assert times.forward_s == pytest.approx(3e-3)
    assert (times.instrumented_s, times.other_s) == (252.0, 0.0)
    assert {row.path: row.time_s for row in times.layers if row.is_leaf} == {
        **{f"blocks.{number}.conv": 1.0 for number in range(2)},
        **{f"blocks.{number}.relu": 10.0 for number in range(2)},
        **{f"blocks.{number}.nothing": 0.0 for number in range(2)},
        **{f"blocks.{number}:add": 100.0 for number in range(2)},
        ":relu": 10.0,
    }
    assert (times.forwards, times.stopped) == (20, "converged")


@pytest.mark.parametrize(
    ("activity", "error"), [(None, "sees no kernels of cpu here"), (ProfilerActivity.CPU, "saw no kernels")]
)
def test_without_kernels_layers_are_not_timed(
    activity: ProfilerActivity | None, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResnetCliError, match=error):
        measured(activity, lambda event: 0.0, monkeypatch)


def test_layers_of_a_training_step_on_the_processor() -> None:
    root = layers(ModelUnderTest(Net(), "net"), images((2, 3, 8, 8)), torch.float32)
    work = Workload(Net(), inputs=images((3, 8, 8)), device=CPU, mode="train")
    limits = Limits(max_time_s=0.2, min_time_s=0.0, ci_width=0.5)
    backend = SimulatedBackend(SimulatedClock(queued=False, read_s=1e-3), queued=False)
    times = layer_times(work, 2, root, backend=backend, limits=limits, progress=lambda text: None)
    assert times.method == "operators"
    leaves = [row for row in times.layers if row.is_leaf]
    assert sum(row.time_s for row in leaves) + times.other_s == pytest.approx(times.instrumented_s)
    for row in times.layers:
        assert row.backward_s is not None
        assert 0 <= row.backward_s <= row.time_s
        assert (row.flops_per_s, row.bytes_per_s, row.arithmetic_intensity, row.bound) == (None,) * 4
    assert {row.path for row in leaves if row.backward_s} >= {"blocks.0.conv", "blocks.1.conv", "blocks.0.relu"}
