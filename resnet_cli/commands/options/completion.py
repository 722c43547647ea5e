"""Completion of option values in a shell. Where a function returns nothing, the shell completes file names."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Complete = Callable[[str], list[str]]
Words = Iterable[str] | Callable[[], Iterable[str]]  # or a function that returns them, if that needs an import


def one_of(words: Words) -> Complete:
    """Completes one word."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in _known(words) if word.startswith(incomplete)]

    return complete


def some_of(words: Words) -> Complete:
    """Completes a comma-separated list, each word once."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        used = before.split(",")
        return [f"{before}{comma}{word}" for word in _known(words) if word.startswith(last) and word not in used]

    return complete


def pair_of(words: Words) -> Complete:
    """Completes two different words as A:B."""

    def complete(incomplete: str) -> list[str]:
        known = list(_known(words))
        pairs = (f"{start}:{end}" for start in known for end in known if start != end)
        return [pair for pair in pairs if pair.startswith(incomplete)]

    return complete


def file_or(words: Words) -> Complete:
    """Completes a word once its beginning is typed; before that, and where no word begins like this, a file."""

    def complete(incomplete: str) -> list[str]:
        return one_of(words)(incomplete) if incomplete else []

    return complete


def _known(words: Words) -> Iterable[str]:
    return words() if callable(words) else words
