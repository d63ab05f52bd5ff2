"""Words in names of scans that say how a sequence was taken: with or without contrast agent, by which technique."""

from __future__ import annotations

import re
from collections.abc import Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# these may stand before a sequence, the other techniques only after it: pat_se_t1 is of the case pat_se
_ORIENTATIONS = ("ax", "axial", "sag", "sagittal", "cor", "coronal", "tra", "3d", "2d")

_TECHNIQUES = _words("""trans transversal transverse sax mpr iso tse fse se ir space cube vista fs fatsat weighted w
    with mit after nach con avec dopo apres après com met + propeller blade multivane frfse mprage tfe bravo spgr fspgr
    vibe thrive gre ffe flash tirm""")
_NO_T2 = ("tirm", "mprage", "tfe", "bravo", "spgr", "fspgr", "vibe", "thrive", "gre", "ffe", "flash")
_OTHER_SEQUENCES = _words("dwi swi adc pd dti asl dsc dce perfusion bold map sub subtraction star stir")

_CONTRAST = _words("""post gd ce c gad gado gadolinium contrast postcontrast enhanced enh postgd postgad postkm km mdc
    kontrast kontrastmittel contraste contrasto gadolinio injection injecte injecté inj 增强 增強 造影
    gadovist gadavist dotarem magnevist omniscan prohance multihance clariscan""")
_ALSO_VISITS = ("post", "contrast", "postcontrast")
_NATIVE = _words("pre native nativ precontrast noncontrast nonenhanced unenhanced pregd pregad prekm nongd nce nonce")
UNENHANCED = "unenhanced"
"""Stands for every word of contrast with a minus."""
_NOT = _words("no non not without wo w/o pre before ohne vor sans senza sin sem zonder bez uden uten utan")
_AFTER_WHAT = _words("""op operative surgery surgical treatment therapy rt radiation radiotherapy chemo chemotherapy
    resection biopsy""")
_BIDS_AGENT = re.compile(r"(^|_)ce-(?!none|no|non|pre|without)[^_]+", re.IGNORECASE)
_BIDS_SPACE = re.compile(r"(^|_)space-[^_]+", re.IGNORECASE)
_LOOKS_LIKE_SCAN = re.compile(r"t[12](?!\d)|flair|mp2?rage|tirm|dark.?fluid|bssfp|lge", re.IGNORECASE)


def looks_like_scan(name: str) -> bool:
    """Whether letters of a sequence are in a name, though perhaps not as a word: ``T1MPRAGE``, ``postT1``."""
    return _LOOKS_LIKE_SCAN.search(name) is not None


def plain_entities(name: str) -> str:
    """A name of BIDS with ``ce-<any agent>`` as ``contrast``, and without ``space-T1w``, which names another scan."""
    return _BIDS_SPACE.sub("", _BIDS_AGENT.sub(r"\1contrast", name)).lstrip("_")


def contrast_said(words: Sequence[str], sequences: Sequence[str | None]) -> list[bool | None]:
    """Whether each word says contrast (True) or its absence (False); None: neither.

    Args:
        words: of a name, in lower case.
        sequences: which sequence each word spells.
    """
    return [_contrast_at(words, sequences, index) for index in range(len(words))]


def _contrast_at(words: Sequence[str], sequences: Sequence[str | None], index: int) -> bool | None:
    word, after, before = words[index], words[index + 1 : index + 2], words[max(index - 2, 0) : index]
    agent_follows = bool(after) and is_agent(after[0])
    if word in _NATIVE:
        after_agent = bool(before) and is_agent(before[-1])
        beside = after_agent or any(_neighbours(words, sequences, index)) or word not in ("pre", "native")
        return False if beside and not agent_follows else None
    if not is_agent(word) or (word == "post" and after and after[0] in _AFTER_WHAT):
        return None
    sequence_before, sequence_after = _neighbours(words, sequences, index)
    if word in ("c", "ce") and not (sequence_before or sequence_after or (word == "ce" and agent_follows)):
        return None
    if sequence_after not in (None, "t1", "t1ce") and not sequence_before and word not in _ALSO_VISITS:
        return None  # KM_flair is of the case KM
    return not (before and (before[-1] in _NOT or before == ["w", "o"]))


def is_agent(word: str) -> bool:
    """Whether a word, in lower case, says contrast."""
    return (word.strip("+") or word) in _CONTRAST


def _neighbours(words: Sequence[str], sequences: Sequence[str | None], index: int) -> tuple[str | None, str | None]:
    """The sequences that the words before and after one spell, techniques passed over."""
    sides = (range(index - 1, -1, -1), range(index + 1, len(words)))
    nearest = (next((each for each in side if not _is_technique(words[each])), None) for side in sides)
    before, after = (None if each is None else sequences[each] for each in nearest)
    return before, after


def _is_technique(word: str) -> bool:
    return word in _ORIENTATIONS or word in _TECHNIQUES


def starts_at(words: Sequence[str], sequences: Sequence[str | None], contrast: Sequence[bool | None]) -> int:
    """Index of the first of the words at the end of a name that all say which scan it is; len(words): none does."""
    first, last_sequence = len(words), -1
    for index in range(len(words) - 1, -1, -1):
        says = (
            sequences[index] is not None
            or contrast[index] is not None
            or words[index] in (*_ORIENTATIONS, *_NATIVE)
            or (words[index] in (*_NOT, "w", "o") and False in contrast[index + 1 : index + 3])
            or (words[index] in _TECHNIQUES and any(sequences[:index]))
        )
        if not says:
            break
        first = index
        last_sequence = max(last_sequence, index if sequences[index] or contrast[index] is not None else -1)
    return first if last_sequence >= 0 else len(words)


def unclear(words: Sequence[str], sequences: Sequence[str | None], start: int) -> str:
    """Why words beside a known sequence, or between two, leave open what a scan is; else empty.

    Args:
        words: of a name, in lower case.
        sequences: which sequence each word spells.
        start: as of :func:`starts_at`.
    """
    places = [index for index, sequence in enumerate(sequences) if sequence]
    found = sorted({str(sequences[index]) for index in places})
    if len(found) > 1 and places[0] < start:
        return f"names {' and '.join(found)}"
    for index in places:
        for word in (*words[max(index - 1, 0) : index], *words[index + 1 : index + 2]):
            if (word in _OTHER_SEQUENCES and found != ["flair"]) or (word in _NO_T2 and found == ["t2"]):
                return f"names {' and '.join(found)} and {word}"
        before = words[index - 1 : index] if index > 1 else []
        if before == ["c"] and not _is_technique(words[index - 2]) and sequences[index] == "t1":
            return "says C before T1, which may be contrast or of the case's name; write T1_C or T1"
    return ""
