"""What the texts and numbers of options may be: checks that need no torch."""

from __future__ import annotations

import difflib
import math
import re

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.suggest import validate_names

MOST_IMAGES = 10**9
MOST_PIXELS = 65_536
MOST_SECONDS = 24 * 3600
MOST_SEED = 2**62  # torch takes twice as much, and some parts of a measurement count on from it
MOST_VALUES = 2**48  # in an input; beyond it sizes in bytes no longer fit torch's 64 bits
MOST_THREADS = 4096
MOST_PROCESSES = 1024


def input_shape(batch_size: int, in_channels: int, image_size: str) -> tuple[int, int, int, int]:
    """(N, C, H, W) from the options.

    Raises:
        ResnetCliError: no such batch or image.
    """
    if not 1 <= batch_size <= MOST_IMAGES:
        raise ResnetCliError(f"--batch-size {batch_size}: a batch has 1 to {MOST_IMAGES:,} images", "use 1 or more")
    match = re.fullmatch(r"\s*(\d{1,9})\s*(?:[xX×,]\s*(\d{1,9})\s*)?", image_size, re.ASCII)
    if match is None:
        raise ResnetCliError(
            f"--image-size {printable(image_size)!r} is no size",
            "write one number, or height x width: 224 or 320x240",
        )
    height, width = int(match[1]), int(match[2] or match[1])
    if not (1 <= height <= MOST_PIXELS and 1 <= width <= MOST_PIXELS):
        raise ResnetCliError(
            f"--image-size {printable(image_size)}: a side has 1 to {MOST_PIXELS:,} pixels",
            "224 is what the family is made for",
        )
    if batch_size * in_channels * height * width > MOST_VALUES:
        raise ResnetCliError(
            "--batch-size and --image-size together make an input of over 2**48 values",
            "make one of them smaller",
        )
    return batch_size, in_channels, height, width


def batch_sizes(text: str, in_channels: int, image_size: str) -> tuple[int, ...]:
    """Batch sizes from a list with commas.

    Raises:
        ResnetCliError: one is no size, or there twice, or there is none.
    """
    sizes: list[int] = []
    for word in text.split(","):
        stripped = word.strip()
        if not (stripped.isascii() and stripped.isdecimal() and len(stripped) <= 10):
            raise ResnetCliError(
                f"--batch-size {printable(text)!r}: {printable(stripped)!r} is no number of images",
                "write one number, or several with commas: 1,8,32",
            )
        input_shape(int(stripped), in_channels, image_size)
        if int(stripped) in sizes:
            raise ResnetCliError(f"--batch-size {printable(text)!r}: {int(stripped)} is there twice")
        sizes.append(int(stripped))
    return tuple(sizes)


def within(option: str, value: float | None, most: int, what: str) -> None:
    """Check a number of something.

    Raises:
        ResnetCliError: there cannot be so many.
    """
    if value is None:
        return
    if not (math.isfinite(value) and 0 < value <= most):
        raise ResnetCliError(f"{option} {value:g}: give more than 0 and up to {most:,} {what}")


def checked(option: str, value: str, known: tuple[str, ...]) -> str:
    """A value that has to be one of a few names.

    Raises:
        ResnetCliError: it is none of them; the hint has the nearest one.
    """
    lowered = value.strip().lower()
    if lowered in known:
        return lowered
    near = difflib.get_close_matches(lowered, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ResnetCliError(f"{option} {printable(value)!r} is not known", f"{hint}use one of {', '.join(known)}")


def names(text: str | None) -> tuple[str, ...] | None:
    """A list with commas, as a tuple; None stays None."""
    return None if text is None else tuple(word.strip().lower() for word in text.split(",") if word.strip())


def check_seed(seed: int) -> None:
    """A seed that torch takes.

    Raises:
        ResnetCliError: it does not.
    """
    if not 0 <= seed <= MOST_SEED:
        raise ResnetCliError(f"--seed {seed} is out of range", "give a whole number from 0 to 2**62")


def share(option: str, text: str, most: float = 1.0) -> float:
    """A part of the whole: "5%" or "0.05".

    Raises:
        ResnetCliError: it is none, or not above 0 and up to the most.
    """
    match = re.fullmatch(r"\s*(\d{0,9}\.?\d{0,9}(?:[eE]-?\d{1,3})?)\s*(%?)\s*", text, re.ASCII)
    try:
        value = float(match[1]) / (100 if match[2] else 1) if match else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value <= most:
        raise ResnetCliError(
            f"{option} {printable(text)!r}: give more than 0% and up to {100 * most:g}%", "such as 1% or 0.01"
        )
    return value


def chosen(noun: str, text: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """Names from a list with commas, in their usual order; all of them where nothing is asked for.

    Raises:
        ResnetCliError: one is unknown or there twice, or there is none.
    """
    asked = names(text)
    if asked is None:
        return known
    validate_names(noun, asked, known)
    return tuple(key for key in known if key in asked)
