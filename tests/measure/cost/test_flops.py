"""Counts against torch's own counter, conventions against the tools and published figures, walks against sums."""

import itertools
import sys
from typing import Any

import pytest
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.cost import conventions, other_counters
from resnet_cli.measure.models import torchvision_figures as published
from resnet_cli.measure.models.torchvision_figures import UnpublishedError, torchvision_figures
from resnet_cli.network.architectures import ARCHITECTURES, resolve
from resnet_cli.results.flops import FlopsResult, ModuleFlops
from tests.helpers.models import (
    DEPTHS,
    MEMBERS,
    SAMPLE,
    flops_of,
    flops_of_member,
    torchvision_forward,
    torchvision_models,
)

# What each tool said when it was run on torchvision's networks at 1x3x224x224 (torch 2.15, torchvision 0.29.2).
SEEN: dict[str, tuple[int, ...]] = {
    "torch": (3_628_146_688, 8_178_368_512),
    "deepspeed-macs": (1_814_073_344, 4_089_184_256),
    "deepspeed": (3_636_250_112, 8_211_108_352),
    "ptflops-aten": (1_814_074_344, 4_089_185_256),
    "torchinfo": (1_814_083_944, 4_089_238_376),
    "fvcore": (1_819_065_856, 4_111_512_576),
    "fvcore-train": (1_826_516_992, 4_144_854_528),
    "thop": (1_824_033_792, 4_133_742_592),
    "ptflops": (1_825_313_768, 4_132_436_968),
}
# Forward and backward by FlopCounterMode.
SEEN_BOTH_WAYS = (10_648_412_160, 24_299_077_632)


@pytest.mark.parametrize("name", SAMPLE)
def test_totals_are_those_of_torchs_counter(name: str) -> None:
    assert flops_of_member(name).flops == torchvision_forward(name)[0]


@pytest.mark.parametrize(("index", "name"), list(enumerate(DEPTHS)))
def test_every_convention_gives_what_its_tool_said(index: int, name: str) -> None:
    result = flops_of_member(name)
    predicted = {row.key: row.predicted for row in result.conventions}
    for key, figures in SEEN.items():
        assert predicted[key] == figures[index], key
    assert result.backward_flops is not None
    assert result.flops + result.backward_flops == SEEN_BOTH_WAYS[index]


@pytest.mark.parametrize("name", SAMPLE)
def test_tools_that_run_here_agree_to_the_unit(name: str) -> None:
    verdicts = {row.key: row.verdict for row in flops_of_member(name).conventions}
    for key in ("resnet-cli", "resnet-cli-ops", "torch", "torchinfo", "fvcore"):
        assert verdicts[key] == "exact", key
    assert verdicts["torchvision"] == "rounded"
    if name in conventions.PUBLISHED_IN_PAPERS:
        assert verdicts["paper"] == "rounded"


def test_columns_add_up() -> None:
    result = flops_of_member("resnet50")
    forward = [row for row in result.operators if row.phase == "forward"]
    fvcore = {row.key: row.measured for row in result.conventions}["fvcore"]
    assert sum(row.macs for row in forward) == result.macs == result.root.macs
    assert sum(row.ops for row in forward) == result.ops == result.root.ops
    assert sum(row.fvcore or 0 for row in forward) == fvcore == result.root.fvcore
    assert sum(row.macs for row in result.operators if row.phase == "backward") == result.backward_macs
    assert_adds_up(result.root)


def assert_adds_up(module: ModuleFlops) -> None:
    for child in module.children:
        assert_adds_up(child)
    if module.children:
        assert module.macs == sum(child.macs for child in module.children)
        assert module.torch_flops == sum(child.torch_flops or 0 for child in module.children)
        assert module.backward_macs == sum(child.backward_macs or 0 for child in module.children)


def test_any_two_figures_are_joined_by_a_walk_that_adds_up() -> None:
    result = flops_of_member("resnet50")
    for start, end in itertools.permutations(result.conventions, 2):
        walk = conventions.reconcile(start, end, result.terms, {})
        assert walk.start_value + sum(step.difference for step in walk.steps) == walk.end_value
        assert all(step.symbol != conventions.UNEXPLAINED for step in walk.steps), (start.key, end.key)


def test_the_papers_resnet50_strides_in_the_1x1() -> None:
    paper = {row.key: row for row in flops_of_member("resnet50").conventions}["paper"]
    assert paper.predicted == 3_857_973_248  # the same network with its stride moved, by FlopCounterMode / 2
    assert paper.measured == 3_800_000_000  # He et al. 2015, table 1


def of(*arguments: Any, **options: Any) -> FlopsResult:
    return flops_of(resolve(*arguments, **options), (1, 3, 64, 64))


@pytest.mark.parametrize("tool", ["torchinfo", "fvcore"])
def test_a_witness_that_is_missing_costs_only_its_own_figure(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, tool, None)
    monkeypatch.setitem(sys.modules, f"{tool}.nn", None)
    result = of(18, None)
    row = {row.key: row for row in result.conventions}[tool]
    assert (row.verdict, row.measured) == ("unavailable", None)
    assert any(tool in note.text for note in result.notes)
    assert result.macs > 0


def test_fvcore_is_not_run_where_a_real_forward_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_counters, "_FVCORE_MACS", 1)
    row = {row.key: row for row in of(18, None).conventions}["fvcore"]
    assert row.verdict == "unavailable"
    assert "too large" in (row.note or "")


def test_publications_do_not_speak_of_changed_networks() -> None:
    for spec in (
        resolve(18, None, num_classes=10),
        resolve(18, None, repeat="2,2,2,3"),
        resolve(18, None, stem="cifar"),
    ):
        rows = {row.key: row for row in flops_of(spec, (1, 3, 32, 32)).conventions}
        assert rows["torchvision"].verdict == rows["paper"].verdict == "unavailable"


def test_the_batch_multiplies_every_count() -> None:
    one, four = flops_of(resolve(18, None), (1, 3, 64, 64)), flops_of(resolve(18, None), (4, 3, 64, 64))
    for once, times in zip(one.conventions, four.conventions, strict=True):
        assert 4 * (once.predicted or 0) == times.predicted, once.key
        if once.measured is not None:
            assert 4 * once.measured == times.measured, once.key


CONV = nn.Conv2d(3, 4, 8)


class Cut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).detach()


@pytest.mark.parametrize(
    ("network", "hint"),
    [
        (nn.Sequential(CONV, nn.BatchNorm2d(4)), "use a larger `batch_size` or `image_size`"),
        (nn.Sequential(CONV, nn.InstanceNorm2d(4, track_running_stats=True)), "use a larger `image_size`"),
        (nn.Sequential(CONV, Cut()), None),
    ],
)
def test_what_cannot_be_trained_has_no_backward_pass(network: nn.Module, hint: str | None) -> None:
    with pytest.raises(ResnetCliError, match="cannot be trained") as caught:
        flops_of(network, (1, 3, 8, 8), backward=True)
    assert caught.value.hint == hint


@pytest.mark.parametrize("text", ["", "fvcore", "fvcore:", ":torch", "fvcore:nobody", "a:b:c"])
def test_a_walk_needs_two_known_ends(text: str) -> None:
    with pytest.raises(ResnetCliError, match="is not a"):
        conventions.parse_reconciliation(text)


@pytest.mark.parametrize("name", MEMBERS)
def test_figures_read_from_the_source_are_torchvisions(name: str) -> None:
    meta = torchvision_models().get_model_weights(name).DEFAULT.meta
    figures = torchvision_figures(name)
    assert (figures.num_params, figures.giga_macs) == (meta["num_params"], meta["_ops"])


def test_without_torchvision_its_column_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    published._read.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnpublishedError, match="not installed"):
        torchvision_figures("resnet18")
    row = {row.key: row for row in flops_of(ARCHITECTURES["resnet18"], (1, 3, 224, 224)).conventions}["torchvision"]
    assert (row.verdict, row.note) == ("unavailable", "torchvision is not installed")
