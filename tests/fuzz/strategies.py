"""Command lines of every command, made from the options that the app itself declares."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import typer
from hypothesis import strategies as st

from resnet_cli.assertions import quantities
from resnet_cli.cli import app
from resnet_cli.commands.options import DTYPES
from resnet_cli.commands.report import MEASUREMENTS
from resnet_cli.measure.cost.conventions import keys
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.network.architectures import DEPTHS, FAMILY, STEMS
from resnet_cli.render.charts import CHARTS
from resnet_cli.render.formats import RESULT_FORMATS
from resnet_cli.render.pages import PAGES
from resnet_cli.results.compare import CHECKS
from tests.fuzz.sandbox import DEVICES, NOWHERE, PLACES


@dataclass(frozen=True)
class Option:
    names: tuple[str, ...]  # all ways to write it, --no-x among them; none for an argument
    takes_value: bool
    required: bool
    metavar: str

    @property
    def key(self) -> str:
        """Its long name; of an argument its metavar."""
        return next((each for each in self.names if each.startswith("--")), self.metavar)

    @property
    def is_path(self) -> bool:
        """Whether its value names a file."""
        return "FILE" in self.metavar or self.metavar == "SRC"


@functools.cache
def commands() -> dict[str, tuple[Option, ...]]:
    """Every command of the app, with its options and arguments."""
    found: dict[str, tuple[Option, ...]] = {}
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        found[name] = tuple(
            Option(
                names=(*each.opts, *each.secondary_opts) if each.param_type_name == "option" else (),
                takes_value=not getattr(each, "is_flag", False),
                required=bool(each.required),
                metavar=str(each.metavar),
            )
            for each in command.params
        )
    return found


def argv_text(**options: Any) -> st.SearchStrategy[str]:
    """What a shell can hand over: no NUL, and of surrogates those that stand for bytes that are no UTF-8."""
    ordinary = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    bytes_alone = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
    return st.text(st.one_of(ordinary, ordinary, ordinary, bytes_alone), **options)


HOSTILE = st.sampled_from([
    "", " ", "\t", "\n", "-", "--", "=", ":", ",", ",,,", "%", "\x1b[2J", "\x1b]0;pwned\x07", "\x9b31m", "\u202eabc",
    "\u200b", "\ud55c\uae00", "\udcff", "e\u0301" * 40, "[/x]", ":x:", "[bold]", "%s%n", "{0}", "$(id)", "'; --", "NaN",
    "nan", "inf", "-inf", "1e999", "-1", "-0", "0", "0.0", "1e-400", "1.5", "1_000", "\u0663", "\u00b2", "9" * 40,
    "-" + "9" * 40, "9" * 5000, "0x10", "1e3", "None", "null", "true", "*", "..", "/", "a" * 5000, "\\", '"', "'",
])  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, 300).map(str),
    st.integers().map(str),
    st.sampled_from([2**31, 2**31 - 1, 2**32, 2**48, 2**63, 2**63 - 1, 2**64, -(2**63), 10**9, 65536, 65537]).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
)
PATHS = st.sampled_from([*PLACES, *DEVICES, *NOWHERE])


def _lists(words: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(words), min_size=1, max_size=3).map(",".join)


SECTIONS = {kind: spec.sections for kind, spec in PAGES.items() if spec.sections}
# Values that a person would give. An option that is not here gets all the others, so a new one is tried as well.
SOUND: dict[str, st.SearchStrategy[str]] = {
    "--depth": st.sampled_from(DEPTHS).map(str),
    "--arch": st.sampled_from([*FAMILY, "ResNet-50"]),
    "--repeat": st.sampled_from(["2,2,2,2", "1,1,1,1", "3,4,6,3"]),
    "--model": st.sampled_from(["net.py:Net", "net.py:Net", "net.py:wrong"]),
    "--model-args": st.sampled_from(["{}", '{"num_classes": 10}', '{"num_classes": -1}', '{"x": [NaN]}']),
    "--device": st.sampled_from(["auto", "cpu", "cuda:3"]),
    "--batch-size": st.sampled_from(["1", "2", "8"]),
    "--image-size": st.sampled_from(["32", "64x48", "224"]),
    "--in-channels": st.sampled_from(["1", "3"]),
    "--num-classes": st.sampled_from(["1", "10", "1000"]),
    "--stem": st.sampled_from(STEMS),
    "--dtype": st.sampled_from(DTYPES),
    "--mode": st.sampled_from(["inference", "train"]),
    "--seed": st.sampled_from(["0", "7"]),
    "--levels": st.sampled_from(["1", "2", "9"]),
    "--columns": _lists(PAGES["summary"].column_names()),
    "--checks": _lists(CHECKS),
    "--levers": _lists(tuple(OPTIMIZATIONS)),
    "--walk": st.tuples(st.sampled_from(keys()), st.sampled_from(keys())).map(":".join),
    "--assert": st.tuples(
        st.sampled_from([*quantities("summary"), *quantities("flops")]),
        st.sampled_from(["<=", "<", "==", ">"]),
        st.sampled_from(["1", "4.2G", "1e30"]),
    ).map("".join),
    "--format": st.sampled_from(RESULT_FORMATS),
    "--output": st.sampled_from(["new.json", "new.csv", "new.md", "new.svg", "new.txt", "saved.json", "link", "-",
                                 "dangling", "readonly.json", "/dev/null", "new.pth", "new.safetensors"]),
    "--save": st.sampled_from(["new.json", "saved.json"]),
    "--save-map": st.sampled_from(["new.toml", "map.toml"]),
    "--save-expect": st.sampled_from(["new.toml", "intended.toml"]),
    "--baseline": st.just("bench.json"),
    "--fail-above": st.sampled_from(["5%", "0.1"]),
    "--ci-width": st.sampled_from(["1%", "0.05"]),
    "--max-time": st.sampled_from(["0.1", "20"]),
    "--threads": st.sampled_from(["1", "2"]),
    "--nproc": st.sampled_from(["1", "2"]),
    "--against": st.sampled_from(["torchvision", "self", "resnet18"]),
    "--weights": st.sampled_from(["weights.pth", "../resnet18.safetensors", "IMAGENET1K_V1"]),
    "--image": st.just("photo.png"),
    "--map": st.just("map.toml"),
    "--expect": st.just("intended.toml"),
    "--to": st.sampled_from(["resnet-cli", "torchvision"]),
    "--rtol": st.just("1e-5"),
    "--atol": st.just("0.1"),
    "--chart": st.sampled_from([*CHARTS]),
    "--measure": st.one_of(_lists(MEASUREMENTS), st.just("all")),
    "FILE": st.sampled_from(["saved.json", "bench.json"]),
    "SRC": st.sampled_from(["weights.pth", "../resnet18.safetensors"]),
}  # fmt: skip


ANYTHING = st.one_of(HOSTILE, NUMBERS, PATHS, argv_text(max_size=20))
# How much of a line is out of the ordinary: a line that is all nonsense gets no further than its first option.
PLANS = ("nothing",) * 5 + ("a path",) * 2 + ("one value",) * 3 + ("every value", "a stray word")


# Where an option means something else from command to command.
SOUND_OF: dict[tuple[str, str], st.SearchStrategy[str]] = {
    **{(name, "--show"): _lists(parts) for name, parts in SECTIONS.items()},
    ("convert", "--output"): st.sampled_from(["new.pth", "new.safetensors", "weights.pth", "weights.safetensors"]),
    ("report", "--format"): st.sampled_from(["html", "svg", "png", "json"]),
    ("report", "--output"): st.sampled_from(["new.html", "new.svg", "new.png", "new.json", "saved.json", "-"]),
    ("compare-torchvision", "--batch-size"): st.sampled_from(["2", "3"]),
}
# An option that says nothing without another one.
COMPANIONS = {"--model-args": "--model", "--image": "--weights", "--fail-above": "--baseline"}


def _sound(command: str, option: Option) -> st.SearchStrategy[str]:
    return SOUND_OF.get((command, option.key), SOUND.get(option.key, ANYTHING))


def _with_companions(chosen: list[Option], options: tuple[Option, ...]) -> list[Option]:
    asked = {option.key for option in chosen}
    missing = {COMPANIONS[key] for key in asked & COMPANIONS.keys()} - asked
    return [*chosen, *(option for option in options if option.key in missing)]


@st.composite
def command_lines(draw: st.DrawFn, command: str) -> list[str]:
    """A command with any of its options, in any order and spelling, now and then with what it does not know."""
    options = commands()[command]
    plan = draw(st.sampled_from(PLANS))
    needed = [option for option in options if option.required]
    free = [option for option in options if not option.required]
    chosen = [*needed, *draw(st.lists(st.sampled_from(free), max_size=5, unique=plan != "every value"))]
    if plan != "every value":
        chosen = _with_companions(chosen, options)
    elif needed and draw(st.sampled_from(["all", "not all"])) == "not all":
        chosen.remove(needed[0])
    chosen = list(draw(st.permutations(chosen)))
    odd = next(
        (i for i, option in enumerate(chosen) if option.takes_value and (plan != "a path" or option.is_path)), -1
    )
    line = [command]
    for index, option in enumerate(chosen):
        strange = plan == "every value" or (index == odd and plan in ("a path", "one value"))
        given = draw((PATHS if plan == "a path" else ANYTHING) if strange else _sound(command, option))
        line += _written(option, given, draw(st.sampled_from(option.names or ("",))), draw(st.booleans()))
    if plan == "a stray word":
        line.append(draw(st.one_of(HOSTILE, argv_text(max_size=10), st.just("--help"))))
    return line


def _written(option: Option, given: str, name: str, joined: bool) -> list[str]:
    if not option.takes_value:
        return [name]
    if not name:
        return [given]
    return [f"{name}={given}"] if joined and name.startswith("--") else [name, given]


# What an option that names a file needs around it for the file to be looked at.
AROUND = {"--image": ["--weights", "weights.pth"], "convert": ["../resnet18.safetensors", "-o", "new.pth"]}


def path_lines(command: str, key: str, places: Iterable[str]) -> Iterator[list[str]]:
    """An option that names a file, with each of these places."""
    option = next(option for option in commands()[command] if option.key == key)
    around = [] if option.required else AROUND.get(key, AROUND.get(command, []))
    if option.required:  # of two that are needed, the other one is sound
        around = ["../resnet18.safetensors"] if option.names else ["-o", "new.pth"]
    for place in places:
        yield [command, *around, *([f"{key}={place}"] if option.names else ["--", place])]
