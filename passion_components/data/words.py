"""What users type: numbers by name, and words that may be misspelt."""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches


def parse_numbers(text: str, what: str, example: str) -> dict[str, float]:
    """Numbers by name from ``a=0.7,b=.1``; ``what`` and ``example`` are named in errors.

    Raises:
        ValueError: an item that is not ``name=number``, or a name that occurs twice.
    """
    numbers: dict[str, float] = {}
    for item in text.split(","):
        name, _, value = (word.strip() for word in item.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or not math.isfinite(number):
            raise ValueError(f"{what} {text!r}: {item.strip()!r} is not name=number; write it like {example}")
        if name in numbers:
            raise ValueError(f"{what} {text!r}: {name} occurs twice")
        numbers[name] = number
    return numbers


def nearest(word: str, accepted: Iterable[str]) -> str:
    """``" (did you mean x?)"`` where one of the accepted words resembles ``word``, else nothing."""
    close = get_close_matches(word.lower(), list(accepted), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
