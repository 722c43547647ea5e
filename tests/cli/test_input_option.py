"""`--input`, `--input-file` and example_inputs(): a network called with something else than one image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from resnet_cli.cli import main

NETS = """
import torch
from torch import nn


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.lin = nn.Linear(4, 5)

    def forward(self, x, mask):
        return self.lin((self.conv(x) * mask[:, None]).mean((2, 3)))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 4)

    def forward(self, ids):
        return self.words(ids).mean(1)


class Wave(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3)

    def forward(self, x):
        return self.conv(x)


class Digits(nn.Module):
    def __init__(self, size=None):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.lin = nn.Linear(2 * size * size, 3) if size else nn.Linear(2, 3)
        self.size = size

    def forward(self, x):
        x = self.conv(x)
        return self.lin(x.flatten(1) if self.size else x.mean((2, 3)))


def mnist():
    return Digits(26)


class Pixels(nn.Module):
    def forward(self, x):
        if x.dtype != torch.uint8:
            raise TypeError("bytes, please")
        return x.float()


class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 2)

    def forward(self, x):
        return self.lin(x.half())


class Elsewhere(nn.Module):
    def forward(self, x):
        return x.cuda()


class NoForward(nn.Module):
    pass
"""

EXAMPLES = """
from nets import Two


def example_inputs():
    import torch
    return {"x": torch.zeros(2, 3, 6, 6), "mask": torch.ones(2, 6, 6)}
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS, encoding="utf-8")
    Path("examples.py").write_text(EXAMPLES, encoding="utf-8")


def result(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--format", "json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What standard error says of a command line with exit code 2."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error: ") == 1
    return captured.err


def test_described_tensors_are_what_the_network_is_called_with(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--input", "mask=bool[2,6,6]", "--input", "float32[2,3,6,6]")
    summary = result(capsys, "summary", "--model", "nets.py:Two", *given)
    assert summary["macs"] == 2 * (36 * 4 * 27 + 20)
    assert [(row["name"], row["shape"], row["dtype"]) for row in summary["input"]["tensors"]] == [
        ("x", [2, 3, 6, 6], "float32"),
        ("mask", [2, 6, 6], "bool"),
    ]
    assert result(capsys, "flops", "--model", "nets.py:Two", *given)["macs"] == summary["macs"]


def test_a_batch_of_one_is_measured_at_any_batch_size(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--model", "nets.py:Two", "--input", "float32[1,3,6,6]", "--input", "float32[1,6,6]")
    one, three = (result(capsys, "summary", *given, *more) for more in ((), ("--batch-size", "3")))
    assert three["macs"] == 3 * one["macs"]
    assert three["input"]["shape"] == [3, 3, 6, 6]
    bench = result(capsys, "bench", *given, "--batch-size", "1,3", "--max-time", "0.01", "--no-ceiling")
    assert [row["flops"] for row in bench["timings"]] == [2 * one["macs"], 2 * three["macs"]]
    assert bench["image"] is None


def test_example_inputs_are_taken_where_no_option_says_what_the_input_is(capsys: pytest.CaptureFixture[str]) -> None:
    summary = result(capsys, "summary", "--model", "examples.py:Two")
    assert summary["input"]["source"] == "example_inputs"
    assert summary["input"]["shape"] == [2, 3, 6, 6]
    assert [note["key"] for note in summary["notes"]] == ["example-inputs"]
    given = ("--input", "float32[1,3,4,4]", "--input", "float32[1,4,4]")
    assert result(capsys, "summary", "--model", "examples.py:Two", *given)["notes"] == []
    assert "missing a required argument: 'mask'" in refused(
        capsys, "summary", "--model", "examples.py:Two", "--image-size", "8"
    )
    Path("examples.py").write_text(
        EXAMPLES.replace("import torch", "raise ValueError('no examples')"), encoding="utf-8"
    )
    Path("variable.py").write_text(EXAMPLES + "example_inputs = example_inputs()\n", encoding="utf-8")
    assert result(capsys, "summary", "--model", "variable.py:Two")["input"] == summary["input"]
    assert "examples.py:6: ValueError: no examples" in refused(capsys, "summary", "--model", "examples.py:Two")


@pytest.mark.parametrize(
    ("name", "network", "shapes"),
    [
        ("a.pt", "Two", [[2, 3, 6, 6], [2, 6, 6]]),
        ("named.pth", "Two", [[2, 3, 6, 6], [2, 6, 6]]),
        ("specs.json", "Two", [[2, 3, 6, 6], [2, 6, 6]]),
        ("words.json", "Words", [[2, 3]]),
        ("list.json", "Words", [[1, 3]]),
        ("words.npy", "Words", [[2, 3]]),
    ],
)
def test_inputs_come_from_files(capsys: pytest.CaptureFixture[str], name: str, network: str, shapes: Any) -> None:
    pair = torch.zeros(2, 3, 6, 6), torch.ones(2, 6, 6)
    torch.save(pair, "a.pt")
    torch.save(dict(zip(("x", "mask"), pair, strict=True)), "named.pth")
    Path("specs.json").write_text('{"mask": "float32[2,6,6]", "x": "float32[2,3,6,6]"}', encoding="utf-8")
    Path("words.json").write_text('{"ids": [[1, 2, 3], [4, 5, 8]]}', encoding="utf-8")
    Path("list.json").write_text('["int64[1,3]<9"]', encoding="utf-8")
    numpy.save("words.npy", numpy.array([[1, 2, 3], [4, 5, 8]]))
    summary = result(capsys, "summary", "--model", f"nets.py:{network}", "--input-file", name)
    assert sorted(row["shape"] for row in summary["input"]["tensors"]) == sorted(shapes)
    assert summary["input"]["source"] == name


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.pt", None, "does not exist"),
        ("a.txt", b"x", "unsupported extension"),
        ("a.json", b"{", "is not a valid .json file"),
        ("a.json", b"[[1, 2], [3]]", "is not a valid .json file"),
        ("a.json", b'{"x": "flaot32[1]"}', "unknown dtype flaot32"),
        ("a.json", b'{"x": "y=float32[1]"}', "names a tensor twice"),
        ("a.json", b"{}", "there is no tensor"),
        ("a.json", b"\xff\xfe", "is not a valid .json file"),
        ("a.npy", b"x", "is not an array of numbers"),
        ("a.pt", b"hello", "is damaged"),
        ("module.pt", None, "would run code"),
    ],
)
def test_a_file_without_inputs_is_one_error(
    capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, message: str
) -> None:
    torch.save(nn.ReLU(), "module.pt")
    if content is not None:
        Path(name).write_bytes(content)
    assert message in refused(capsys, "summary", "--model", "nets.py:Words", "--input-file", name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--image-size", "8", "--in-channels", "1"), "--input cannot be combined with --image-size and --in-channels"),
        (("--input-file", "a.pt"), "--input cannot be combined with --input-file"),
        (("--batch-size", "4"), "--batch-size 4: the inputs are a batch of 2 already"),
        (("--input", "flaot32[1]"), "--input flaot32[1]: unknown dtype flaot32"),
        (("--input", "x=float32[1]", "--input", "x=float32[1]"), "x is described twice"),
        (("--input", "maks=bool[2,6,6]"), "did you mean mask?"),
    ],
)
def test_options_that_contradict_each_other_are_one_error(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in refused(capsys, "summary", "--model", "nets.py:Two", "--input", "float32[2,3,6,6]", *arguments)


@pytest.mark.parametrize(
    ("network", "hint"),
    [
        ("Two", "it was given one float image N×C×H×W as the first positional argument"),
        ("Words", "hint: --input 'int64[1,16]' works"),
        ("Wave", "hint: --input 'float32[1,2,64]' works"),
        ("Digits", "hint: --in-channels 1 works"),
        ("mnist", "hint: --in-channels 1 with --image-size 28 works"),
        ("Pixels", "describe other inputs with --input"),
        ("Half", "describe other inputs with --input"),
        ("Elsewhere", None),
        ("NoForward", "hint: define forward"),
    ],
)
def test_a_hint_says_what_was_given_or_what_works(
    capsys: pytest.CaptureFixture[str], network: str, hint: str | None
) -> None:
    said = refused(capsys, "summary", "--model", f"nets.py:{network}", "--image-size", "32")
    assert "square image" not in said
    assert ("hint: " not in said) if hint is None else (hint in said)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (("x=float64[1,3,6,6]", "mask=float64[1,6,6]"), "float[…] describes a tensor in the dtype of the weights"),
        (("x=float32[1,4,6,6]", "mask=float32[1,6,6]"), "it was given x 1×4×6×6, mask 1×6×6"),
    ],
)
def test_a_hint_about_described_tensors_is_about_them(
    capsys: pytest.CaptureFixture[str], given: tuple[str, str], hint: str
) -> None:
    options = [word for text in given for word in ("--input", text)]
    assert hint in refused(capsys, "summary", "--model", "nets.py:Two", *options)


def test_an_index_beyond_an_embedding_asks_for_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    reads_values = NETS.replace("return self.words(ids)", "ids.max().item(); return self.words(ids)")
    Path("nets.py").write_text(reads_values, encoding="utf-8")
    said = refused(capsys, "summary", "--model", "nets.py:Words", "--input", "int64[1,99]<90")
    assert "hint: bound the integers" in said


@pytest.mark.parametrize("network", ["Half", "Two"])
def test_a_product_of_two_dtypes_has_no_figures(capsys: pytest.CaptureFixture[str], network: str) -> None:
    """`meta` multiplies them, and no device does."""
    texts = {"Half": ("float32[1,4]",), "Two": ("float32[1,3,6,6]", "float64[1,6,6]")}[network]
    options = [word for text in texts for word in ("--input", text)]
    assert "dtype" in refused(capsys, "summary", "--model", f"nets.py:{network}", *options)


def test_a_built_in_network_has_its_channels_beside_described_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--stem", "cifar", "--repeat", "1,1,1,1", "--in-channels", "1", "--input", "float32[1,1,8,8]")
    assert result(capsys, "summary", *given)["input"]["shape"] == [1, 1, 8, 8]
