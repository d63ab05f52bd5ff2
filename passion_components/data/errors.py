"""What is wrong with one case."""

from __future__ import annotations

from collections.abc import Iterable


class CaseError(ValueError):
    """Something is wrong with one case's files; the others can still be done.

    The message is the line that users see: it starts with the case or the file, then says what was found, what is
    accepted, and how to mend it.
    """


def by(numbers: Iterable[object]) -> str:
    """Sizes as messages tell them: ``240 x 240 x 155``."""
    return " x ".join(map(str, numbers))
