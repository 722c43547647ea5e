"""Failures in the user's code, told in the user's own lines, and what that code prints."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.user_errors import is_users, prints_to_stderr, user_error, users_code


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def function(text: str, file: str = "mine.py") -> Callable[..., Any]:
    """`run` of a file of that text, whose lines Python can show."""
    path = Path(file).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    inside: dict[str, Any] = {}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), inside)
    run: Callable[..., Any] = inside["run"]
    return run


def failure_of(run: Callable[..., Any], *arguments: Any) -> ResnetCliError:
    """What is said of a failure, as if nobody had called `run`."""
    with pytest.raises((Exception, SystemExit)) as caught:
        run(*arguments)
    within = caught.tb.tb_next
    return user_error(caught.value.with_traceback(within), "calling run")


def test_the_innermost_of_the_users_lines_is_named_and_all_of_them_shown() -> None:
    error = failure_of(
        function(
            """\
            def inner(x):
            \treturn len(x)\t# no list

            def run():
                return inner(3)
            """
        )
    )
    assert error.message == "calling run failed: mine.py:2: TypeError: object of type 'int' has no len()"
    assert error.detail == (
        "  mine.py:5 in run\n      return inner(3)\n  mine.py:2 in inner\n      return len(x) # no list"
    )
    assert (error.hint, error.exit_code) == (None, 2)


def test_frames_of_torch_and_of_python_are_left_out() -> None:
    error = failure_of(function("def run(linear, x):\n    return linear(x)\n"), torch.nn.Linear(3, 1), torch.ones(1, 2))
    assert error.message.startswith("calling run failed: mine.py:2: RuntimeError: mat1 and mat2 shapes")
    assert error.detail == "  mine.py:2 in run\n      return linear(x)"
    error = failure_of(function("import json\ndef run():\n    return json.loads('{')\n"))
    assert (error.detail or "").splitlines() == ["  mine.py:3 in run", "      return json.loads('{')"]


def test_a_library_is_shown_only_where_nothing_of_the_users_is() -> None:
    library = function("def run(f=None):\n    return f() if f else 1 / 0\n", "site-packages/lib/library.py")
    assert failure_of(library).message.startswith(
        "calling run failed: site-packages/lib/library.py:2: ZeroDivisionError"
    )
    users = function("def run(library):\n    return library(lambda: 1 / 0)\n")
    assert (failure_of(users, library).detail or "").count("mine.py:2") == 2
    assert "library.py" not in (failure_of(users, library).detail or "")


def test_without_user_frames_no_line_is_shown() -> None:
    error = user_error(ValueError("said"), "loading")
    assert (error.message, error.detail) == ("loading failed: ValueError: said", None)
    error = failure_of(json.loads, "{")
    assert error.message.startswith("calling run failed: JSONDecodeError: ")
    assert error.detail is None


@pytest.mark.parametrize(
    ("filename", "users"),
    [
        ("mine.py", True),
        ("/elsewhere/mine.py", True),
        ("<string>", False),
        ("venv/lib/python3.11/site-packages/timm/x.py", False),
        ("/usr/lib/python3/dist-packages/timm/x.py", False),
        (torch.__file__, False),
        (json.__file__, False),
        (sys.modules["resnet_cli"].__file__, False),
    ],
)
def test_files_of_the_user_and_of_libraries(filename: str, users: bool) -> None:
    assert is_users(filename) is users


def test_a_line_that_does_not_parse_is_shown_wherever_it_is() -> None:
    Path("broken.py").write_text("x = 1\n   def (:\n", encoding="utf-8")
    with pytest.raises(ResnetCliError) as caught, users_code("importing broken"):
        compile(Path("broken.py").read_text(encoding="utf-8"), str(Path("broken.py").absolute()), "exec")
    assert caught.value.message == "importing broken failed: broken.py:2: IndentationError: unexpected indent"
    assert (caught.value.detail or "").endswith("  broken.py:2\n      def (:")


@pytest.mark.parametrize("depth", [8, 9, 10, 30])
def test_of_many_calls_the_first_three_and_the_last_six_are_shown(depth: int) -> None:
    run = function("def run(left):\n    return run(left - 1) if left else 1 / 0\n")
    error = failure_of(run, depth - 1)
    places = [line for line in (error.detail or "").splitlines() if not line.startswith("      ")]
    assert len(places) == min(depth, 10)
    if depth > 9:
        assert places[3] == f"  … {depth - 9} more calls"
    else:
        assert not any("…" in place for place in places)


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        ("ValueError('two\\n  lines')", "ValueError: two lines"),
        ("ValueError()", "ValueError"),
        ("SystemExit(3)", "it calls sys.exit(3)"),
        ("SystemExit('bye\\n')", "it calls sys.exit('bye\\n')"),
        ("KeyError('conv')", "KeyError: 'conv'"),
        ("SyntaxError('mine')", "SyntaxError: mine"),
        ("Silent()", "Silent"),
        ("ValueError('x' * 300)", f"ValueError: {'x' * 300}"),
        ("ValueError('x' * 301)", f"ValueError: {'x' * 299}…"),
    ],
)
def test_an_exception_is_one_line(raised: str, text: str) -> None:
    error = failure_of(
        function(f"class Silent(Exception):\n    def __str__(self): return 1 / 0\ndef run(): raise {raised}\n")
    )
    assert error.message == f"calling run failed: mine.py:3: {text}"


@pytest.mark.parametrize(("name", "package"), [("no_such_thing", "no_such_thing"), ("no_such.thing", "no_such")])
def test_a_package_that_is_missing_is_to_be_installed(name: str, package: str) -> None:
    hint = failure_of(function(f"def run(): import {name}\n")).hint
    assert (hint or "").startswith(f"install {package} ")
    assert failure_of(function("def run(): raise ModuleNotFoundError('so I say')\n")).hint is None


def test_interruptions_pass_through() -> None:
    def running(what: str, run: Callable[[], Any]) -> None:
        with users_code(what):
            run()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running("calling run", interrupted)
    fails = function("def run(): raise ValueError\n")
    with pytest.raises(ResnetCliError, match=r"^calling run failed: mine\.py:1: ValueError$"):
        running("the whole", lambda: running("calling run", fails))
    with pytest.raises(ResnetCliError, match=r"^calling run failed: mine\.py:1: it calls sys\.exit\(0\)$"):
        running("calling run", function("def run(): raise SystemExit(0)\n"))
    # The user's code may import ours, and what it raises is its own all the same.
    theirs = function("from resnet_cli.errors import ResnetCliError\ndef run(): raise ResnetCliError('mine')\n")
    with pytest.raises(ResnetCliError, match=r"^calling run failed: mine\.py:2: ResnetCliError: mine$"):
        running("calling run", theirs)


def test_output_of_user_code_goes_to_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    print("before")
    with prints_to_stderr():
        print("printed")
        os.write(1, b"by a library\n")
    print("after")
    os.write(1, b"and below\n")
    out, err = capfd.readouterr()
    assert sorted(out.split("\n")) == ["", "after", "and below", "before"]
    assert sorted(err.split("\n")) == ["", "by a library", "printed"]


def test_buffered_output_keeps_its_stream(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with open(1, "w", encoding="utf-8", closefd=False) as stream:  # as Python's own is where it is no terminal
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "__stdout__", stream)
        print("before")
        with prints_to_stderr():
            print("by who kept the stream", file=sys.__stdout__)
        print("after")
    assert capfd.readouterr() == ("before\nafter\n", "by who kept the stream\n")


def test_code_that_closes_standard_output_closes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with prints_to_stderr():
        print("before")
        sys.stdout.close()
    print("error", file=sys.stderr)
    print("output")
    assert capsys.readouterr() == ("output\n", "before\nerror\n")
