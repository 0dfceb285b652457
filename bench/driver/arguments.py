"""Kinds of arguments that both commands take."""

import argparse
from collections.abc import Callable, Iterable


def positive(text: str) -> int:
    """A number from 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def names_of(kind: str, known: Iterable[str]) -> Callable[[str], list[str]]:
    """Some of the known names, between commas, in their order of a full run."""
    known = list(known)

    def read(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no {kind}; there are {', '.join(known)}")
        return [name for name in known if name in names]

    return read
