"""Values of options that Typer has no type for. Needs no torch."""

from __future__ import annotations

import math
import re

from resnet_cli.errors import ResnetCliError
from resnet_cli.suggest import nearest, validate_names

MAX_IMAGES = 10**9
MAX_PIXELS = 65_536
MAX_VALUES = 2**48  # in an input; beyond it sizes in bytes no longer fit torch's 64 bits


def input_shape(batch_size: int, in_channels: int, image_size: str) -> tuple[int, int, int, int]:
    """The shape (N, C, H, W) of the input.

    Raises:
        ResnetCliError: not a valid size, or too large an input.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*(?:[xX×,]\s*(\d{1,9})\s*)?", image_size, re.ASCII)
    if match is None:
        raise ResnetCliError(
            f"--image-size {image_size!r} is not a valid size", "use one number, or height x width: 224 or 320x240"
        )
    height, width = int(match[1]), int(match[2] or match[1])
    if not (1 <= height <= MAX_PIXELS and 1 <= width <= MAX_PIXELS):
        raise ResnetCliError(
            f"--image-size {image_size} is out of range", f"use 1 to {MAX_PIXELS:,} pixels for each side"
        )
    if batch_size * in_channels * height * width > MAX_VALUES:
        raise ResnetCliError(
            "--batch-size and --image-size together make an input of over 2**48 values", "make one of them smaller"
        )
    return batch_size, in_channels, height, width


def batch_sizes(text: str, in_channels: int, image_size: str) -> tuple[int, ...]:
    """Batch sizes from a comma-separated list.

    Raises:
        ResnetCliError: one is not valid, or is listed twice.
    """
    sizes: list[int] = []
    for word in map(str.strip, text.split(",")):
        if not (re.fullmatch(r"\d{1,10}", word, re.ASCII) and 1 <= int(word) <= MAX_IMAGES):
            raise ResnetCliError(
                f"--batch-size {text!r}: {word!r} is not a valid batch size",
                "use one number, or several separated by commas: 1,8,32",
            )
        if int(word) in sizes:
            raise ResnetCliError(f"--batch-size {text!r}: {int(word)} is listed twice", "list each size once")
        input_shape(int(word), in_channels, image_size)
        sizes.append(int(word))
    return tuple(sizes)


def checked(option: str, value: str, known: tuple[str, ...]) -> str:
    """A value that has to be one of a few names, in whatever case.

    Raises:
        ResnetCliError: it is none of them; the hint has the closest one.
    """
    lowered = value.strip().lower()
    if lowered in known:
        return lowered
    near = nearest(value.strip(), known)
    hint = f"did you mean {near}? " if near else ""
    raise ResnetCliError(f"{option} {value!r} is not supported", f"{hint}choose one of {', '.join(known)}")


def names(text: str | None) -> tuple[str, ...] | None:
    """The names of a comma-separated list; None stays None."""
    return None if text is None else tuple(word.strip().lower() for word in text.split(",") if word.strip())


def fraction(option: str, text: str, limit: float = 1.0) -> float:
    """A part of the whole: "5%" or "0.05".

    Raises:
        ResnetCliError: it is not a number above 0 and up to the limit.
    """
    match = re.fullmatch(r"\s*(\d{0,9}\.?\d{0,9}(?:[eE]-?\d{1,3})?)\s*(%?)\s*", text, re.ASCII)
    try:
        value = float(match[1]) / (100 if match[2] else 1) if match else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value <= limit:
        raise ResnetCliError(
            f"{option} {text!r} is not a valid percentage", f"use more than 0% and up to {100 * limit:g}%, e.g. 1%"
        )
    return value


def chosen(noun: str, text: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a comma-separated list, in their usual order; all of them for None or "all".

    Raises:
        ResnetCliError: one is unknown or listed twice, or there is none.
    """
    asked = names(text)
    if asked is None or asked == ("all",):
        return known
    validate_names(noun, asked, known)
    return tuple(key for key in known if key in asked)
