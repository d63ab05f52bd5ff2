"""Names of cases and of parts. A case's becomes that of folders and files, so not every text can be one."""

from __future__ import annotations

import unicodedata

PARTS = ("training", "validation", "test")
"""What a data set is divided into."""

MAX_BYTES = 180
"""Longest name, in UTF-8: file systems take 255, and ``_flair+t1ce+t1+t2_seg.nii.gz`` and the like are added."""

_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


def checked_case_name(name: str, where: str) -> str:
    """The name itself, if a folder and files of an output folder can bear it.

    Spaces, brackets and the letters of every language can stand in a name.

    Args:
        name: of a case.
        where: what the name comes from; errors begin with it.

    Raises:
        ValueError: in one line: an empty name, ``.`` or ``..``, a separator of folders, a control character or half of
            a surrogate pair, a leading dash, white space at an end, more than :data:`MAX_BYTES` bytes.
    """
    problem = _problem_of(name)
    if problem is None:
        return name
    shown = ascii(name if len(name) <= MAX_BYTES else f"{name[:40]}...")
    raise ValueError(
        f"{where}: {shown} cannot name a case, {problem}; expected a name that a folder can have, like P1 or sub-01"
    )


def _problem_of(name: str) -> str | None:
    if name in ("", ".", ".."):
        return "it names no folder of its own"
    if "/" in name or "\\" in name:
        return "it holds a separator of folders"
    if any(unicodedata.category(letter) in _UNPRINTABLE for letter in name):
        return "it holds a control character or bytes that are no UTF-8"
    if name.startswith("-"):
        return "it begins with a dash, as options do"
    if name != name.strip():
        return "it begins or ends with white space"
    if len(name.encode()) > MAX_BYTES:
        return f"it takes {len(name.encode())} bytes of at most {MAX_BYTES}"
    return None
