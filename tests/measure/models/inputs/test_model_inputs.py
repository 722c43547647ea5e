"""Inputs of a forward: values, batch sizes, arguments, and every kind of network through tree, FLOPs and benchmark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import workload_cost
from resnet_cli.measure.cost.flops import count_flops
from resnet_cli.measure.cost.summary import summarize
from resnet_cli.measure.models.inputs.fitting import called_with_image, fitted
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs, given, images
from resnet_cli.measure.models.inputs.specs import TensorSpec, parse_arguments
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.tracing.tensors import tensors_in
from resnet_cli.results.common import InputTensor
from tests.helpers.real_figures import real_figures

CPU = torch.device("cpu")


def described(*texts: str) -> ModelInputs:
    return ModelInputs(*parse_arguments(texts))


class Forward(nn.Module):
    """A few layers and a forward that a test gives."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__()
        self.conv, self.audio, self.video = nn.Conv2d(3, 4, 3), nn.Conv1d(2, 4, 3), nn.Conv3d(1, 4, 2)
        self.words, self.places, self.linear = nn.Embedding(50, 4), nn.Embedding(7, 4), nn.Linear(4, 5)
        self.call = forward


class Two(Forward):
    def __init__(self) -> None:
        super().__init__(lambda x: x)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return cast(Tensor, self.linear((self.conv(x) * mask[:, None]).mean((2, 3))))


class Tokens(Forward):
    def __init__(self) -> None:
        super().__init__(lambda x: x)

    def forward(self, ids: Tensor) -> Tensor:
        if ids.max().item() >= 7:  # reads values, so the pass is a real one
            raise IndexError("no such place")
        return cast(Tensor, self.linear((self.words(ids) + self.places(ids)).mean(1)))


class Waves(Forward):
    def __init__(self) -> None:
        super().__init__(lambda x: x)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.linear(self.audio(x).mean(2)))


class Films(Forward):
    def __init__(self) -> None:
        super().__init__(lambda x: x)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.linear(self.video(x).mean((2, 3, 4))))


class Pixels(Forward):
    def __init__(self) -> None:
        super().__init__(lambda x: x)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.uint8:
            raise TypeError("bytes, please")
        return cast(Tensor, self.linear(self.conv(x.float() / 255).mean((2, 3))))


class Dictionary(Forward):
    def __init__(self) -> None:
        super().__init__(lambda x: x)

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        y = self.conv(batch["image"]).mean((2, 3)) * batch["weights"][0]
        return {"out": [self.linear(y)]}


class Vectors(Forward):
    def __init__(self) -> None:
        super().__init__(lambda x: x)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.linear(x))


CASES: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "an image and a mask": (Two, ("x=float32[2,3,6,6]", "mask=bool[2,4,4]")),
    "by position": (Two, ("float32[2,3,6,6]", "bool[2,4,4]")),
    "tokens": (Tokens, ("int64[2,9]",)),
    "a signal": (Waves, ("float32[2,2,12]",)),
    "a video": (Films, ("float32[2,1,3,4,5]",)),
    "bytes": (Pixels, ("uint8[2,3,6,6]",)),
    "a dictionary": (Dictionary, ("batch.image=float32[2,3,6,6]", "batch.weights.0=float32[2,4]")),
    "vectors": (Vectors, ("float[2,4]",)),
}


@pytest.mark.parametrize("case", CASES)
def test_macs_of_any_input_are_those_of_torch_on_real_tensors(case: str) -> None:
    network, texts = CASES[case]
    inputs = described(*texts)
    model = network()
    arguments = fitted(inputs, model).random(0, torch.float32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        arguments.call(model)
    expected = counter.get_total_flops() // 2
    subject = ModelUnderTest(model, "net")
    summary = summarize(subject, inputs=inputs, dtype=torch.float32, device=CPU)
    flops = count_flops(subject, inputs=inputs, dtype=torch.float32, device=CPU, backward=True)
    assert summary.macs == flops.macs == expected > 0
    assert summary.memory.saved_for_backward_bytes is not None
    assert summary.memory.input_bytes == summary.input.bytes == arguments.nbytes
    assert [row.shape for row in summary.input.tensors] == [tuple(leaf.shape) for leaf in inputs.tensors.values()]
    assert next(row for row in flops.conventions if row.key == "torch").measured == 2 * expected
    if not arguments.kwargs:
        real = real_figures(network, *arguments.args)
        assert summary.memory.saved_for_backward_bytes == real.saved
        assert summary.memory.inference_peak_bytes == real.inference_peak
        assert flops.backward_macs == real.backward_macs
    assert "no-fvcore" not in {note.key for note in flops.notes} or case == "a dictionary"


@pytest.mark.parametrize("mode", ["inference", "train"])
@pytest.mark.parametrize("case", CASES)
def test_any_input_is_timed_at_any_batch_size(case: str, mode: str) -> None:
    network, texts = CASES[case]
    work = Workload(network(), inputs=described(*texts), device=CPU, mode=mode)
    assert all(len(tensor) == 5 for tensor in _tensors(work.input(5)))
    with work.running():
        work.call(5)()
    cost = workload_cost(ModelUnderTest(network(), "net"), described(*texts), torch.float32, mode)
    assert cost.flops_at(2)
    assert cost.flops_at(4) == 2 * (cost.flops_at(2) or 0)


def _tensors(arguments: Any) -> list[Tensor]:
    from resnet_cli.measure.tracing.tensors import tensors_in

    return tensors_in(arguments)


def test_integers_are_indices_of_every_embedding_and_bytes_are_pixels() -> None:
    for text, model, limit in (
        ("int64[300]", Tokens(), 7),
        ("int64[300]<3", Tokens(), 3),
        ("int32[300]", nn.Linear(2, 2), 2),
        ("uint8[3000]", nn.Linear(2, 2), 256),
    ):
        inputs = described(text)
        values = fitted(ModelInputs(inputs.args), model).random(0, torch.float32).args[0]
        assert sorted(set(values.tolist())) == list(range(limit))
    mask = described("bool[50]").random(1, torch.float32).args[0]
    assert set(mask.tolist()) == {True, False}


def test_values_are_the_same_for_a_seed_and_follow_the_dtype_of_the_weights() -> None:
    inputs = described("float[2,3]", "float64[2,3]", "complex64[2]")
    first, again = inputs.random(3, torch.bfloat16), inputs.random(3, torch.bfloat16)
    assert [tensor.dtype for tensor in first.args] == [torch.bfloat16, torch.float64, torch.complex64]
    assert all(torch.equal(a, b) for a, b in zip(first.args, again.args, strict=True))
    assert not torch.equal(first.args[0], inputs.random(4, torch.bfloat16).args[0])
    assert [tensor.dtype for tensor in inputs.on_meta(torch.float16).args][:2] == [torch.float16, torch.float64]


@pytest.mark.parametrize(
    ("texts", "batch", "shapes"),
    [
        (("float32[1,3,8,8]",), 1, [(4, 3, 8, 8)]),
        (("float32[2,3,8,8]", "bool[2]", "float32[3]", "int64[]"), 2, [(4, 3, 8, 8), (4,), (3,), ()]),
        (("float32[2,5]", "float32[1,2,5]"), None, [(2, 5), (1, 2, 5)]),  # a state of a recurrent network
        (("float32[16]",), None, [(16,)]),
    ],
)
def test_the_batch_axis_is_the_first_of_all_tensors(
    texts: tuple[str, ...], batch: int | None, shapes: list[Any]
) -> None:
    inputs = described(*texts)
    assert inputs.batch_size == batch
    assert [leaf.shape for leaf in inputs.at_batch(4).tensors.values()] == shapes


def test_given_values_are_kept_and_repeated() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    inputs = given((x, "plain", None), "file.pt")
    assert inputs.random(0, torch.float16).args[0] is not None
    assert torch.equal(inputs.random(0, torch.float16).args[0], x)
    assert torch.equal(inputs.at_batch(5).random(0, torch.float32).args[0], x[[0, 1, 0, 1, 0]])
    assert inputs.args[1:] == ("plain", None)


@dataclass(frozen=True)
class Batch:
    image: Tensor
    sizes: tuple[Tensor, ...]


def test_tensors_are_found_in_objects_and_described_by_name() -> None:
    batch = Batch(torch.zeros(2, 3), (torch.zeros(2, dtype=torch.int64),))
    inputs = given((batch, [torch.ones(2, 1)]), "example_inputs")
    assert inputs.describe(torch.float32).tensors == (
        InputTensor("0.image", (2, 3), "float32", 24),
        InputTensor("0.sizes.0", (2,), "int64", 16),
        InputTensor("1.0", (2, 1), "float32", 8),
    )
    built = inputs.on_meta(torch.float32).args[0]
    assert isinstance(built, Batch)
    assert built.image.is_meta
    assert [note.key for note in inputs.notes] == ["example-inputs"]
    with pytest.raises(ResnetCliError, match="no tensor"):
        given(None, "example_inputs")


def test_a_dictionary_of_arguments_is_unpacked_and_any_other_is_one_argument() -> None:
    x, mask = torch.zeros(2, 3, 6, 6), torch.ones(2, 4, 4)
    assert fitted(given({"x": x, "mask": mask}, "f"), Two()).kwargs.keys() == {"x", "mask"}
    kept = fitted(given({"image": x, "weights": [mask]}, "f"), Dictionary())
    assert (len(kept.args), list(kept.tensors)) == (1, ["batch.image", "batch.weights.0"])


@pytest.mark.parametrize(
    ("texts", "hint"),
    [
        (("float32[1,3,6,6]",), "example_inputs"),
        (("x=float32[1,3,6,6]", "maks=bool[1,4,4]"), "did you mean mask?"),
        (("bool[1]", "bool[1]", "bool[1]"), "it was given x 1, mask 1, 2 1"),
    ],
)
def test_arguments_that_the_forward_does_not_take_are_one_error(texts: tuple[str, ...], hint: str) -> None:
    with pytest.raises(ResnetCliError, match=r"forward\(x, mask\) of Two does not take") as raised:
        fitted(described(*texts), Two())
    assert hint in (raised.value.hint or "")


def test_a_network_without_a_forward_is_named() -> None:
    class Nothing(nn.Module): ...

    with pytest.raises(ResnetCliError, match="Nothing has no forward"):
        fitted(images((1, 3, 4, 4)), Nothing())


def test_without_a_batch_axis_there_is_no_largest_batch() -> None:
    subject = ModelUnderTest(nn.Linear(16, 2), "net")
    memory = summarize(subject, inputs=described("float32[16]"), dtype=torch.float32, device=CPU).memory
    assert (memory.largest_batch_inference, memory.largest_batch_training) == (None, None)
    cost = workload_cost(subject, described("float32[16]"), torch.float32, "inference")
    assert cost.flops_at(1) == cost.flops_at(9) == 2 * 32


def test_an_image_is_found_among_the_inputs_and_the_others_are_added_to_it() -> None:
    model = Two()
    inputs = described("x=float32[1,3,6,6]", "mask=bool[1,4,4]")
    image = torch.randn(3, 3, 6, 6, requires_grad=True)
    with called_with_image(model, inputs, seed=1):
        output = model(image)
        assert torch.equal(output, model(image))  # the same mask
        output.sum().backward()
        assert model.double()(image.double()).dtype == torch.float64
        assert model.float().to("meta")(image.to("meta")).shape == (3, 5)
    assert image.grad is not None
    assert not model._forward_pre_hooks
    with pytest.raises(ResnetCliError, match="none of the inputs is one"):
        described("int64[1,4]").image_only()
    with pytest.raises(ResnetCliError, match="2 of the inputs"):
        described("float32[1,3,4,4]", "float32[1,3,4,4]").image_only()
    assert described("y=float32[1,3,4,4]", "bool[2]").image_only().args == (TensorSpec((1, 3, 4, 4), "float32"),)


def test_values_are_on_the_cpu_whatever_the_users_default_device_is() -> None:
    texts = ["float[2,3]", "int64[2]<5", "complex64[2]"]
    inputs = ModelInputs(*parse_arguments(texts))
    with torch.device("meta"):
        drawn, zeros = inputs.random(0, torch.float32), inputs.zeros(torch.float32)
        repeated = given(torch.ones(1, 2, device="cpu"), "x.pt").at_batch(3).random(0, torch.float32)
    for arguments in (drawn, zeros, repeated):
        assert {tensor.device.type for tensor in tensors_in(arguments)} == {"cpu"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.ones(0, 3), "the batch in x.pt is empty"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "there is a nested tensor in x.pt"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*nested tensors")
def test_values_that_cannot_be_measured_are_one_sentence(make: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(ResnetCliError, match=message):
        given({"x": make()}, "x.pt")


def test_an_empty_tensor_beside_others_is_no_empty_batch() -> None:
    assert given((torch.ones(1, 3), torch.ones(1, 0, 4)), "x.pt").batch_size == 1


def test_a_tensor_on_meta_is_a_description() -> None:
    inputs = given(torch.empty(2, 3, dtype=torch.int64, device="meta"), "x.pt")
    assert inputs.args == (TensorSpec((2, 3), "int64"),)


def test_packed_sequences_keep_the_sizes_of_their_batches() -> None:
    """MACs of a GRU by hand: so many steps in all, three gates of the input and of the state."""
    sequences = pack_padded_sequence(torch.randn(5, 2, 4), [5, 3])
    subject = ModelUnderTest(nn.GRU(4, 3), "gru")
    inputs = given((sequences,), "x.pt")
    assert inputs.batch_size is None
    assert summarize(subject, inputs=inputs, dtype=torch.float32, device=CPU).macs == 8 * (3 * 3 * 4 + 3 * 3 * 3)
    cost = workload_cost(subject, inputs, None, "train")
    assert cost.flops_at(2) is not None
    work = Workload(subject.model, inputs=inputs, device=CPU)
    with work.running():
        assert work.call(2)() is not None


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_sparse_inputs_stay_sparse_at_any_batch_size(layout: torch.layout) -> None:
    """MACs of the stored values only, as for sparse weights."""

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 5))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    values = torch.tensor([[1.0, 0, 2, 0], [0, 3, 0, 0]])
    inputs = given(values.to_sparse(layout=layout), "x.pt")
    four = inputs.at_batch(4).random(0, torch.float32).args[0]
    assert (four.layout, four.to_dense().tolist()) == (layout, [*values.tolist(), *values.tolist()])
    assert summarize(ModelUnderTest(Product(), "product"), inputs=inputs, dtype=None, device=CPU).macs == 3 * 5
