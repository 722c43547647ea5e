"""Other counters on a network whose figures are worked out by hand, and what is said where they fail."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.cost import other_counters
from resnet_cli.measure.models.inputs.model_inputs import images
from tests.helpers.models import on_meta

# A 3×3 over 8×8 pixels gives 6×6: 36 x 4 x 27 multiplications; the linear layer behind the mean has 4 x 5.
CONV, LINEAR = 36 * 4 * 27, 4 * 5


class Chatty(nn.Module):
    """Prints, warns and logs in its forward, and fails where it is told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, bias=False), nn.Linear(4, 5)
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros(2, dtype=torch.int64))
        self.failure = failure

    def forward(self, x: Tensor) -> Tensor:
        print("on standard output")
        print("on standard error", file=sys.stderr)
        warnings.warn("a warning", stacklevel=1)
        logging.getLogger("fvcore").critical("logged")
        if self.failure is not None:
            raise self.failure
        out: Tensor = self.fc(self.conv(x).mean((2, 3)))
        return out


def fvcore(model: nn.Module, batch: int = 1, **options: Any) -> other_counters.FvcoreReport:
    given = {"macs": batch * (CONV + LINEAR), "bytes_alive": 1000, **options}
    return other_counters.fvcore(model.to("meta"), images((batch, 3, 8, 8)), **given)


def test_torchinfo_says_parameters_products_and_layers() -> None:
    report = other_counters.torchinfo(Chatty().to("meta"), images((2, 3, 8, 8)).on_meta(torch.float32))
    assert report.failure is None
    assert report.version == other_counters.version("torchinfo")
    assert report.parameters == 108 + 25
    # It counts the linear layer's bias with its products: 25 for an image.
    assert report.multiply_adds == 2 * (CONV + 25)
    assert report.leaves == (("Conv2d", (2, 4, 6, 6)), ("Linear", (2, 5)))


@pytest.mark.parametrize("batch", [1, 3])
def test_fvcore_is_asked_about_one_image_and_answers_for_all(batch: int) -> None:
    report = fvcore(Chatty(), batch)
    assert report.failure is None
    assert report.version == other_counters.version("fvcore")
    assert report.by_operator is not None
    assert report.by_module is not None
    assert (report.by_operator["conv"], report.by_operator["linear"]) == (batch * CONV, batch * LINEAR)
    assert (report.by_module["conv"], report.by_module["fc"]) == (batch * CONV, batch * LINEAR)
    assert report.total == report.by_module[""] == sum(report.by_operator.values())


def test_torchinfo_looks_into_every_depth() -> None:
    model: nn.Module = nn.Conv2d(3, 4, 3)
    for _ in range(12):
        model = nn.Sequential(model)
    assert other_counters.torchinfo(model.to("meta"), images((1, 3, 8, 8)).on_meta(torch.float32)).leaves == (
        ("Conv2d", (1, 4, 6, 6)),
    )


def test_what_the_network_writes_to_the_file_of_standard_output_goes_to_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Writes(Chatty):
        def forward(self, x: Tensor) -> Tensor:
            os.write(1, b"written")
            return super().forward(x)

    assert fvcore(Writes()).failure is None
    other_counters.torchinfo(Writes().to("meta"), images((1, 3, 8, 8)).on_meta(torch.float32))
    assert capfd.readouterr() == ("", "writtenwritten")


def test_an_output_that_contains_itself_is_not_traced() -> None:
    """The process would end."""
    output: dict[str, object] = {"logits": torch.ones(1)}
    output["self"] = [output]
    report = other_counters.fvcore(Chatty(), images((1, 3, 8, 8)), macs=1, bytes_alive=1, output=output)
    assert report.failure == "not run: the output of the network contains itself"


def test_nothing_that_they_say_reaches_the_terminal(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("fvcore")
    logger.setLevel(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fvcore(Chatty()).failure is None
        assert not caplog.records
        assert (
            other_counters.torchinfo(Chatty().to("meta"), images((1, 3, 8, 8)).on_meta(torch.float32)).failure is None
        )
    assert capfd.readouterr() == ("", "")
    assert logger.level == logging.INFO
    fvcore(Chatty(ValueError("no")))
    assert logger.level == logging.INFO


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("not\n  this one"), "ValueError: not this one"),
        (RuntimeError("as a constant\nTensor:\n(1,1,.,.) = \n 0 0\n"), "RuntimeError: as a constant"),
        (RuntimeError("x" * 500), "RuntimeError: " + "x" * 160),
        (KeyError(), "KeyError"),
    ],
)
def test_a_failure_is_a_reason_in_words(error: Exception, reason: str) -> None:
    report = fvcore(Chatty(error))
    assert (report.failure, report.total, report.by_operator) == (reason, None, None)
    assert report.version is not None
    told = other_counters.torchinfo(Chatty(error).to("meta"), images((1, 3, 8, 8)).on_meta(torch.float32))
    assert told.failure is not None
    assert told.parameters is None


@pytest.mark.parametrize(
    ("options", "is_asked"),
    [
        ({"macs": 2 * 150 * 10**9}, True),
        ({"macs": 2 * 150 * 10**9 + 2}, False),
        ({"bytes_alive": 2 * 4 * 10**9}, True),
        ({"bytes_alive": 2 * 4 * 10**9 + 2}, False),
    ],
)
def test_a_forward_that_is_too_large_is_not_run(options: dict[str, int], is_asked: bool) -> None:
    report = fvcore(Chatty(), 2, **options)
    assert (report.total is not None) is is_asked
    assert (report.failure is None) is is_asked
    assert report.version is not None


@pytest.mark.parametrize(("levels", "is_run"), [(8, True), (28, False), (150, False)])
def test_torchinfo_is_not_run_where_it_would_take_minutes(levels: int, is_run: bool) -> None:
    model: nn.Module = nn.Conv2d(3, 2, 1)
    for _ in range(levels):
        model = nn.Sequential(model)
    report = other_counters.torchinfo(model.to("meta"), images((1, 3, 2, 2)).on_meta(torch.float32))
    assert (report.parameters, report.failure) == (
        (8, None) if is_run else (None, "not run: its time doubles with each level of nested modules")
    )


def test_a_package_that_is_not_there_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert other_counters.version("a-package-that-is-not-there") is None
    monkeypatch.setitem(sys.modules, "torchinfo", None)
    monkeypatch.setitem(sys.modules, "fvcore.nn", None)
    monkeypatch.setitem(sys.modules, "torch.utils.flop_counter", None)
    for failure in (
        other_counters.torchinfo(Chatty().to("meta"), images((1, 3, 8, 8)).on_meta(torch.float32)).failure,
        fvcore(Chatty()).failure,
        other_counters.count_with_torch()[1],
    ):
        assert failure is not None
        assert failure.startswith(("ImportError", "ModuleNotFoundError"))
    assert other_counters.count_with_torch()[0] is None


def test_torchs_formulas_call_by_call() -> None:
    tally, failure = other_counters.count_with_torch()
    assert failure is None
    assert tally is not None
    x, w = on_meta(2, 3, 8, 8), on_meta(4, 3, 3, 3)
    arguments = (x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    convolution = torch.ops.aten.convolution.default
    assert tally(convolution, arguments, {}, convolution(*arguments)) == 2 * 2 * CONV
    assert tally(torch.ops.aten.relu.default, (x,), {}, x) == 0
    # Attention on a processor, which torch's own registry may lack: two products of 5 x 5 x 8, for two heads.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    q = on_meta(1, 2, 5, 8)
    assert tally(attention, (q, q, q), {}, (q, on_meta(1, 2, 5))) == 2 * 2 * 2 * 5 * 5 * 8
