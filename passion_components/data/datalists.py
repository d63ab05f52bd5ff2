"""Datalists: which cases a data set has, which files they consist of, and to which part they belong.

``{"training": [...], "validation": [...], "test": [...]}``; a case is ``{"case": "P1", "flair": "P1/flair.nii.gz",
"label": "P1/seg.nii.gz"}``. No key means that the sequence is absent. Paths are absolute or relative to the datalist.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch

from passion_components.files import write_atomically
from passion_components.modalities import canonical_modality

PARTS = ("training", "validation", "test")
DEFAULT_SPLIT: Mapping[str, float] = {"training": 0.7, "validation": 0.1, "test": 0.2}


def load_datalist(path: Path | str, part: str, modalities: Sequence[str]) -> list[dict[str, str]]:
    """Cases of one part.

    Args:
        path: the JSON file.
        part: ``training``, ``validation`` or ``test``; it may be empty.
        modalities: names of the data set's sequences.

    Returns:
        Per case ``case`` and, where the case has them, absolute paths under the modalities' names and ``label``.

    Raises:
        FileNotFoundError: no such datalist.
        ValueError: anything in it that is not as described above, in one line.
    """
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r} of a datalist; accepted: {', '.join(PARTS)}")
    content = _read(path)
    if part not in content:
        found = ", ".join(name for name in PARTS if name in content) or "none"
        raise ValueError(f"{path}: has no part {part!r}; parts found: {found}; an empty part is written as []")
    return _cases_of(path, part, content[part], modalities)


def load_parts(path: Path | str, modalities: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """Cases of every part that the datalist has, each as of :func:`load_datalist`.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_datalist`; a datalist without any part.
    """
    content = _read(path)
    parts = {part: _cases_of(path, part, content[part], modalities) for part in PARTS if part in content}
    if not parts:
        raise ValueError(f"{path}: has none of the parts {', '.join(PARTS)}")
    return parts


def write_datalist(path: Path | str, parts: Mapping[str, Iterable[Mapping[str, str]]]) -> Path:
    """Write a datalist; files below its folder are written relative to it, others absolute. Returns its path."""
    path = Path(path)
    folder = path.parent.absolute()

    def portable(file: str) -> str:
        absolute = Path(os.path.abspath(file))
        return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else str(absolute)

    content = {
        part: [{key: value if key == "case" else portable(value) for key, value in case.items()} for case in cases]
        for part, cases in parts.items()
    }
    text = json.dumps(content, indent=2) + "\n"

    def write(file: Path) -> None:
        file.write_text(text, encoding="utf-8")

    write_atomically(path, write)
    return path


def new_datalist(folder: Path) -> Path:
    """Where the datalist of a folder goes that has none yet.

    Raises:
        ValueError: it has one.
    """
    path = folder / "datalist.json"
    if path.exists():
        raise ValueError(f"{path}: exists already; remove it first, or name another folder")
    return path


def parse_split(text: str) -> dict[str, float]:
    """Shares by part from ``training=0.7,validation=0.1,test=0.2``.

    Raises:
        ValueError: text of another form, or shares as refused by :func:`split_cases`.
    """
    shares = parse_numbers(text, "split", "training=0.7,validation=0.1,test=0.2")
    _check_shares(shares)
    return shares


def split_cases(
    cases: Sequence[Mapping[str, str]], shares: Mapping[str, float], seed: int
) -> dict[str, list[Mapping[str, str]]]:
    """Distribute whole cases over the parts at random.

    Sizes of the parts follow the shares by largest remainder. The outcome depends on names, shares and seed, not on the
    order of ``cases``; within a part cases are sorted by name.

    Args:
        cases: each with a ``case`` of its own.
        shares: by part; they add up to 1, a part that is not named is empty.
        seed: of the draw.

    Raises:
        ValueError: an unknown part, a negative share, shares that do not add up to 1, a case name that occurs twice.
    """
    _check_shares(shares)
    ordered = sorted(cases, key=lambda case: case["case"])
    for one, other in zip(ordered, ordered[1:], strict=False):
        if one["case"] == other["case"]:
            raise ValueError(f"case {one['case']!r} occurs twice; expected every case once")
    sizes = largest_remainder([shares.get(part, 0.0) for part in PARTS], len(ordered))
    part_of_case = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(PARTS)), sizes))
    return {
        part: [case for case, where in zip(ordered, part_of_case, strict=True) if where == index]
        for index, part in enumerate(PARTS)
    }


def split_by_stratum(
    cases: Sequence[Mapping[str, str]],
    shares: Mapping[str, float],
    seed: int,
    *,
    stratum: Callable[[Mapping[str, str]], str],
) -> dict[str, list[Mapping[str, str]]]:
    """As :func:`split_cases`, with every part drawing from all strata (say, institutions) in proportion.

    Cases are lined up stratum by stratum, in random order within each, and dealt out in a fixed rhythm: part sizes over
    all cases are those of :func:`split_cases`, and in each stratum they are off by about one case at most.

    Raises:
        ValueError: as :func:`split_cases`.
    """
    sizes = {part: len(of_part) for part, of_part in split_cases(cases, shares, seed).items()}
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(cases))
    ordered = sorted(cases, key=lambda case: case["case"])
    line = sorted((ordered[index] for index in order), key=stratum)
    slots = sorted(((k + 0.5) / size, part) for part, size in sizes.items() for k in range(size))
    turn = int(rng.integers(len(slots))) if slots else 0
    dealt = [part for _, part in slots[turn:] + slots[:turn]]
    return {
        part: sorted(
            (case for case, where in zip(line, dealt, strict=True) if where == part), key=lambda case: case["case"]
        )
        for part in PARTS
    }


def force_into_parts(
    cases: Sequence[Mapping[str, str]], forced: Mapping[str, str]
) -> tuple[list[Mapping[str, str]], dict[str, list[Mapping[str, str]]]]:
    """Take cases out of the draw: what is left to be split, and by part the cases that ``forced`` (case -> part) names.

    Raises:
        ValueError: a name that is no case.
    """
    names = [case["case"] for case in cases]
    for name, part in forced.items():
        if name not in names:
            near = get_close_matches(name, names, n=3, cutoff=0.3)
            raise ValueError(f"{part} {name!r}: no such case; did you mean {' or '.join(near) or 'one of the source'}?")
    fixed = {part: [case for case in cases if forced.get(case["case"]) == part] for part in PARTS}
    return [case for case in cases if case["case"] not in forced], fixed


def largest_remainder(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers that add up to ``total`` in the proportions of ``shares``, which add up to 1.

    Each share gets its product with ``total`` rounded down; what is left goes to the largest fractions, the first of
    equal ones before the others.
    """
    exact = [share * total for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    by_fraction = sorted(range(len(exact)), key=lambda i: round(counts[i] - exact[i], 9))
    for index in by_fraction[: total - sum(counts)]:
        counts[index] += 1
    return counts


def presence_table(cases: Sequence[Mapping[str, str]], modalities: Sequence[str]) -> torch.Tensor:
    """Which case has which modality: bool tensor of shape (N, M)."""
    rows = [[name in case for name in modalities] for case in cases]
    return torch.tensor(rows, dtype=torch.bool).reshape(len(rows), len(modalities))


def missing_rates(path: Path | str, modalities: Sequence[str]) -> dict[str, float]:
    """Share of the training cases that lack each modality (MR_m of the paper), as realised in a datalist.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_datalist`; no training case at all, or none that has a modality.
    """
    cases = load_datalist(path, "training", modalities)
    if not cases:
        raise ValueError(f"{path}: part 'training' is empty; expected at least one case")
    rates = (~presence_table(cases, modalities)).double().mean(0).tolist()
    for name, rate in zip(modalities, rates, strict=True):
        if rate == 1:
            raise ValueError(f"{path}: no case of part 'training' has {name}; expected at least one for every sequence")
    return dict(zip(modalities, rates, strict=True))


def datalist_hash(path: Path | str) -> str:
    """SHA-256 of what a datalist says: parts, cases in their order, keys and file names.

    Folders are left out, so the hash stays when the data or the datalist move.

    Raises:
        FileNotFoundError, ValueError: no such file, or one that cannot be read as a datalist.
    """
    content = _read(path)
    said = {
        part: [
            {key: Path(value).name if key != "case" else value for key, value in case.items() if isinstance(value, str)}
            for case in _entries(path, part, content[part])
        ]
        for part in PARTS
        if part in content
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def check_files_exist(cases: Iterable[Mapping[str, str]]) -> None:
    """Raise FileNotFoundError for the first file of the cases that is not there, naming case, key and file."""
    for case in cases:
        for key, file in case.items():
            if key != "case" and not Path(file).is_file():
                raise FileNotFoundError(
                    f"case {case['case']!r}: {key} is listed as {file}, which does not exist; "
                    f"correct the path in the datalist, or leave {key} out where the case lacks it"
                )


def parse_numbers(text: str, what: str, example: str) -> dict[str, float]:
    """Numbers by name from ``a=0.7,b=.1``; ``what`` and ``example`` are named in errors.

    Raises:
        ValueError: an item that is not ``name=number``, or a name that occurs twice.
    """
    numbers: dict[str, float] = {}
    for item in text.split(","):
        name, _, value = (word.strip() for word in item.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or not math.isfinite(number):
            raise ValueError(f"{what} {text!r}: {item.strip()!r} is not name=number; write it like {example}")
        if name in numbers:
            raise ValueError(f"{what} {text!r}: {name} occurs twice")
        numbers[name] = number
    return numbers


def nearest(word: str, accepted: Iterable[str]) -> str:
    """``" (did you mean x?)"`` where one of the accepted words resembles ``word``, else nothing."""
    close = get_close_matches(word.lower(), list(accepted), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _check_shares(shares: Mapping[str, float]) -> None:
    for part, share in shares.items():
        if part not in PARTS:
            raise ValueError(f"split: unknown part {part!r}{nearest(part, PARTS)}; accepted: {', '.join(PARTS)}")
        if share < 0:
            raise ValueError(f"split: the share of {part} is {share:g}; expected 0 to 1")
    total = sum(shares.values())
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise ValueError(f"split: the shares add up to {total:g}; expected 1")


def _read(path: Path | str) -> dict[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: no such datalist; make one with `passion prepare` or `passion phantom`"
        ) from None
    except IsADirectoryError:
        raise ValueError(f"{path}: is a folder; expected a datalist, a JSON file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not a text file; expected a datalist in JSON") from None
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is not valid JSON: {error.msg} in line {error.lineno}") from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected an object with the parts {', '.join(PARTS)}, got a {type(content).__name__}"
        )
    return content


def _entries(path: Path | str, part: str, entries: Any) -> list[dict[str, Any]]:
    """The part as a list of objects that each have a name of their own."""
    if not isinstance(entries, list):
        raise ValueError(f"{path}: part {part!r} must be a list of cases, got a {type(entries).__name__}")
    names: set[str] = set()
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not isinstance(entry.get("case"), str) or not entry["case"]:
            raise ValueError(f'{path}: entry {number} of part {part!r} has no name; expected {{"case": "...", ...}}')
        if entry["case"] in names:
            raise ValueError(f"{path}: case {entry['case']!r} occurs twice in part {part!r}; expected every case once")
        names.add(entry["case"])
    return entries


def _cases_of(path: Path | str, part: str, entries: Any, modalities: Sequence[str]) -> list[dict[str, str]]:
    folder = Path(path).absolute().parent
    cases = []
    for entry in _entries(path, part, entries):
        where = f"{path}: case {entry['case']!r}"
        _check_keys(where, entry, modalities)
        files = {key: os.path.abspath(folder / entry[key]) for key in (*modalities, "label") if key in entry}
        if not files.keys() & set(modalities):
            raise ValueError(f"{where} has no modality; expected at least one of {', '.join(modalities)}")
        cases.append({"case": entry["case"], **files})
    return cases


def _check_keys(where: str, entry: Mapping[str, Any], modalities: Sequence[str]) -> None:
    """Refuse what would silently turn a sequence into an absent one; keys that resemble none are someone's notes."""
    accepted = (*modalities, "label")
    for key, value in entry.items():
        if key in accepted:
            if not isinstance(value, str) or not value:
                raise ValueError(f"{where}: {key} must be a path, got {value!r}; leave the key out if there is no file")
        elif key != "case":
            meant = canonical_modality(key) or next(iter(get_close_matches(key.lower(), accepted, n=1)), None)
            if meant in accepted:
                raise ValueError(
                    f"{where}: unknown key {key!r} (did you mean {meant}?); accepted: {', '.join(accepted)}"
                )
