"""Errors that are told to the user in one line."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can mend; the message is one line that says what was found and what to do."""


class CaseError(UserError):
    """Something is wrong with one case's files; the others can still be done.

    The message is the line that users see: it starts with the case or the file, then says what was found, what is
    accepted, and how to mend it.
    """


def by(numbers: Iterable[object]) -> str:
    """Sizes as messages tell them: ``240 x 240 x 155``."""
    return " x ".join(map(str, numbers))
