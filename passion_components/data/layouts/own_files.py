"""Cases that the user describes: by patterns of file names, or in a table."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from passion_components.data.case_names import PARTS, checked_case_name
from passion_components.data.layouts.file_names import named_otherwise, read_name
from passion_components.data.layouts.found_cases import FoundCases
from passion_components.data.reading.image_files import ACCEPTED_IMAGES, images_below, is_image, split_index, stem
from passion_components.data.words import nearest
from passion_components.datasets import DatasetSpec
from passion_components.files import read_text

_FIELD = re.compile(r"\{(\w+)\}")
_MAX_NAMED = 3
_ABSENT = ("", "na", "n/a", "nan", "none", "null", "-")
"""Cells of a table, in lower case, where there is no file: as people, R, BIDS and Python write it."""


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
        _check_pattern(text, pattern)
        patterns[key] = pattern
    if not patterns.keys() - {"label"}:
        raise ValueError(f"patterns: expected at least one of {', '.join(spec.modalities)}")
    return patterns


def find_by_patterns(source: Path, patterns: Mapping[str, str], spec: DatasetSpec) -> FoundCases:
    """Cases whose files match ``patterns`` (modality or ``label`` -> pattern); without ``/`` at any depth.

    A case is named by ``{case}``, or by ``{patient}`` and ``{visit}`` together (``P1_2024``), each standing for any
    letters of one name; without them by the only ``*`` of the last part with one: ``*_T1.nii.gz``, ``*/T1.nii.gz`` and
    ``{case}_AX_T1_*.nii.gz`` all find P1. Scans of one ``{patient}`` get into one part. A file that several
    patterns match belongs to the one with more letters of its own; one whose name says another sequence than
    the pattern (T1 with contrast) is left out and told. Without a pattern for labels the cases have none.

    Raises:
        FileNotFoundError: not one case.
    """
    found = FoundCases()
    keys: dict[Path, str] = {}
    for key, pattern in sorted(patterns.items(), key=lambda entry: -len(_literal(entry[1]))):
        glob = _FIELD.sub("*", pattern)
        matches = sorted(source.glob(glob) if "/" in pattern else source.rglob(glob))
        if not matches:
            found.notes.append(f"{key}: no file in {source} matches {pattern}")
        for file in matches:
            if not is_image(file):
                found.notes.append(f"{file}: matches the pattern of {key} but is no image; accepted: {ACCEPTED_IMAGES}")
            elif file not in keys and _case_name(file.relative_to(source), pattern) is not None:
                keys[file] = key
    asked = {key: read_name(_literal(stem(Path(pattern))), spec).key for key, pattern in patterns.items()}
    files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file, key in keys.items():
        named = named_otherwise(file, key, spec)
        if named not in (None, asked[key]):
            found.notes.append(
                f"{file}: matches the pattern of {key}, but its name says {named}; left out, give {named} a --pattern"
            )
        else:
            case = str(_case_name(file.relative_to(source), patterns[key]))
            files[case][key].append(file.absolute())
            patient = _fields(file.relative_to(source), patterns[key]).get("patient")
            if patient is not None:
                found.patients[case] = patient
    left = [file for file in images_below(source, found.notes) if file not in keys]
    if left:
        names = ", ".join(file.name for file in left[:_MAX_NAMED]) + (", ..." if len(left) > _MAX_NAMED else "")
        found.notes.append(f"{len(left)} images match no pattern and are not used: {names}")
    for case, of_case in files.items():
        found.add(case, of_case, label=patterns.get("label", ""))
    return found.need_cases(source, [f"{key}={pattern}" for key, pattern in patterns.items()])


def find_in_table(path: Path, spec: DatasetSpec) -> FoundCases:
    """Cases of a table with the columns ``case``, any of the modalities, and if wanted ``label`` and ``part``.

    The first line tells whether columns are cut at commas, semicolons or tabs. Paths are absolute or relative to the
    file; a cell that is empty, or says ``NA`` or the like, is an absent sequence. A file whose name says another
    sequence than its column is told.

    Raises:
        FileNotFoundError: not one case.
        ValueError: no text in UTF-8 or UTF-16, no such columns, a column that is none, a row without a case or with
            more cells than there are columns, an unknown part.
    """
    found = FoundCases()
    text = read_text(path)
    cut = max(",;\t", key=text.strip().partition("\n")[0].count)
    table = csv.reader(io.StringIO(text), delimiter=cut, strict=True)
    try:
        rows = [(table.line_num, [cell.strip() for cell in row]) for row in table]
    except csv.Error as error:
        raise ValueError(f"{path}: is no valid CSV ({error}); is a quote opened that nothing closes?") from None
    (_, columns), *rows = [(number, row) for number, row in rows if any(row)] or [(0, [])]
    keys = _columns(path, columns, {index for _, row in rows for index, cell in enumerate(row) if cell}, spec)
    names = set()
    for number, row in rows:
        if any(row[len(columns) :]):
            raise ValueError(
                f"{path}: line {number} has {len(row)} cells, but there are {len(columns)} columns; expected no more: "
                f"put quotes around a cell that holds a {'tab' if cut == chr(9) else cut!r}"
            )
        values = {key: row[index] for index, key in keys.items() if index < len(row)}
        case, part = values.pop("case", ""), values.pop("part", "")
        if not case or case in names:
            raise ValueError(
                f"{path}: line {number} has {'a case again: ' + case if case else 'no case'}; expected one"
            )
        checked_case_name(case, f"{path}: line {number}")
        if part and part not in PARTS:
            raise ValueError(f"{path}: line {number} has the part {part!r}; accepted: {', '.join(PARTS)}")
        names.add(case)
        files = {
            key: [str(path.parent.absolute() / value)] for key, value in values.items() if value.lower() not in _ABSENT
        }
        gone = [file for (file,) in files.values() if not split_index(file)[0].exists()]
        if gone:
            found.notes.append(f"{case}: {gone[0]} does not exist; left out")
            continue
        for key, (file,) in files.items():
            if named := named_otherwise(split_index(file)[0], key, spec):
                found.notes.append(
                    f"{case}: {file} is in the column of {key}, but its name says {named}; used as {key}"
                )
        found.add(case, files)
        if part:
            found.parts[case] = part
    return found.need_cases(path, [f"a row with {', '.join(keys.values())}"])


def _columns(path: Path, names: Sequence[str], filled: Collection[int], spec: DatasetSpec) -> dict[int, str]:
    """Number of a column -> what it holds; without those that have neither a name nor, not being ``filled``, a cell."""
    accepted = ("case", *spec.modalities, "label", "part")
    keys: dict[int, str] = {}
    for index, name in enumerate(names):
        key = _key(name, spec, "case", "part")
        if key is not None:
            keys[index] = key
        elif name or index in filled:
            which = f"unknown column {name!r}{nearest(name, accepted)}" if name else f"column {index + 1} has no name"
            raise ValueError(f"{path}: {which}; accepted: {', '.join(accepted)}")
    held = list(keys.values())
    if "case" not in held or len(set(held)) < len(held) or not set(held) & set(spec.modalities):
        got = ", ".join(names) or "none"
        raise ValueError(f"{path}: expected the columns case and {', '.join(spec.modalities)}, each once, got {got}")
    return keys


def _key(name: str, spec: DatasetSpec, *others: str) -> str | None:
    """The modality that a word spells, ``label`` for a word of label maps, or one of the others; None: any other."""
    if name.lower() in ("label", *others):
        return name.lower()
    read = read_name(name, spec)
    return None if read.beginning else read.key


def _check_pattern(text: str, pattern: str) -> None:
    """Refuse a pattern that does not say what the name of a case is."""
    fields = set(_FIELD.findall(pattern))
    if not fields and "*" not in pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ValueError(
            f"pattern {text!r}: expected a pattern below the folder with a * or {{case}} for the name of the case, "
            f"like *_T1.nii.gz or {{case}}/T1.nii.gz"
        )
    if fields - {"case", "patient", "visit"} or fields == {"visit"} or fields > {"case"}:
        raise ValueError(f"pattern {text!r}: accepted are {{case}}, or {{patient}} with or without {{visit}}")
    stars = next((part.count("*") for part in reversed(Path(pattern).parts) if "*" in part and part != "**"), 0)
    if not fields and stars > 1:
        first = pattern.rpartition("/")[0] + "/" if "/" in pattern else ""
        raise ValueError(
            f"pattern {text!r}: which * is the case? write {{case}} for it, "
            f"like {first}{pattern[len(first) :].replace('*', '{case}', 1)}"
        )


def _literal(pattern: str) -> str:
    """What a pattern says itself, without its fields and wildcards."""
    return re.sub(r"[*?]", "", _FIELD.sub("", pattern))


def _case_name(file: Path, pattern: str) -> str | None:
    """The name of the case that a file matched by ``pattern`` belongs to; None where its fields contradict."""
    if _FIELD.search(pattern):
        values = _fields(file, pattern)
        return "_".join(values[name].strip() for name in ("case", "patient", "visit") if name in values) or None
    for part, name in zip(reversed(Path(pattern).parts), reversed(file.parts), strict=False):
        if "*" in part and part != "**":
            match = _expression(part).fullmatch(name)
            return match[1].strip() if match and match[1] else name
    return file.parent.name


def _fields(file: Path, pattern: str) -> dict[str, str]:
    """What the fields of a pattern stand for in a file that it matches."""
    match = _expression(pattern).fullmatch(file.as_posix() if "/" in pattern else file.name)
    return match.groupdict() if match else {}


def _expression(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression, a field that comes again standing for the same letters."""
    seen: set[str] = set()
    pieces = []
    for piece in re.split(r"(\{\w+\}|\*\*/|[*?]|\[!?[^\]/]+\])", pattern):
        field = _FIELD.fullmatch(piece)
        if field and field[1] in seen:
            pieces.append(f"(?P={field[1]})")
        elif field:
            seen.add(field[1])
            pieces.append(f"(?P<{field[1]}>[^/]+?)")
        elif among := re.fullmatch(r"\[(!?)(.+)\]", piece):
            letters = re.sub(r"([\\^\[])", r"\\\1", among[2])
            pieces.append(f"[{among[1] and '^'}{letters}]")
        else:
            pieces.append({"*": "([^/]*)", "?": "[^/]", "**/": "(?:.*/)?"}.get(piece, re.escape(piece)))
    return re.compile("".join(pieces), re.IGNORECASE | re.DOTALL)
