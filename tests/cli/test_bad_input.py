"""What is wrong with a command line is one error that names it: exit code 2, nothing on standard output, no file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch

from resnet_cli import cli
from resnet_cli.cli import main
from resnet_cli.errors import ResnetCliError

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes=7, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.lin = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.lin(self.conv(x).mean((2, 3)))

net = Net()
"""

LINES = [
    # (line, what the error names)
    ("nonsense", "nonsense"),
    ("summary --nonsense", "--nonsense"),
    ("summary --depth 19", "--depth 19"),
    ("summary --depth x", "--depth"),
    ("summary --arch resnxt50_32x4d", "resnxt50_32x4d"),
    ("summary --depth 18 --arch resnet50", "--arch"),
    ("summary --repeat 2,x", "2,x"),
    ("summary --repeat 2,2,2", "2,2,2"),
    ("summary --in-channels=-1", "--in-channels"),
    ("summary --num-classes 0", "--num-classes"),
    ("summary --stem imagnet", "--stem"),
    ("summary --batch-size 0", "--batch-size"),
    ("summary --image-size 0", "--image-size 0"),
    ("summary --image-size 224x", "--image-size '224x'"),
    ("summary --image-size \u0663\u0663", "--image-size"),
    ("summary --batch-size 1000000000 --image-size 65536", "2**48"),
    ("summary --device tpu", "--device 'tpu'"),
    ("summary --device cuda:x", "cuda:x"),
    ("summary --dtype float31", "--dtype"),
    ("summary --columns layer_type,macz", "macz"),
    ("summary --levels 0", "--levels"),
    ("summary --format yaml", "--format 'yaml'"),
    ("summary --assert mac<=1", "'mac'"),
    ("summary --assert macs<=nan", "nan"),
    ("summary --assert macs", "macs"),
    ("summary -o /no/such/folder/x.json", "/no/such/folder"),
    ("summary -o x.png", "PNG"),
    ("summary --weights missing.pth", "missing.pth"),
    (f"summary --weights {'x' * 300}", "xxx"),
    ("flops --show operatorz", "operatorz"),
    ("flops --reconcile fvcore", "fvcore"),
    ("flops --reconcile fvcore:nobody", "nobody"),
    ("flops --image-size 32 --backward", "cannot be trained on 1×3×32×32"),
    ("summary --model net.py:Net --depth 18", "--model cannot be combined with --depth"),
    ("flops --model net.py:Net --arch resnet18", "--model cannot be combined with --arch"),
    ("summary --model net.py:Net --repeat 1,1,1,1", "--model cannot be combined with --repeat"),
    ("bench --model net.py:Net --stem cifar", "--model cannot be combined with --stem"),
    ("summary --model-args {}", "--model-args requires --model"),
    ("summary --model net.py:Net --model-args {", "--model-args"),
    ("summary --model net.py:Net --model-args 10", "--model-args"),
    ("summary --model net.py:Net --model-args '{\"widht\": 3}'", "widht"),
    (
        "summary --model net.py:Net --num-classes 3 --model-args '{\"num_classes\": 3}'",
        "--num-classes and --model-args",
    ),
    ("summary --model net.py:net --num-classes 3", "num_classes"),
    ("summary --model net.py:Nett", "Nett"),
    ("summary --model nest.py:Net", "nest.py"),
    ("bench --batch-size ''", "--batch-size"),
    ("bench --batch-size 1,,8", "--batch-size '1,,8'"),
    ("bench --batch-size 8,8", "twice"),
    ("bench --batch-size 99999999999", "--batch-size"),
    ("bench --no-ceiling --repeat 1,1,1,1 --batch-size 1000000000", "memory"),
    ("bench --ci-width 0%", "--ci-width '0%'"),
    ("bench --ci-width nan", "--ci-width 'nan'"),
    ("bench --ci-width 200%", "--ci-width '200%'"),
    ("bench --max-time 0", "--max-time"),
    ("bench --max-time nan", "--max-time"),
    ("bench --max-time inf", "--max-time"),
    ("bench --threads 100000", "--threads"),
    ("bench --seed=-1", "--seed"),
    (f"bench --seed {'9' * 30}", "--seed"),
    ("bench --nproc 0", "--nproc"),
    ("bench --mode infer", "--mode"),
    ("bench --optimizations magic", "magic"),
    ("bench --optimizations ''", "optimization"),
    ("bench --optimizations all --dtype bfloat16", "--optimizations"),
    ("bench --nproc 2 --optimizations all", "--nproc cannot be combined with --optimizations"),
    ("bench --nproc 2 --against torchvision", "--nproc cannot be combined with --against"),
    ("bench --nproc 2 --device cuda:0", "--device cuda:0"),
    ("bench --fail-above 5%", "--fail-above requires --baseline"),
    ("bench --fail-above 0 --baseline x.json", "--fail-above '0'"),
    ("bench --against resnet19", "resnet19"),
    ("bench --against torchvision --model net.py:Net", "--against torchvision"),
    ("bench --baseline missing.json", "missing.json"),
    ("bench --baseline .", "--baseline"),
    ("bench --save /no/such/folder/bench.json", "/no/such/folder"),
    ("bench --save folder/", "folder"),
    ("compare-torchvision --checks foo", "foo"),
    ("compare-torchvision --checks ''", "check"),
    ("compare-torchvision --all --depth 18", "--all cannot be combined with --depth"),
    ("compare-torchvision --all --self-test", "--all cannot be combined with --self-test"),
    ("compare-torchvision --self-test --expect x.toml", "--self-test cannot be combined with --expect"),
    ("compare-torchvision --against alexnet --depth 18 --model a:b", "--depth"),
    ("compare-torchvision --batch-size 1", "--batch-size"),
    ("compare-torchvision --rtol=-1", "--rtol"),
    ("compare-torchvision --atol nan", "--atol"),
    ("compare-torchvision --atol inf", "--atol"),
    ("compare-torchvision --image x.jpg", "--image requires --weights"),
    ("compare-torchvision --map missing.toml --image-size 32", "missing.toml"),
    ("compare-torchvision --weights missing.pth", "missing.pth"),
    ("compare-torchvision --model nothing", "nothing"),
    ("compare-torchvision --show trees", "trees"),
    ("convert weights.pth", "--output"),
    ("convert weights.pth --to thiers -o x.pth", "--to"),
    ("convert weights.pth -o x.npz", "unsupported extension '.npz'"),
    ("convert weights.pth -o -", "--output"),
    ("convert weights.pth -o weights.pth", "the file to read"),
    ("convert weights.pth -o link.pth", "the file to read"),
    ("convert weights.pth -o folder.pth", "a folder"),
    ("convert weights.pth -o device.pth", "not a regular file"),
    ("convert weights.pth -o missing/x.pth", "no folder"),
    ("convert missing.pth -o x.pth", "missing.pth"),
    ("convert weights.pth --show tensor -o x.pth", "tensor"),
    ("report missing.json -o x.html", "missing.json"),
    ("report --chart roofl -o x.svg", "--chart 'roofl'"),
    ("report --chart roofline -o x.html", "html"),
    ("report --format pdf -o x", "--format 'pdf'"),
    ("report -o x.pdf", "pdf"),
    ("report --depth 18 --depth 18 -o x.html", "twice"),
    ("report --depth 18 --arch resnet18 -o x.html", "twice"),
    ("report --measure sumary -o x.html", "sumary"),
    ("report --chart batch-sweep -o x.svg", "batch-sweep"),
    ("doctor --format yaml", "--format 'yaml'"),
]


@pytest.mark.parametrize(("line", "named"), LINES, ids=lambda value: str(value)[:50])
def test_bad_input_is_one_error(
    line: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET, encoding="utf-8")
    torch.save({"conv.weight": torch.zeros(1)}, "weights.pth")
    Path("link.pth").symlink_to("weights.pth")
    Path("device.pth").symlink_to("/dev/full")
    for folder in ("folder", "folder.pth"):
        Path(folder).mkdir()
    before = {path: path.lstat().st_mtime_ns for path in Path().iterdir()}
    assert main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("error: ")
    assert named in lines[0]
    assert len(lines) == 1 or lines[-1].startswith("hint: ")
    assert {path: path.lstat().st_mtime_ns for path in Path().iterdir() if path.name != "__pycache__"} == before


@pytest.mark.parametrize("line", ["summary --depth 'x\x1b[2J'", "summary --arch '\x1b]0;pwned\x07'"])
def test_escapes_from_outside_do_not_reach_the_terminal(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(line)) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_gpu_is_called_cuda(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--device", "gpu:1"]) == 2
    assert "--device cuda:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("`depth=19` is not supported", "--depth 19 is not supported"),
        ("depth=19 is not supported", "--depth 19 is not supported"),
        ("`model` cannot be combined with `batch_size`", "--model cannot be combined with --batch-size"),
        ("leave out `layers=True`", "leave out --layers"),
        ("use `output_format` or `sections`", "use --format or --show"),
        ("Net(3, num_classes=10) takes no `width`", "Net(3, num_classes=10) takes no `width`"),
        ("Net(depth=3)", "Net(depth=3)"),
    ],
)
def test_parameters_are_printed_as_options(
    text: str, printed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The code below the commands names parameters, which a user of the command line does not know."""

    def failing(*_: object, **__: object) -> None:
        raise ResnetCliError(text, text)

    monkeypatch.setattr("resnet_cli.measure.cost.summary.summarize", failing)
    assert main(["summary"]) == 2
    assert capsys.readouterr().err == f"error: {printed}\nhint: {printed}\n"


def test_an_incomplete_result_is_written_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from resnet_cli.results.common import error_note
    from tests.helpers.results_bench import one_batch

    for error, code in ((ResnetCliError("out of memory", "use less"), 2), (ZeroDivisionError("oops"), 70)):
        result = replace(one_batch(), notes=(error_note(error),))
        monkeypatch.setattr("resnet_cli.measure.bench.task.run_task", lambda *_, result=result, **__: result)
        assert main(["bench", "--format", "json"]) == code
        out, err = capsys.readouterr()
        assert len(json.loads(out)["timings"]) == 1
        assert err.startswith("error: ")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "out of memory"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 5 bytes\nat x"
            ),
            "out of memory: can't allocate memory: 5 bytes",
        ),
    ],
)
def test_a_lack_of_memory_is_no_bug(error: Exception, message: str) -> None:
    reported = cli._as_reported(error)
    assert (reported.message, reported.exit_code) == (message, 2)
    assert reported.hint == "use a smaller `batch_size` or `image_size`"
