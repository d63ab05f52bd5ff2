"""What a name says: the one reader of names, for files, DICOM folders, channels and columns of every command."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from passion_components.data.layouts.name_words import (
    UNENHANCED,
    contrast_said,
    is_agent,
    plain_entities,
    starts_at,
    unclear,
)
from passion_components.data.reading.image_files import stem
from passion_components.datasets import DatasetSpec, roles, spelling, vocabulary

_T2_FLAIR = {"t2", "flair"}
"""Together they name FLAIR, whichever of them a data set has."""
_LESIONS = ("tumor", "tumour", "lesion")
_OTHER_MASKS = ("brain", "skull", "head", "bet")
_BRACKETS = "()[]{}"
_WORD = re.compile(r"((?<![^_. ])-)?[^_\-. ]+(-(?![^_. ]))?")
"""A minus belongs to the word that it stands at, if to one alone: ``T1_KM-``, ``T1 -C``."""
_CONVERTED = re.compile(r"(.+)_(\d{14})_\d+[a-z]?")
_BIDS = re.compile(r"(sub-[^_]+(?:_ses-[^_]+)?)_(.+)")


@dataclass(frozen=True)
class ReadName:
    """A name in its parts.

    Attributes:
        key: the sequence, ``label``, or None.
        beginning: what stands before the words that say so, which is the name of a case; it may be empty.
        problem: why ``key`` is None, in words; else empty.
        has_sequence: whether the name has a word of a sequence or of contrast.
        header: of a DICOM series that was told by its header, what that says; else empty.
    """

    key: str | None
    beginning: str
    problem: str
    has_sequence: bool
    header: str = ""

    @property
    def is_scan(self) -> bool:
        """Whether ``key`` is a sequence."""
        return self.key not in (None, "label")


def read_file_name(path: Path, spec: DatasetSpec) -> ReadName:
    """As :func:`read_name`; the name of the file's folder, where the file's begins with it, names the case only."""
    name, folder = stem(path), path.parent.name
    if (
        len(folder) < len(name)
        and name.lower().startswith(folder.lower())
        and name[len(folder)] in "_-. "
        and not _BIDS.fullmatch(name)
        and not _names_sequence(folder, spec)
    ):
        inner = read_name(name[len(folder) + 1 :], spec)
        beginning = f"{name[: len(folder)]}{name[len(folder)]}{inner.beginning}" if inner.beginning else folder
        return replace(inner, beginning=beginning)
    return read_name(name, spec)


def named_otherwise(path: Path, key: str, spec: DatasetSpec) -> str | None:
    """The other sequence, or ``label``, that the name of a file of a sequence says; None: no other.

    A label map may be named like the scan that it was drawn on.
    """
    named = read_file_name(path, spec).key
    return named if key != "label" and named != key else None


def read_name(name: str, spec: DatasetSpec) -> ReadName:
    """Sequence or label map that a name without ending tells, and what it begins with.

    The name is cut into words at ``_``, ``-``, ``.`` and spaces; a spelling of several words stays in one piece, and
    brackets around words do not matter. It must end in a spelling of a sequence, which words of technique or of
    contrast may follow, or in a word for label maps, as the data set has them. A word of contrast anywhere makes T1
    t1ce, unless a minus is at it (``T1_KM-``); T2 with FLAIR is FLAIR. What names two other sequences, or a sequence
    and a label map, is not guessed. Of a name of BIDS, subject and session say nothing of the sequence; of one by
    dcm2niix (``P1_t1_20240131120000_5``), the time belongs to the beginning.
    """
    bids = _BIDS.fullmatch(name)
    if bids:
        return replace(read_name(plain_entities(bids[2]), spec), beginning=bids[1])
    converted = _CONVERTED.fullmatch(name)
    if converted:
        read = read_name(converted[1], spec)
        return replace(read, beginning="_".join(filter(None, (read.beginning, converted[2]))))
    role_of, of_role = vocabulary(spec), roles(spec)
    label_words = {spelling(word) for word in spec.label_words}
    pieces = _pieces(name, role_of.keys() | label_words)
    words = [_plain(word) for word, _ in pieces]
    spelt = [role_of.get(word) for word in words]
    counted = of_role.keys() | (_T2_FLAIR if set(spelt) >= _T2_FLAIR else set())
    sequences = [role if role in counted or index == len(words) - 1 else None for index, role in enumerate(spelt)]
    contrast = contrast_said(words, sequences)
    is_label = bool(words) and words[-1] in label_words
    of_label = range(len(words) - 1 - (words[-2:-1] != [] and words[-2] in _LESIONS), len(words)) if is_label else ()
    marks = ["label" if index in of_label else sequence for index, sequence in enumerate(sequences)]
    start = starts_at(words, marks, contrast)
    key, problem = _decide({name for name in sequences if name}, contrast, is_label, start < len(words), of_role)
    if key == "label" and set(words[-2:]) & set(_OTHER_MASKS):
        key, problem = None, f"is a map of the {words[-2]}"
    elif key not in (None, "label") and any(word in label_words and not is_agent(word) for word in words[:start]):
        key, problem = None, f"names {key} and a label map"
    elif key != "label" and (why := unclear(words, sequences, start)):
        key, problem = None, why
    beginning = name[: pieces[start][1]].rstrip("_-. ") if start < len(words) else name
    return ReadName(key, beginning, problem, any(sequences) or True in contrast)


def _names_sequence(folder: str, spec: DatasetSpec) -> bool:
    """Whether a word of a folder's name spells a sequence; ``P1_post`` and the initials ``KM`` are names of cases."""
    role_of, of_role = vocabulary(spec), roles(spec)
    return any(role_of.get(_plain(word)) in of_role for word, _ in _pieces(folder, role_of))


def described_roles(text: str, spec: DatasetSpec) -> tuple[set[str], bool | None]:
    """Roles of the sequences that a description in free words names, and whether it says contrast; None: it does not.

    T1 with a word of contrast is t1ce.
    """
    role_of = vocabulary(spec)
    words = [_plain(word) for word, _ in _pieces(re.sub(r"[^\w+*.-]", " ", text), role_of.keys())]
    sequences = [role_of.get(word) for word in words]
    found, contrast = {role for role in sequences if role}, contrast_said(words, sequences)
    with_contrast = "t1ce" in found or True in contrast
    if found & {"t1", "t1ce"} and with_contrast:
        found = found - {"t1"} | {"t1ce"}
    return found, True if with_contrast else False if False in contrast else None


def _pieces(name: str, known: Collection[str]) -> list[tuple[str, int]]:
    """Words of a name and where they begin; a known spelling of several words, joined by ``_``, is one."""
    single = list(_WORD.finditer(name))
    longest = max((word.count("_") for word in known), default=0)
    pieces, first = [], 0
    while first < len(single):
        ends = range(min(first + longest, len(single) - 1), first, -1)
        joined = (last for last in ends if _plain(name[single[first].start() : single[last].end()]) in known)
        last = next(joined, first)
        pieces.append((name[single[first].start() : single[last].end()], single[first].start()))
        first = last + 1
    return pieces


def _plain(word: str) -> str:
    """A word as it is compared; one of contrast with a minus is the word for its absence."""
    spelt = spelling(unicodedata.normalize("NFC", word)).strip(_BRACKETS)
    plain = spelt.strip("_")
    return UNENHANCED if plain != spelt and is_agent(plain) else plain


def _decide(
    found: set[str], contrast: Sequence[bool | None], is_label: bool, ends_so: bool, of_role: Mapping[str, str]
) -> tuple[str | None, str]:
    """The modality that is named by roles, or why that is not clear; ``of_role`` names modalities by role."""
    if found == _T2_FLAIR:
        found = {"flair"}
    if found and found <= {"t1", "t1ce"} and (True in contrast or "t1ce" in found):
        if False in contrast:
            return None, "says both with and without contrast"
        found = {"t1ce"}
    together = " and ".join(sorted(of_role.get(role, role) for role in found))
    if is_label:
        return (None, f"names {together} and a label map") if found else ("label", "")
    if len(found) > 1:
        return None, f"names {together}"
    if not found:
        return None, "names no sequence"
    (role,) = found
    if not ends_so:
        return None, f"names {together}, but ends in another word"
    if role not in of_role:
        return None, f"{role} is none of {', '.join(of_role.values())}"
    return of_role[role], ""
