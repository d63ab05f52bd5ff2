"""Cases that the user describes: by patterns of file names, or in a table."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from passion_components.data.case_names import checked_case_name
from passion_components.data.datalists import PARTS
from passion_components.data.found_cases import FoundCases
from passion_components.data.image_files import ACCEPTED_IMAGES, is_image, split_index
from passion_components.data.words import nearest
from passion_components.datasets import DatasetSpec
from passion_components.modalities import canonical_modality


def parse_patterns(texts: Sequence[str], spec: DatasetSpec) -> dict[str, str]:
    """Patterns by modality or ``label`` from texts like ``t1=*_T1.nii.gz``.

    Raises:
        ValueError: another form, an unknown or repeated name, a pattern without ``*`` or out of the folder.
    """
    patterns: dict[str, str] = {}
    for text in texts:
        name, _, pattern = text.partition("=")
        key = _key(name.strip(), spec)
        if key is None or not pattern:
            accepted = (*spec.modalities, "label")
            raise ValueError(
                f"pattern {text!r}: expected name=pattern with a name among {', '.join(accepted)}"
                f"{nearest(name, accepted)}"
            )
        if key in patterns:
            raise ValueError(f"pattern {text!r}: {key} has a pattern already ({patterns[key]}); expected one for each")
        if "*" not in pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise ValueError(
                f"pattern {text!r}: expected a pattern below the folder with a * for the name of the case, "
                f"like *_T1.nii.gz or */T1.nii.gz"
            )
        patterns[key] = pattern
    if not patterns.keys() - {"label"}:
        raise ValueError(f"patterns: expected at least one of {', '.join(spec.modalities)}")
    return patterns


def find_by_patterns(source: Path, patterns: Mapping[str, str]) -> FoundCases:
    """Cases whose files match ``patterns`` (modality or ``label`` -> pattern); without ``/`` at any depth.

    A case is named by what the ``*`` of the last part with one stand for: ``*_T1.nii.gz`` and ``*/T1.nii.gz`` both find
    P1. Without a pattern for labels the cases have none.

    Raises:
        FileNotFoundError: not one case.
    """
    found = FoundCases()
    files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for key, pattern in patterns.items():
        matches = sorted(source.glob(pattern) if "/" in pattern else source.rglob(pattern))
        if not matches:
            found.notes.append(f"{key}: no file in {source} matches {pattern}")
        for file in matches:
            if is_image(file):
                files[_case_name(file.relative_to(source), pattern)][key].append(file.absolute())
            else:
                found.notes.append(f"{file}: matches the pattern of {key} but is no image; accepted: {ACCEPTED_IMAGES}")
    for case, of_case in files.items():
        found.add(case, of_case, label=patterns.get("label", ""))
    return found.need_cases(source, [f"{key}={pattern}" for key, pattern in patterns.items()])


def find_in_table(path: Path, spec: DatasetSpec) -> FoundCases:
    """Cases of a CSV file with the columns ``case``, any of the modalities, and if wanted ``label`` and ``part``.

    Paths are absolute or relative to the file; an empty cell is an absent sequence.

    Raises:
        FileNotFoundError: not one case.
        ValueError: no such columns, a column that is none, a row without a case, an unknown part.
    """
    found = FoundCases()
    with open(path, encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        keys = _columns(path, table.fieldnames or (), spec)
        rows = list(table)
    names = set()
    for number, row in enumerate(rows, 2):
        values = {keys[column]: (value or "").strip() for column, value in row.items() if column in keys}
        case, part = values.pop("case"), values.pop("part", "")
        if not case or case in names:
            raise ValueError(
                f"{path}: line {number} has {'a case again: ' + case if case else 'no case'}; expected one"
            )
        checked_case_name(case, f"{path}: line {number}")
        if part and part not in PARTS:
            raise ValueError(f"{path}: line {number} has the part {part!r}; accepted: {', '.join(PARTS)}")
        names.add(case)
        files = {key: [str(path.parent.absolute() / value)] for key, value in values.items() if value}
        gone = [file for (file,) in files.values() if not split_index(file)[0].exists()]
        if gone:
            found.notes.append(f"{case}: {gone[0]} does not exist; left out")
            continue
        found.add(case, files)
        if part:
            found.parts[case] = part
    return found.need_cases(path, [f"a row with {', '.join(keys)}"])


def _columns(path: Path, names: Sequence[str], spec: DatasetSpec) -> dict[str, str]:
    """Column -> what it holds."""
    accepted = ("case", *spec.modalities, "label", "part")
    keys = {name: key for name in names if (key := _key(name.strip(), spec, "case", "part"))}
    for name in set(names) - set(keys):
        raise ValueError(f"{path}: unknown column {name!r}{nearest(name, accepted)}; accepted: {', '.join(accepted)}")
    if (
        "case" not in keys.values()
        or len(set(keys.values())) < len(keys)
        or not set(keys.values()) & set(spec.modalities)
    ):
        raise ValueError(f"{path}: expected the columns case and {', '.join(spec.modalities)}, each once, got {names}")
    return keys


def _key(name: str, spec: DatasetSpec, *others: str) -> str | None:
    """The modality that a word spells, ``label``, or one of the others; None for any other word."""
    if name.lower() in ("label", *others):
        return name.lower()
    modality = canonical_modality(name)
    return modality if modality in spec.modalities else None


def _case_name(file: Path, pattern: str) -> str:
    parts = Path(pattern).parts
    for part, name in zip(reversed(parts), reversed(file.parts), strict=False):
        if "*" in part and part != "**":
            expression = "".join(
                {"*": "(.*)", "?": "."}.get(piece, re.escape(piece)) for piece in re.split(r"([*?])", part)
            )
            match = re.fullmatch(expression, name, flags=re.IGNORECASE)
            return "_".join(filter(None, match.groups())) if match else name
    return file.parent.name
