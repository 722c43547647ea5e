"""What a shell offers when the tab key is pressed. Whatever offers nothing here is completed as the name of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Complete = Callable[[str], list[str]]
Words = Iterable[str] | Callable[[], Iterable[str]]  # or where they come from, if that has to be imported


def one_of(words: Words) -> Complete:
    """One word."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in _known(words) if word.startswith(incomplete)]

    return complete


def some_of(words: Words) -> Complete:
    """A list with commas, each word once."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{word}" for word in _known(words) if word.startswith(last) and word not in taken]

    return complete


def pair_of(words: Words) -> Complete:
    """Two different words as FROM:TO."""

    def complete(incomplete: str) -> list[str]:
        known = list(_known(words))
        pairs = (f"{start}:{end}" for start in known for end in known if start != end)
        return [pair for pair in pairs if pair.startswith(incomplete)]

    return complete


def file_or(words: Words) -> Complete:
    """A word once its beginning is there; before that, and where none begins like this, a file."""

    def complete(incomplete: str) -> list[str]:
        return one_of(words)(incomplete) if incomplete else []

    return complete


def _known(words: Words) -> Iterable[str]:
    return words() if callable(words) else words
