"""What a shell offers when the tab key is pressed, asked as each shell asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from resnet_cli.cli import app
from resnet_cli.measure.cost.conventions import keys
from resnet_cli.measure.models.naming.grammar import EXAMPLES
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.measure.parity.checks import CHECKS
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.render.pages import PAGES

SHELLS = ("bash", "zsh", "fish")


def question(shell: str, line: str, action: str = "get-args") -> dict[str, str]:
    """The environment in which a shell asks; the line is what stands before the cursor."""
    words = line.split(" ")
    return {
        "_RESNET_CLI_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": action,
    }


Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Ask in this process; exit code and answer."""

    def run(shell: str, line: str, action: str = "get-args") -> tuple[int, str]:
        with monkeypatch.context() as patch:
            for name, value in question(shell, line, action).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as exited:
                app(prog_name="resnet-cli")
        out, err = capsys.readouterr()
        assert err == ""
        return int(exited.value.code or 0), out

    return run


def words(shell: str, text: str) -> list[str]:
    """What is offered, in the format of each shell."""
    if shell != "zsh":
        return text.split()
    inner = text.strip().removeprefix("_arguments '*: :((").removesuffix("))'")
    return [line.strip('"') for line in inner.split("\n")]


def test_a_process_that_completes_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv[0] = 'resnet-cli'\nfrom resnet_cli.__main__ import run\n"
        "try: run()\nfinally: print(sorted({'torch', 'torchvision', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **question("bash", "resnet-cli summary --columns call,flo")},
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["call,flops"], "[]\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_completes_a_list(shell: str, ask: Ask) -> None:
    code, text = ask(shell, "resnet-cli summary --columns call,flo")
    assert (code, words(shell, text)) == (0, ["call,flops"])


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_completes_files_where_one_is_expected(shell: str, ask: Ask) -> None:
    code, text = ask(shell, "resnet-cli bench --save ", "is-args")
    if shell == "fish":
        assert code == 1  # no words of ours: its own files
    else:  # bash is told `-o default`
        assert (code, text.strip()) == (0, "_files" if shell == "zsh" else "")


DTYPES = ["float32", "bfloat16", "float16", "float64"]
FORMATS = ["terminal", "json", "csv", "markdown", "svg", "html"]
DEVICES = ["auto", "cpu", "cuda", "mps", "xpu"]
KNOWN = {
    "report --format ": ["json", "svg", "html", "png"],
    "report --chart a": ["architecture"],
    "report --measure summary,fl": ["summary,flops"],
    "report x.json --depth 5": ["50"],
    "summ": ["summary"],
    "summary --depth ": ["18", "34", "50", "101", "152"],
    "summary --arch ": list(ARCHITECTURES),
    "bench --arch resnext": ["resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"],
    "summary --stem ": ["imagenet", "cifar"],
    "summary --device ": DEVICES,
    "bench --device c": ["cpu", "cuda"],
    "flops --dtype ": DTYPES,
    "convert a.pth --dtype ": DTYPES,
    "bench --format ": FORMATS,
    "convert a.pth -f ": FORMATS,
    "summary --columns ": list(PAGES["summary"].column_names()),
    "summary --columns macs,": [f"macs,{name}" for name in PAGES["summary"].column_names() if name != "macs"],
    "summary --columns nothing": [],
    "flops --show ": list(PAGES["flops"].sections),
    "compare-torchvision --show tree,m": ["tree,mapping"],
    "bench --show ": list(PAGES["bench"].sections),
    "convert a.pth --show ": list(PAGES["convert"].sections),
    "compare-torchvision --show ": list(PAGES["compare-torchvision"].sections),
    "compare-torchvision --checks ": list(CHECKS),
    "compare-torchvision --checks eval,s": ["eval,settings", "eval,statistics", "eval,step", "eval,shapes"],
    "compare-torchvision --against wide": ["wide_resnet50_2", "wide_resnet101_2"],
    "bench --against ": ["torchvision", "self", *EXAMPLES],
    "bench --against torchvision:wide": ["torchvision:wide_resnet50_2", "torchvision:wide_resnet101_2"],
    "summary --model wide": ["wide_resnet50_2", "wide_resnet101_2"],
    "compare torchvision:resnet15": ["torchvision:resnet152"],
    "bench --optimizations ": ["all", *OPTIMIZATIONS],
    "bench --optimizations compile,bf": ["compile,bfloat16"],
    "bench --mode ": ["inference", "train"],
    "convert a.pth --to ": ["resnet-cli", "torchvision"],
    "flops --reconcile paper:torchv": [f"paper:{key}" for key in keys() if key.startswith("torchv")],
    "bench --weights IMAGENET": ["IMAGENET1K_V1", "IMAGENET1K_V2"],
    "bench --weights ": [],  # a file
    "bench --weights resnet": [],
}


@pytest.mark.parametrize("line", KNOWN)
def test_known_values_are_offered(line: str, ask: Ask) -> None:
    code, text = ask("bash", f"resnet-cli {line}")
    assert (code, text.split()) == (0, KNOWN[line])


@pytest.mark.parametrize(
    "option",
    [
        "summary --output",
        "bench --save",
        "bench --baseline",
        "compare-torchvision --map",
        "compare-torchvision --save-map",
        "compare-torchvision --expect",
        "compare-torchvision --save-expect",
        "compare-torchvision --image",
        "flops --model",
        "convert",
        "convert a.pth -o",
    ],
)
def test_files_are_left_to_the_shell(option: str, ask: Ask) -> None:
    code, text = ask("bash", f"resnet-cli {option} ou")
    assert (code, text.split()) == (0, [])
