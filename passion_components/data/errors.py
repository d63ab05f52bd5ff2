"""Errors that are told to the user in one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_NO_MEMORY = re.compile(
    r"DefaultCPUAllocator: |\bMemoryError: |_ArrayMemoryError: "
    r"|Storage size calculation overflowed|array is too big"
)
_BYTES = re.compile(r"tried to allocate (\d+) bytes")
_AMOUNT = re.compile(r"allocate ([\d.]+ \w+)")


class UserError(ValueError):
    """Something the user can fix; the message is one line that says what was found and what to do."""


class CaseError(UserError):
    """Something is wrong with one case's files; the others can still be done.

    The message is the line that users see: it starts with the case or the file, then says what was found, what is
    accepted, and how to fix it.
    """


def by(numbers: Iterable[object]) -> str:
    """Sizes as messages tell them: ``240 x 240 x 155``."""
    return " x ".join(map(str, numbers))


def chain(error: BaseException, *, contexts: bool = False) -> Iterator[BaseException]:
    """An exception, then what caused it, down to the first cause; with ``contexts`` also what was being handled."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (cause.__context__ if contexts and not cause.__suppress_context__ else None)


def memory_wanted(error: BaseException) -> str | None:
    """``" for 3.2 GiB more"``, or "" where the amount is not told, if an exception says that memory ran out."""
    for cause in chain(error):
        text = str(cause)
        if not isinstance(cause, MemoryError) and not _NO_MEMORY.search(text):
            continue
        amount = _BYTES.search(text)
        if amount:
            return f" for {int(amount[1]) / 2**30:.1f} GiB more"
        amount = _AMOUNT.search(text)
        return f" for {amount[1]} more" if amount else ""
    return None
