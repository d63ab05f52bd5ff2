"""Presence of training cases from split files of PASSION's released code, read as text, never executed."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from passion_components.modalities import PUBLISHED_MODALITIES

_MASK = re.compile(r"\[\s*(?:True|False)(?:\s*,\s*(?:True|False))*\s*\]")


def read_released_masks(path: Path | str) -> dict[str, tuple[bool, ...]]:
    """What each case of a split file of the released code has, in the order flair, t1ce, t1, t2.

    Args:
        path: a CSV with the columns ``data_name`` and ``mask``, a mask being ``[True, False, True, True]``. Names lose
            the prefix ``HG_`` or ``LG_``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file without these columns, a mask of another form, a case that is listed twice with other masks.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a split file (CSV) of PASSION's released code")
    masks: dict[str, tuple[bool, ...]] = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if not {"data_name", "mask"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path}: expected the columns data_name and mask, got {', '.join(rows.fieldnames or ())}")
        for line, row in enumerate(rows, 2):
            text = (row["mask"] or "").strip()
            mask = tuple(word == "True" for word in re.findall("True|False", text))
            if not _MASK.fullmatch(text) or len(mask) != len(PUBLISHED_MODALITIES) or not any(mask):
                raise ValueError(
                    f"{path}, line {line}: mask {text!r}; expected {len(PUBLISHED_MODALITIES)} values for "
                    f"{', '.join(PUBLISHED_MODALITIES)}, like [True, False, True, True], at least one True"
                )
            name = re.sub(r"^[HL]G_", "", row["data_name"].strip())
            if masks.setdefault(name, mask) != mask:
                raise ValueError(f"{path}, line {line}: {name} is listed twice, with different masks; keep one")
    return masks


def presence_from_masks(
    masks: Mapping[str, tuple[bool, ...]], cases: Sequence[Mapping[str, str]], modalities: Sequence[str]
) -> np.ndarray:
    """What training cases keep, bool (N, M), in the order of ``modalities``.

    Raises:
        ValueError: other modalities than those of the split files, a case without mask, or one that would keep nothing.
    """
    if set(modalities) != set(PUBLISHED_MODALITIES):
        raise ValueError(
            f"split files of PASSION's released code are of {', '.join(PUBLISHED_MODALITIES)}, this data set has "
            f"{', '.join(modalities)}"
        )
    unlisted = [case["case"] for case in cases if case["case"] not in masks]
    if unlisted:
        raise ValueError(
            f"{len(unlisted)} training cases have no mask, first {', '.join(unlisted[:3])}; expected names like "
            f"{', '.join(list(masks)[:2])}: split the datalist as the released code does, or rename"
        )
    columns = [PUBLISHED_MODALITIES.index(name) for name in modalities]
    rows = [
        [masks[case["case"]][column] and name in case for column, name in zip(columns, modalities, strict=True)]
        for case in cases
    ]
    presence = np.array(rows, dtype=bool)
    if not presence.any(1).all():
        case = cases[np.flatnonzero(~presence.any(1))[0]]["case"]
        raise ValueError(f"{case} would keep no sequence; it has none of those that its mask keeps")
    return presence
