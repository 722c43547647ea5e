"""Faults in our own code, one at a time, and whether tests see them.

    python tests/tools/mutation_testing.py MODULE [TEST ...]

    python tests/tools/mutation_testing.py network/torchvision_names.py tests/network/test_torchvision_names.py
    python tests/tools/mutation_testing.py measure/parity/tensor_error.py --most 40

Run by hand, since a module takes minutes. Without tests, those of the file that is named like the module are run. Each
fault is tried in a fork of a process that has imported everything, by giving one function other code; what runs at
import (constants, signatures, decorators) stays as it is. Texts stay too: golden files and people look after those.

Why no tool for it: mutmut puts a wrapper in the place of every method, which is not whole yet when torch calls a class
method of its modes as they are made; cosmic-ray starts a process, and imports torch, for every fault.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import inspect
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 10  # times as long as the tests take without a fault; then one that loops is found

Edit = Callable[[Any], ast.AST]
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
CALLED = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "startswith": "endswith"}


@dataclass(frozen=True)
class Mutant:
    """A fault: where it stands and what it does."""

    line: int
    text: str
    function: tuple[str, ...]  # its name, after those of the classes around it
    place: int  # of the node, among all of the module
    edit: Edit

    def compiled(self, source: str, path: Path) -> CodeType:
        """The module with the fault."""
        tree = ast.parse(source)
        node = next(one for index, one in enumerate(ast.walk(tree)) if index == self.place)
        return compile(ast.fix_missing_locations(_Replaced(node, self.edit).visit(tree)), str(path), "exec")


def set_to(field: str, value: object) -> Edit:
    """An edit that changes one field of a node."""

    def edit(node: Any) -> ast.AST:
        setattr(node, field, value)
        return node  # type: ignore[no-any-return]

    return edit


def without(field: str, index: int) -> Edit:
    """An edit that takes one of several out."""

    def edit(node: Any) -> ast.AST:
        left = getattr(node, field)
        left.pop(index)
        return left[0] if isinstance(node, ast.BoolOp) and len(left) == 1 else node  # type: ignore[no-any-return]

    return edit


def negated(node: Any) -> ast.AST:
    """An edit that asks the opposite."""
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return node  # type: ignore[no-any-return]


def edits(node: ast.AST) -> Iterator[tuple[str, Edit]]:  # noqa: PLR0912  # a case for each kind of node
    """What can be wrong with one node, a word each."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARED:
            other = COMPARED[type(operator)]
            yield f"{other.__name__} for {type(operator).__name__}", set_to("ops", [other()])
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in COMPUTED:
            yield f"{COMPUTED[type(op)].__name__} for {type(op).__name__}", set_to("op", COMPUTED[type(op)]())
        case ast.BoolOp(values=values):
            yield from ((f"without operand {index + 1}", without("values", index)) for index in range(len(values)))
        case ast.UnaryOp(op=ast.Not()):
            yield "without not", lambda node: ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
        case ast.UnaryOp(op=ast.USub()):
            yield "without minus", lambda node: node.operand
        case ast.Constant(value=bool() as value):
            yield f"{not value} for {value}", set_to("value", not value)
        case ast.Constant(value=int() | float() as value):
            yield f"{value + 1} for {value}", set_to("value", value + 1)
        case ast.Call(func=ast.Name(id=name)) if name in CALLED:
            yield f"{CALLED[name]} for {name}", set_to("func", ast.Name(CALLED[name], ast.Load()))
        case ast.If() | ast.IfExp() | ast.While():
            yield "condition negated", negated
        case ast.comprehension(ifs=[_, *_]):
            yield "without its first condition", without("ifs", 0)
        case ast.Return(value=ast.expr()):
            yield "returns None", set_to("value", ast.Constant(None))
        case ast.Continue():
            yield "break for continue", lambda _: ast.Break()
        case ast.Break():
            yield "continue for break", lambda _: ast.Continue()
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            yield "left out", lambda _: ast.Pass()
    if isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield f"without {keyword.arg}=", without("keywords", index)


class _Replaced(ast.NodeTransformer):
    def __init__(self, place: ast.AST, edit: Edit) -> None:
        self.place, self.edit = place, edit

    def visit(self, node: ast.AST) -> Any:
        return ast.copy_location(self.edit(node), node) if node is self.place else self.generic_visit(node)


def functions(tree: ast.AST, around: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ast.FunctionDef]]:
    """The functions of a module and the methods of its classes; those inside of functions belong to them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from functions(node, (*around, node.name))
        elif isinstance(node, ast.FunctionDef):
            yield (*around, node.name), node


def inside(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of its body that do something when it runs: no annotations and no texts of errors."""
    left: list[ast.AST] = list(reversed(function.body))
    while left:
        node = left.pop()
        yield node
        children = ast.iter_child_nodes(node) if not isinstance(node, ast.Raise | ast.JoinedStr) else iter(())
        skipped = {id(getattr(node, field, None)) for field in ("annotation", "returns")}
        left += reversed([child for child in children if id(child) not in skipped])


def mutants(source: str) -> Iterator[Mutant]:
    """All faults of a module."""
    tree = ast.parse(source)
    places = {id(node): index for index, node in enumerate(ast.walk(tree))}
    for name, function in functions(tree):
        line = function.lineno
        for node in inside(function):
            line = getattr(node, "lineno", line)
            for text, edit in edits(node):
                yield Mutant(line, text, name, places[id(node)], edit)


def code_of(module: CodeType, function: tuple[str, ...]) -> CodeType | None:
    """The code of a function within that of its module; None where two have one name."""
    code = module
    for name in function:
        found = [one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name]
        if len(found) != 1:
            return None
        code = found[0]
    return code


def function_of(module: Any, names: tuple[str, ...]) -> FunctionType | None:
    """The function itself, from under its decorators."""
    found = module
    for name in names:
        found = vars(found).get(name)
    for field in ("__func__", "fget", "func"):  # of static and class methods, properties, cached properties
        found = getattr(found, field, found)
    function = inspect.unwrap(found)
    return function if isinstance(function, FunctionType) else None


class Runner:
    """A plugin of pytest that runs the collected tests once for each fault, in a fork."""

    def __init__(self, path: Path, most: int, seed: int) -> None:
        self.path, self.most, self.seed = path, most, seed
        self.say = os.fdopen(os.dup(1), "w")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of the tests alone."""
        begin = time.monotonic()
        if self._in_a_fork(session, None, None, 600) != 0:
            print("the tests fail without any fault", file=self.say, flush=True)
            session.testsfailed = 1
            return True
        limit = 10 + PATIENCE * (time.monotonic() - begin)
        name = ".".join(self.path.relative_to(ROOT).with_suffix("").parts)
        module, source = importlib.import_module(name), self.path.read_text(encoding="utf-8")
        every = list(mutants(source))
        chosen = sorted(random.Random(self.seed).sample(range(len(every)), min(self.most, len(every))))
        tried = survived = 0
        for mutant in (every[index] for index in chosen):
            code = code_of(mutant.compiled(source, self.path), mutant.function)
            function = function_of(module, mutant.function)
            if code is None or function is None or code.co_freevars != function.__code__.co_freevars:
                continue
            tried += 1
            if self._in_a_fork(session, function, code, limit) == 0:
                survived += 1
                text = source.splitlines()[mutant.line - 1].strip()
                print(f"{self.path.name}:{mutant.line}: {mutant.text}: {text}", file=self.say, flush=True)
        print(f"{name}: {tried - survived} of {tried} killed, of {len(every)} there are", file=self.say, flush=True)
        return True

    def _in_a_fork(
        self, session: pytest.Session, function: FunctionType | None, code: CodeType | None, limit: float
    ) -> int | None:
        """The exit code of all tests up to the first that fails; None where they never end."""
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(limit))
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            failed = 1
            with contextlib.suppress(BaseException):
                if function is not None and code is not None:
                    function.__code__ = code
                for item, after in zip(session.items, [*session.items[1:], None], strict=True):
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                    if session.testsfailed:
                        break
                failed = session.testsfailed
            os._exit(1 if failed else 0)
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what it has started
        return os.waitstatus_to_exitcode(status)


def main() -> int:
    """What the command line says; exit code 1 where the tests fail on their own."""
    parser = argparse.ArgumentParser(description="Faults in a module, and whether tests see them.")
    parser.add_argument("module", help="below resnet_cli: measure/parity/tensor_error.py")
    parser.add_argument("tests", nargs="*", help="files or node ids of pytest")
    parser.add_argument("--most", type=int, default=100, help="faults to try; a sample where there are more")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    given = parser.parse_args()
    path = ROOT / "resnet_cli" / given.module
    tests = given.tests or [str(one) for one in (ROOT / "tests").rglob(f"test_{path.stem}.py")]
    if not path.is_file() or not tests:
        parser.error(f"there is no {path}" if tests else f"there are no tests of {path.stem}: name some")
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    plain = ["-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return int(pytest.main([*plain, *tests], plugins=[Runner(path, given.most, given.seed)]))


if __name__ == "__main__":
    sys.exit(main())
