"""The command line, as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_cli import __version__
from resnet_cli.cli import main

BAD_INPUT = [
    # (arguments, what the error names, what the hint says)
    (["summary", "--depth", "19"], "--depth 19", "18"),
    (["summary", "--arch", "resnet5"], "resnet5", "resnet50"),
    (["summary", "--arch", "resnxt50_32x4d"], "resnxt50_32x4d", "resnext50_32x4d"),
    (["summary", "--depth", "18", "--arch", "resnet50"], "contradicts", "leave one"),
    (["summary", "--batch-size", "0"], "--batch-size 0", "1 or more"),
    (["summary", "--batch-size", "-3"], "--batch-size -3", "1 or more"),
    (["summary", "--image-size", "0"], "--image-size 0", "224"),
    (["summary", "--image-size", "224x"], "--image-size '224x'", "320x240"),
    (["summary", "--image-size", "\u0663\u0663"], "--image-size", "320x240"),
    (["summary", "--device", "gpu"], "--device 'gpu'", "cpu"),
    (["summary", "--device", "cuda:x"], "cuda:x", "cuda:N"),
    (["summary", "--dtype", "float31"], "float31", "float32"),
    (["summary", "--stem", "imagnet"], "imagnet", "imagenet"),
    (["summary", "--columns", "layer_type,macz"], "macz", "macs"),
    (["summary", "--levels", "0"], "--levels 0", "1 or more"),
    (["summary", "--format", "yaml"], "yaml", "json"),
    (["summary", "--repeat", "2,x"], "2,x", "2,2,2,2"),
    (["summary", "--repeat", "2,2,2"], "2,2,2", "--repeat"),
    (["summary", "--num-classes", "0"], "--num-classes 0", "from 1"),
    (["summary", "--in-channels", "-1"], "--in-channels -1", "from 1"),
    (["summary", "--batch-size", "1000000000", "--image-size", "65536"], "2**48", "smaller"),
    (["summary", "--assert", "mac<=1"], "'mac'", "macs"),
    (["summary", "--assert", "macs<=nan"], "nan", "4.2G"),
    (["summary", "--assert", "macs"], "macs", "macs<=4.2G"),
    (["summary", "-o", "/no/such/folder/x.json"], "/no/such/folder", "folder"),
    (["flops", "--show", "operatorz"], "operatorz", "operators"),
    (["flops", "--walk", "fvcore"], "fvcore", "FROM:TO"),
    (["flops", "--walk", "fvcore:nobody"], "nobody", "FROM:TO"),
    (["flops", "--image-size", "32", "--backward"], "--backward", "--batch-size"),
    (["flops", "--assert", "backward-macs<1G"], "backward-macs", "--backward"),
    (["nonsense"], "nonsense", "--help"),
    (["summary", "--nonsense"], "--nonsense", "--help"),
    (["summary", "--depth", "x"], "--depth", "--help"),
]


@pytest.mark.parametrize(
    ("arguments", "named", "advice"), BAD_INPUT, ids=lambda value: None if callable(value) else str(value)[:40]
)
def test_bad_input_is_one_error_with_a_hint(
    arguments: list[str], named: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert named in error
    assert hint.startswith("hint: ")
    assert advice in hint


@pytest.mark.parametrize("arguments", [["summary", "--depth", "x\x1b[2J"], ["summary", "--arch", "\x1b]0;pwned\x07"]])
def test_escapes_from_outside_do_not_reach_the_terminal(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_cuda_without_cuda_is_an_error_that_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["summary", "--device", "cuda"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert "cuda" in error
    assert "--device cpu" in hint


def test_the_exit_code_says_whether_a_budget_holds(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["summary", "--levels", "1", "--assert", "parameters==11689512", "--assert"]
    assert main([*arguments, "macs<=1.9G"]) == 0
    assert main([*arguments, "macs<=1.8G"]) == 1
    assert main(["flops", "--show", "operators", "--assert", "flops<3.7G"]) == 0
    assert main(["flops", "--show", "operators", "--assert", "flops>3.7G"]) == 1
    capsys.readouterr()


def test_json_on_stdout_is_nothing_but_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "--depth", "34", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert result["schema"] == "resnet-cli/summary/2"
    assert result["parameters"] == 21_797_672  # torchvision's num_params


def test_the_same_command_gives_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for _ in range(2):
        assert main(["flops", "--depth", "18", "--format", "json"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("suffix", ["json", "csv", "md", "svg", "txt"])
def test_the_name_of_the_file_chooses_the_format(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / f"result.{suffix}"
    assert main(["summary", "--levels", "2", "-o", str(target)]) == 0
    assert capsys.readouterr().out == ""
    text = target.read_text(encoding="utf-8")
    start = {"json": "{", "csv": "layer,", "md": "# resnet18", "svg": "<svg", "txt": "resnet18"}[suffix]
    assert text.startswith(start)
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_is_written_on_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "old.json"
    target.write_text("precious", encoding="utf-8")
    assert main(["flops", "--image-size", "32", "--backward", "-o", str(target)]) == 2
    assert target.read_text(encoding="utf-8") == "precious"
    assert list(tmp_path.iterdir()) == [target]
    capsys.readouterr()


def test_help_shows_every_option_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command, options in {
        "summary": "--arch --depth --device --batch-size --image-size --in-channels --num-classes --stem --repeat "
        "--dtype --levels --columns --format --output --assert",
        "flops": "--arch --depth --device --batch-size --image-size --backward --walk --show --format --output "
        "--assert",
    }.items():
        assert main([command, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "Examples:" in shown
        for option in options.split():
            assert option in shown


def test_without_a_command_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "summary" in capsys.readouterr().out


def test_a_fault_of_ours_is_no_failed_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("resnet_cli.measure.cost.summary.summarize", broken)
    assert main(["summary"]) == 70
    assert "internal error: ZeroDivisionError: oops" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "summary"])


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_cli.measure.cost.summary.summarize", interrupted)
    assert main(["summary"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def run(*arguments: str, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "resnet_cli", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}, encoding="utf-8"
    )


HEAVY = "{'torch', 'torchvision', 'torchinfo', 'fvcore', 'numpy'}"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["summary", "--help"], ["flops", "--depth", "19"]])
def test_answers_that_need_no_torch_import_none(arguments: list[str]) -> None:
    done = run(
        code="import sys; from resnet_cli.cli import main; "
        f"main({arguments!r}); print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_completion_imports_no_torch() -> None:
    done = run(
        code="import sys; from resnet_cli.cli import app\n"
        "try: app()\nfinally: print(sys.modules.get('torch'), file=sys.stderr)",
        _RESNET_CLI_COMPLETE="complete_bash",
        COMP_WORDS="resnet-cli summary --arch resnext",
        COMP_CWORD="3",
    )
    assert "None" in done.stderr


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"resnet-cli {__version__}\n"


def test_a_closed_pipe_ends_quietly() -> None:
    pipeline = f"{sys.executable} -m resnet_cli summary --depth 50 --no-fold | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipeline], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout.splitlines() == ["resnet50", "0"]
    assert done.stderr == ""


def test_an_ascii_terminal_gets_ascii() -> None:
    done = run("summary", "--levels", "1", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "11,689,512" in done.stdout
