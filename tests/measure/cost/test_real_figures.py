"""Figures of `summary` beside those of the same network with real tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from resnet_cli.results.summary import SummaryResult
from tests.helpers.models import flops_of, rows, summary_of
from tests.helpers.real_figures import RealFigures, real_figures

SHAPE = (2, 3, 8, 8)


def figures_in(result: SummaryResult) -> RealFigures:
    """The figures of a summary by the names that `real_figures` gives them."""
    memory, root = result.memory, result.root
    return RealFigures(
        parameters=result.parameters,
        trainable=result.trainable_parameters,
        buffers=result.buffers,
        weight_bytes=memory.parameter_bytes + memory.buffer_bytes,
        gradient_bytes=memory.gradient_bytes,
        macs=result.macs,
        inference_peak=memory.inference_peak_bytes,
        saved=memory.saved_for_backward_bytes,
        training_macs=None,
        backward_macs=root.backward_macs,
        training_peak=memory.training_peak_bytes,
    )


def check(make: Callable[[], nn.Module], x: Tensor, **by_hand: int) -> SummaryResult:
    """Compare all figures; some may be given by hand instead."""
    result = summary_of(make(), tuple(x.shape))
    assert figures_in(result) == replace(real_figures(make, x), training_macs=None, **by_hand)
    return result


class Chain(nn.Module):
    """A network of one parameter (4, 3) for each image's mean, and a function."""

    def __init__(self, function: Callable[[Tensor], Tensor], weight: Tensor | None = None) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(4, 3) if weight is None else weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.function((self.weight * x.mean((2, 3))[:, None]).sum(2))


def identity(size: int) -> Tensor:
    """A sparse identity matrix."""
    return torch.sparse_coo_tensor(torch.arange(size).repeat(2, 1), torch.ones(size), (size, size))


def mixed_by(matrix: Tensor, x: Tensor) -> Tensor:
    product: Tensor = torch.sparse.mm(matrix, x.T)
    return product


class Graph(Chain):
    """Holds the edges of a graph as a sparse matrix: a buffer, or an attribute."""

    def __init__(self, *, as_buffer: bool) -> None:
        super().__init__(lambda x: mixed_by(self.edges, x))
        self.edges: Tensor
        if as_buffer:
            self.register_buffer("edges", identity(4))
        else:
            self.edges = identity(4)


class Tied(Chain):
    """Two parameters of one storage."""

    def __init__(self) -> None:
        super().__init__(lambda x: x @ self.other)
        self.other = nn.Parameter(torch.empty(0))
        self.other.data = self.weight.data


class Caching(Chain):
    """Keeps a table that its first call computes."""

    def __init__(self) -> None:
        super().__init__(lambda x: x * self.table)
        self.kept: Tensor | None = None

    @property
    def table(self) -> Tensor:
        if self.kept is None:
            self.kept = torch.ones(4, 500, device=self.weight.device).exp().mean(1)
        return self.kept


UNUSUAL: dict[str, Callable[[], nn.Module]] = {
    "cache": Caching,
    "complex output": lambda: Chain(lambda x: torch.complex(x, x)),
    "complex weight": lambda: Chain(lambda x: x, torch.ones(4, 3, dtype=torch.complex64)),
    "sparse matrix made in the forward": lambda: Chain(lambda x: mixed_by(identity(4), x)),
    "sparse buffer": lambda: Graph(as_buffer=True),
    "sparse attribute": lambda: Graph(as_buffer=False),
    "expanded weight": lambda: Chain(lambda x: x, torch.ones(1).expand(4, 3)),
    "two parameters of one storage": Tied,
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_tensors(case: str) -> None:
    # Torch counts no products with sparse matrices, or counts the zeros too: 4 values by 2 columns, here and back.
    by_hand = {"macs": 8, "backward_macs": 8} if "sparse" in case else {}
    check(UNUSUAL[case], torch.ones(SHAPE), **by_hand)


class Force(nn.Module):
    """The gradient of an energy, by one function of torch's or another."""

    def __init__(self, *, functional: bool) -> None:
        super().__init__()
        self.energy, self.functional = nn.Conv2d(3, 4, 3, padding=1), functional

    def forward(self, x: Tensor) -> Tensor:
        if self.functional:
            result: Tensor = torch.func.grad(lambda y: self.energy(y).square().sum())(x)
            return result
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = self.energy(x).square().sum()
            return torch.autograd.grad(energy, x, create_graph=self.training)[0]


def test_what_autograd_saves_is_known_where_torch_allows_no_hooks() -> None:
    """Saving may not be observed under `torch.func.grad`; the same gradient by `autograd.grad` saves the same."""
    results = [summary_of(Force(functional=functional), SHAPE) for functional in (True, False)]
    # The output of the convolution for its square, the gradient towards that output, and the gradient of the sum.
    saved = 2 * 4 * (2 * 4 * 8 * 8) + 4
    assert [result.memory.saved_for_backward_bytes for result in results] == [saved, saved]
    assert [result.root.saved_for_backward_bytes for result in results] == [saved, saved]
    assert not [note for result in results for note in result.notes]
    # Two gradients of the weight and one of the map between them; `autograd.grad` adds that of the image.
    products = 2 * 8 * 8 * 4 * 27
    assert [result.root.backward_macs for result in results] == [3 * products, 4 * products]


class TwoDtypes(nn.Module):
    """A convolution in one dtype, a head in another, and a cast of what each of them takes."""

    def __init__(self, body: torch.dtype, head: torch.dtype) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3, dtype=body), nn.Linear(4, 2, dtype=head)
        self.steps = nn.Parameter(torch.ones(4, dtype=torch.int8), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x.to(self.body.weight.dtype)).relu()
        out: Tensor = self.head((x * self.steps[:, None, None]).mean((2, 3)).to(self.head.weight.dtype))
        return out


@pytest.mark.parametrize("head", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("body", [torch.bfloat16, torch.float16, torch.float32])
def test_a_network_keeps_its_own_dtypes(body: torch.dtype, head: torch.dtype) -> None:
    result = check(lambda: TwoDtypes(body, head), torch.ones(SHAPE, dtype=body))
    assert result.input.dtype == str(body).removeprefix("torch.")
    assert not [note for note in result.notes if note.key == "converted-dtype"]
    assert flops_of(TwoDtypes(body, head), SHAPE).macs == result.macs


def test_a_dtype_that_is_asked_for_converts_all_but_complex_and_integer_weights() -> None:
    network = TwoDtypes(torch.bfloat16, torch.bfloat16)
    network.register_parameter("phases", nn.Parameter(torch.ones(2, dtype=torch.complex64)))
    result = summary_of(network, SHAPE, torch.float32)
    assert result.input.dtype == "float32"
    assert result.memory.parameter_bytes == 4 * (27 * 4 + 4 + 8 + 2) + 4 + 2 * 8
    (note,) = (note for note in result.notes if note.key == "converted-dtype")
    assert "weights are in bfloat16" in note.text


class Blocks(nn.Module):
    """A stem, blocks of two convolutions that may be run under activation checkpointing, and a classifier."""

    def __init__(self, run: Callable[[nn.Module, Tensor], Tensor], blocks: int = 3, *, shared: bool = False) -> None:
        super().__init__()
        self.run = run
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        layers = [
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
            for _ in range(blocks)
        ]
        self.blocks = nn.ModuleList(layers[:1] * blocks if shared else layers)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + self.run(block, x)
        out: Tensor = self.head(x.mean((2, 3)))
        return out


def nested(block: nn.Module, x: Tensor) -> Tensor:
    def inner(y: Tensor) -> Tensor:
        out: Tensor = checkpoint(block, y.sigmoid(), use_reentrant=False)
        return out

    result: Tensor = checkpoint(inner, x, use_reentrant=False)
    return result


WITH_CHECKPOINTS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "not reentrant": lambda block, x: checkpoint(block, x, use_reentrant=False),
    "reentrant": lambda block, x: checkpoint(block, x, use_reentrant=True),
    "sequential": lambda block, x: checkpoint_sequential(block, 2, x, use_reentrant=False),  # type: ignore[no-untyped-call]
    "with a function": lambda block, x: checkpoint(lambda y: block(y.sigmoid()) * y, x, use_reentrant=False),
    "nested": nested,
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # a reentrant one in eval mode
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("case", WITH_CHECKPOINTS)
def test_activation_checkpointing(case: str, shared: bool) -> None:
    result = check(lambda: Blocks(WITH_CHECKPOINTS[case], shared=shared), torch.ones(SHAPE))
    plain = summary_of(Blocks(lambda block, x: block(x), shared=shared), SHAPE)
    assert not [row.path for row in rows(result.root) if "train mode only" in row.layer_type]
    assert sum(row.backward_macs or 0 for row in rows(result.root) if not row.children) == result.root.backward_macs
    first, first_of_plain = ([row for row in rows(each.root) if row.path == "blocks.0.0"] for each in (result, plain))
    for row, of_plain in zip(first, first_of_plain, strict=True):
        assert (row.backward_macs or 0) == (of_plain.backward_macs or 0) + row.macs  # and runs once more


class Autocast(nn.Module):
    """Two convolutions in half precision, and a classifier in single precision."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.body(x)
        out: Tensor = self.head(x.float().mean((2, 3)))
        return out


class Recurrent(nn.Module):
    """A recurrent layer over the rows of an image, and a classifier of its last output."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.recurrent, self.head = kind(24, 4, batch_first=True), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.recurrent(x.transpose(1, 2).flatten(2))[0][:, -1])
        return out


UNLIKE_META: dict[str, Callable[[], nn.Module]] = {
    "autocast": Autocast,
    "GRU": lambda: Recurrent(nn.GRU),
    "RNN": lambda: Recurrent(nn.RNN),
}


@pytest.mark.parametrize("case", UNLIKE_META)
def test_what_meta_runs_otherwise_is_run_on_a_cpu(case: str) -> None:
    result = check(UNLIKE_META[case], torch.ones(SHAPE))
    assert [note.key for note in result.notes] == ["ran-with-real-tensors"]


def test_an_lstm_is_the_one_operator_that_a_cpu_runs() -> None:
    products, head = 2 * 8 * 4 * 4 * (24 + 4), 2 * 4 * 5  # torch's counter has no formula for it
    check(lambda: Recurrent(nn.LSTM), torch.ones(SHAPE), macs=products + head, backward_macs=2 * (products + head))


class InnerBackward(nn.Module):
    """A forward that takes a gradient itself, as meta-learning does, and goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            self.convolution(y).sum().backward()
        assert y.grad is not None
        out: Tensor = self.head(self.convolution(x + y.grad).mean((2, 3)))
        return out


def test_a_backward_within_the_forward_is_part_of_the_forward() -> None:
    result = check(InnerBackward, torch.ones(SHAPE))
    assert sum(row.macs for row in rows(result.root) if not row.children) == result.macs
