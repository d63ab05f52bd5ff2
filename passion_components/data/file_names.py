"""What a name says: the one reader of names, for files, DICOM folders, channels and columns of every command."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from passion_components.data.image_files import stem
from passion_components.datasets import DatasetSpec, roles, spelling, vocabulary

CONTRAST_WORDS = ("post", "gd", "ce", "c", "+c", "c+", "gad", "gado", "gadolinium", "contrast", "postcontrast")
NATIVE_WORDS = ("pre", "native", "precontrast", "noncontrast")
TECHNIQUE_WORDS = ("ax", "axial", "sag", "sagittal", "cor", "coronal", "tra", "3d", "2d")

_NOT = ("no", "non", "without", "wo", "pre", "before")
_OTHER_POST = ("op", "operative", "surgery", "surgical", "treatment", "therapy", "rt")
_NEXT_TO_SEQUENCE = ("c", "ce", "pre", "native")
_BIDS = re.compile(r"(sub-[^_]+(?:_ses-[^_]+)?)_.+")


@dataclass(frozen=True)
class ReadName:
    """A name in its parts.

    Attributes:
        key: the sequence, ``label``, or None.
        beginning: what stands before the words that say so, which is the name of a case; it may be empty.
        problem: why ``key`` is None, in words; else empty.
        has_sequence: whether the name has a word of a sequence or of contrast: a scan is lost if it is not used.
    """

    key: str | None
    beginning: str
    problem: str
    has_sequence: bool

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
        and not read_name(folder, spec).has_sequence
    ):
        inner = read_name(name[len(folder) + 1 :], spec)
        beginning = f"{name[: len(folder)]}{name[len(folder)]}{inner.beginning}" if inner.beginning else folder
        bids = _BIDS.fullmatch(name)
        return ReadName(inner.key, bids[1] if bids else beginning, inner.problem, inner.has_sequence)
    return read_name(name, spec)


def read_name(name: str, spec: DatasetSpec) -> ReadName:
    """Sequence or label map that a name without ending tells, and what it begins with.

    The name is cut into words at ``_``, ``-``, ``.`` and spaces; a spelling of several words stays in one piece. Its
    last word must be a spelling of a sequence, a word of contrast beside one, or one for label maps, as the data set
    has them. A word of contrast anywhere makes T1 t1ce; T2 with FLAIR is FLAIR. What names two other sequences, or a
    sequence and a label map, is not guessed.
    """
    role_of, of_role = vocabulary(spec), roles(spec)
    label_words = {spelling(word) for word in spec.label_words}
    pieces = _pieces(name, role_of.keys() | label_words)
    words = [spelling(word) for word, _ in pieces]
    sequences = [
        role if (role := role_of.get(word)) in of_role or index == len(words) - 1 else None
        for index, word in enumerate(words)
    ]
    contrast = [_contrast_at(words, sequences, index) for index in range(len(words))]
    is_label = bool(words) and words[-1] in label_words
    key, problem = _decide(
        {name for name in sequences if name}, contrast, is_label, bool(words and sequences[-1]), of_role
    )
    first = len(words)
    while first and (
        sequences[first - 1]
        or contrast[first - 1] is not None
        or words[first - 1] in (*TECHNIQUE_WORDS, *NATIVE_WORDS)
        or (words[first - 1] in _NOT and first < len(words) and contrast[first] is False)
        or (first == len(words) and is_label)
    ):
        first -= 1
    start = pieces[first][1] if first < len(pieces) else len(name)
    if first < len(words) and set(words[first:]) <= {*TECHNIQUE_WORDS}:
        start = len(name)
    bids = _BIDS.fullmatch(name)
    beginning = bids[1] if bids else name[:start].rstrip("_-. ")
    return ReadName(key, beginning, problem, any(sequences) or True in contrast)


def _pieces(name: str, known: Collection[str]) -> list[tuple[str, int]]:
    """Words of a name and where they begin; a known spelling of several words, joined by ``_``, is one."""
    single = list(re.finditer(r"[^_\-. ]+", name))
    longest = max((word.count("_") for word in known), default=0)
    pieces, first = [], 0
    while first < len(single):
        ends = range(min(first + longest, len(single) - 1), first, -1)
        joined = (last for last in ends if spelling(name[single[first].start() : single[last].end()]) in known)
        last = next(joined, first)
        pieces.append((name[single[first].start() : single[last].end()], single[first].start()))
        first = last + 1
    return pieces


def _contrast_at(words: Sequence[str], sequences: Sequence[str | None], index: int) -> bool | None:
    """Whether a word says contrast (True) or its absence (False); None: neither."""
    beside = any(sequences[max(index - 1, 0) : index + 2])
    word, after = words[index], words[index + 1 : index + 2]
    if word in _NEXT_TO_SEQUENCE and not beside and not (word == "ce" and after and after[0] in CONTRAST_WORDS):
        return None
    if word in NATIVE_WORDS:
        return None if after and after[0] in CONTRAST_WORDS else False
    if word not in CONTRAST_WORDS or (word == "post" and after and after[0] in _OTHER_POST):
        return None
    return not (index and words[index - 1] in _NOT)


def _decide(
    found: set[str], contrast: Sequence[bool | None], is_label: bool, ends_in_one: bool, of_role: Mapping[str, str]
) -> tuple[str | None, str]:
    """The modality that is named by roles, or why that is not clear; ``of_role`` names modalities by role."""
    if found == {"t2", "flair"}:
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
    if not ends_in_one and contrast[-1] is None:
        return None, f"names {together}, but ends in another word"
    if role not in of_role:
        return None, f"{role} is none of {', '.join(of_role.values())}"
    return of_role[role], ""
