"""What a name says: the one reader of names, for files, DICOM folders, channels and columns of every command."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from passion_components.data.image_files import stem
from passion_components.modalities import canonical_modality

LABEL_WORDS = ("seg", "segm", "gd", "label", "mask")
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


def read_file_name(path: Path, modalities: Sequence[str]) -> ReadName:
    """As :func:`read_name`; the name of the file's folder, where the file's begins with it, names the case only."""
    name, folder = stem(path), path.parent.name
    if (
        len(folder) < len(name)
        and name.lower().startswith(folder.lower())
        and name[len(folder)] in "_-. "
        and not read_name(folder, modalities).has_sequence
    ):
        inner = read_name(name[len(folder) + 1 :], modalities)
        beginning = f"{name[: len(folder)]}{name[len(folder)]}{inner.beginning}" if inner.beginning else folder
        bids = _BIDS.fullmatch(name)
        return ReadName(inner.key, bids[1] if bids else beginning, inner.problem, inner.has_sequence)
    return read_name(name, modalities)


def read_name(name: str, modalities: Sequence[str]) -> ReadName:
    """Sequence or label map that a name without ending tells, and what it begins with.

    The name is cut into words at ``_``, ``-``, ``.`` and spaces. Its last word must be a spelling of a sequence
    (:data:`passion_components.modalities.ALIASES`), a word of contrast beside one, or one of ``LABEL_WORDS``. A word
    of contrast anywhere makes T1 t1ce; T2 with FLAIR is FLAIR. What names two other sequences, or a sequence and a
    label map, is not guessed. ``gd`` is a label map (of MyoPS2020) only where the data set has no t1ce.
    """
    pieces = [(match[0], match.start()) for match in re.finditer(r"[^_\-. ]+", name)]
    words = [word.lower() for word, _ in pieces]
    sequences = [_sequence_at(words, index, modalities) for index in range(len(words))]
    contrast = [_contrast_at(words, sequences, index) for index in range(len(words))]
    is_label = bool(words) and words[-1] in LABEL_WORDS and not (words[-1] == "gd" and "t1ce" in modalities)
    key, problem = _decide({name for name in sequences if name}, contrast, is_label, words, modalities)
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


def _sequence_at(words: Sequence[str], index: int, modalities: Sequence[str]) -> str | None:
    """The sequence that a word spells; before the last word only those of the data set count."""
    sequence = canonical_modality(words[index])
    return sequence if sequence in modalities or index == len(words) - 1 else None


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
    found: set[str], contrast: Sequence[bool | None], is_label: bool, words: Sequence[str], modalities: Sequence[str]
) -> tuple[str | None, str]:
    """What is named, or why that is not clear."""
    if found == {"t2", "flair"}:
        found = {"flair"}
    if found and found <= {"t1", "t1ce"} and (True in contrast or "t1ce" in found):
        if False in contrast:
            return None, "says both with and without contrast"
        found = {"t1ce"}
    together = " and ".join(sorted(found))
    if is_label:
        return (None, f"names {together} and a label map") if found else ("label", "")
    if len(found) > 1:
        return None, f"names {together}"
    if not found:
        return None, "names no sequence"
    (sequence,) = found
    if canonical_modality(words[-1]) is None and contrast[-1] is None:
        return None, f"names {together}, but ends in another word"
    if sequence not in modalities:
        return None, f"{sequence} is none of {', '.join(modalities)}"
    return sequence, ""
