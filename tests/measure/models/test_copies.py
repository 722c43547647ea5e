"""Copies to experiment with: what they share with the network, and what they do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.models.copies import cpu_copy, lazy_names, meta_copy
from tests.helpers.models import summary_of


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    model[2].weight.requires_grad_(False)
    model[1].eval()
    return model


def test_a_real_copy_of_a_real_network_has_its_values_and_is_its_own() -> None:
    model = network()
    copy = cpu_copy(model)
    for key, value in copy.state_dict().items():
        assert torch.equal(value, model.state_dict()[key])
        assert value.data_ptr() != model.state_dict()[key].data_ptr()
    assert [module.training for module in copy.modules()] == [module.training for module in model.modules()]


def test_a_real_copy_of_a_hollow_network_has_small_values_the_same_ones_every_time() -> None:
    model = network().to("meta")
    one, other = cpu_copy(model), cpu_copy(model)
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
        assert (value.dtype, value.shape) == (model.state_dict()[key].dtype, model.state_dict()[key].shape)
        assert value.device.type == "cpu"
    drawn = torch.cat([value.flatten() for value in one.state_dict().values() if value.is_floating_point()])
    assert 0 <= float(drawn.min()) < float(drawn.max()) < 0.1  # a variance is never negative, and nothing overflows
    # Half of a normal distribution has a mean of sqrt(2 / pi) standard deviations.
    assert float(drawn.mean()) == pytest.approx(0.01 * (2 / torch.pi) ** 0.5, rel=0.3)
    assert int(one.state_dict()["1.num_batches_tracked"]) == 0
    assert [p.requires_grad for p in one.parameters()] == [p.requires_grad for p in model.parameters()]
    assert {id(p) for p in one.parameters()}.isdisjoint(id(p) for p in model.parameters())


def test_only_what_is_hollow_is_filled() -> None:
    model = network()
    model[0].to("meta")
    copy = cpu_copy(model)
    assert torch.equal(copy.state_dict()["2.weight"], model.state_dict()["2.weight"])
    assert copy.state_dict()["0.weight"].shape == (4, 3, 1, 1)


def test_a_network_that_can_be_built_anew_is() -> None:
    built = nn.Sequential(nn.Linear(2, 2))
    assert cpu_copy(nn.Sequential(nn.Linear(2, 2)).to("meta"), lambda: built, torch.float64) is built
    assert built[0].weight.dtype == torch.float64
    model = network()
    assert cpu_copy(model, lambda: built) is not built  # it has what there is
    model[0].to("meta")
    assert cpu_copy(model, lambda: built) is built


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_copy_takes_a_dtype_for_its_fractions(dtype: torch.dtype) -> None:
    for copy in (cpu_copy(network(), None, dtype), meta_copy(network(), dtype)):
        found = {key: value.dtype for key, value in copy.state_dict().items()}
        assert found.pop("1.num_batches_tracked") == torch.int64
        assert set(found.values()) == {dtype}


def lazy() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.LazyConv2d(5, 3), nn.LazyBatchNorm2d())


def test_lazy_modules_stay_lazy() -> None:
    names = ["1.weight", "1.bias", "2.weight", "2.bias", "2.running_mean", "2.running_var"]
    assert lazy_names(lazy()) == names
    assert lazy_names(network()) == []
    for copy in (meta_copy(lazy()), cpu_copy(lazy())):
        assert lazy_names(copy) == names
    hollow = meta_copy(lazy(), torch.float64)
    assert {tensor.dtype for tensor in (*hollow.parameters(), *hollow.buffers())} == {torch.float64, torch.int64}
    assert {tensor.device.type for tensor in (*hollow.parameters(), *hollow.buffers())} == {"meta"}
    assert {tensor.dtype for tensor in cpu_copy(lazy().double()).buffers()} == {torch.float64, torch.int64}
    frozen = lazy()
    frozen[1].weight.requires_grad = False
    assert [p.requires_grad for p in meta_copy(frozen).parameters()] == [p.requires_grad for p in frozen.parameters()]


class Reading(nn.Module):
    """A forward that looks at values, which tensors on `meta` have none of."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.abs().sum().item() > 0 else x


def test_a_lazy_network_that_needs_values_is_measured_too() -> None:
    result = summary_of(nn.Sequential(*lazy(), Reading()), (2, 3, 8, 8))
    assert result.parameters == (12 + 4) + (4 * 5 * 9 + 5) + 2 * 5
    assert result.macs == 2 * (64 * 12 + 36 * 180)


class Streaming(nn.Module):
    """A generator goes on where it is, so it has no copy."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = iter(row for row in ((1, 2), (3, 4)))


def test_what_cannot_be_copied_is_named() -> None:
    with pytest.raises(TypeError, match="Streaming cannot be copied: "):
        cpu_copy(Streaming())
