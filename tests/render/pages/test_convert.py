"""The page of a conversion."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.document import Paragraph, Table, ViewOptions
from resnet_cli.render.pages import page
from resnet_cli.results.common import Note
from resnet_cli.results.convert import ConvertedTensor, ConvertResult, WeightsFile
from tests.helpers.results_summary_flops import ENVIRONMENT, NETWORK

TENSORS = (
    ConvertedTensor("head.conv.weight", "conv1.weight", (64, 3, 3, 3), "float16", "float32", 3456),
    ConvertedTensor("head.bn.num_batches_tracked", "bn1.num_batches_tracked", (), "int64", "int64", 8),
)
RESULT = ConvertResult(
    network=NETWORK,
    source=WeightsFile("run.pth", "torch", "torchvision", 46_830_000),
    target=WeightsFile("renamed.safetensors", "safetensors", "resnet-cli", 23_410_000),
    key_path=("model", "state_dict"),
    prefix="module.",
    is_ema=False,
    ignored_entries=tuple(f"entry{number}" for number in range(20)),
    parameters=11_689_512,
    renamed=2,
    cast=1,
    overflowed=0,
    not_finite=0,
    tensors=TENSORS,
    environment=ENVIRONMENT,
    notes=(Note("warning", "one is NaN", "not-finite"),),
)


def texts(result: ConvertResult) -> list[str]:
    return [part.text for part in page(result, ViewOptions()).elements if isinstance(part, Paragraph)]


def test_it_says_what_changed_and_where_the_tensors_were() -> None:
    changes, location, ignored, note, _ = texts(RESULT)
    assert changes == "2 tensors, all renamed, 1 cast from float32 to float16"
    assert "model.state_dict" in location
    assert "module." in location
    assert ignored.endswith("entry7 and 12 more")
    assert note == "one is NaN"


def test_what_did_not_change_is_not_listed() -> None:
    plain = replace(RESULT, key_path=(), prefix="", ignored_entries=(), renamed=0, cast=0, notes=())
    changes, _ = texts(plain)
    assert changes == "2 tensors, none renamed, values unchanged (float16, int64)"


def test_the_tensors_are_drawn_on_request() -> None:
    tables = [part for part in page(RESULT, ViewOptions(sections=("tensors",))).elements if isinstance(part, Table)]
    assert [table.key for table in tables] == ["tensors"]
    assert [row.cells["shape"].text for row in tables[0].rows] == ["64×3×3×3", "scalar"]
    with pytest.raises(ResnetCliError, match="file"):
        page(RESULT, ViewOptions(sections=("file",)))
