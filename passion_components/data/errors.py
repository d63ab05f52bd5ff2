"""What is wrong with one case."""

from __future__ import annotations


class CaseError(ValueError):
    """Something is wrong with one case's files; the others can still be done.

    The message is the line that users see: it starts with the case or the file, then says what was found, what is
    accepted, and how to mend it.
    """
