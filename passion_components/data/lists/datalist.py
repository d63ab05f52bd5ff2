"""Datalists: which cases a data set has, which files they consist of, and to which part they belong.

``{"training": [...], "validation": [...], "test": [...]}``; a case is ``{"case": "P1", "flair": "P1/flair.nii.gz",
"label": "P1/seg.nii.gz"}``. No key means that the sequence is absent. Paths are absolute or relative to the datalist;
``file.nii.gz#2`` is the third volume of a 4D file, a folder is a DICOM series. ``"label_scheme": "name"`` beside the
parts names the scheme of the label files where it is not the data set's first, ``"dataset"`` the data set: a name, or
the path of its JSON file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from passion_components.data.case_names import PARTS, checked_case_name
from passion_components.data.reading.image_files import split_index
from passion_components.datasets import DATASETS, DatasetSpec, dataset_spec, known_sequence
from passion_components.files import content_hashes, read_text, unique_keys, write_atomically

_PART_SPELLINGS = (*PARTS, "train", "val", "valid", "testing")
"""The first three letters tell the part."""

_CLOSE = 0.85
"""``trainig`` is, ``test_old`` is not."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Datalist:
    """A datalist as it stood in its file when it was read, which is once.

    Args:
        path: the JSON file.

    Attributes:
        path: of the file; messages begin with it.
        label_scheme: that the label files are coded by; None where the datalist names none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: one that is no datalist; a part that is misspelt; a label scheme that is no name.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._content = _read(path)
        _check_parts(path, self._content)
        self.label_scheme: str | None = self._content.get("label_scheme")
        if not isinstance(self.label_scheme, str | None):
            raise ValueError(f"{path}: label_scheme must be a name, got {self.label_scheme!r}")

    def cases(self, part: str, modalities: Sequence[str]) -> list[dict[str, str]]:
        """Cases of one part.

        Args:
            part: ``training``, ``validation`` or ``test``; it may be empty.
            modalities: names of the data set's sequences.

        Returns:
            Per case ``case`` and, where the case has them, absolute paths under the modalities' names and ``label``.

        Raises:
            ValueError: anything in the part that is not as described above, in one line.
        """
        if part not in PARTS:
            raise ValueError(f"unknown part {part!r} of a datalist; accepted: {', '.join(PARTS)}")
        if part not in self._content:
            found = ", ".join(name for name in PARTS if name in self._content) or "none"
            raise ValueError(f"{self.path}: has no part {part!r}; parts found: {found}; an empty part is written as []")
        folder = Path(self.path).absolute().parent
        cases = []
        for entry in self._entries(part):
            where = f"{self.path}: case {entry['case']!r}"
            _check_keys(where, entry, modalities)
            files = {key: os.path.abspath(folder / entry[key]) for key in (*modalities, "label") if key in entry}
            if not files.keys() & set(modalities):
                others = [key for key in entry if known_sequence(key)]
                hint = f"; it has {', '.join(others)}: is the datalist of another data set?" if others else ""
                raise ValueError(f"{where} has no modality; expected at least one of {', '.join(modalities)}{hint}")
            cases.append({"case": entry["case"], **files})
        return cases

    def parts(self, modalities: Sequence[str]) -> dict[str, list[dict[str, str]]]:
        """Cases of every part that is there, each as of :meth:`cases`.

        Raises:
            ValueError: as :meth:`cases`; a datalist without any part.
        """
        parts = {part: self.cases(part, modalities) for part in PARTS if part in self._content}
        if not parts:
            raise ValueError(f"{self.path}: has none of the parts {', '.join(PARTS)}")
        return parts

    def dataset(self) -> DatasetSpec | None:
        """The data set that the datalist names, None where it names none.

        Raises:
            FileNotFoundError, ValueError: as :func:`~passion_components.datasets.dataset_spec`; what is no name.
        """
        named = self._content.get("dataset")
        if named is None:
            return None
        if not isinstance(named, str) or not (named in DATASETS or named.endswith(".json")):
            accepted = ", ".join(DATASETS)
            raise ValueError(f"{self.path}: dataset must be {accepted} or the path of a JSON file, got {named!r}")
        if named in DATASETS:
            return DATASETS[named]
        try:
            return dataset_spec(Path(self.path).absolute().parent / named)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{self.path}: names the data set {named}, which does not exist; correct the path, or name the file"
            ) from None

    def missing_rates(self, modalities: Sequence[str]) -> dict[str, float]:
        """Share of the training cases that lack each modality (MR_m of the paper), as realised here.

        Raises:
            ValueError: as :meth:`cases`; no training case at all, or none that has a modality.
        """
        cases = self.cases("training", modalities)
        if not cases:
            raise ValueError(f"{self.path}: part 'training' is empty; expected at least one case")
        rates = missing_rates_of(cases, modalities)
        never = next((name for name, rate in rates.items() if rate == 1), None)
        if never is not None:
            raise ValueError(
                f"{self.path}: no case of part 'training' has {never}; expected at least one for every sequence"
            )
        return rates

    def hash(self) -> str:
        """SHA-256 of what the datalist says: label scheme, parts, cases in their order, keys and file names.

        Folders are left out, so the hash stays when the data or the datalist move.

        Raises:
            ValueError: a part that is no list of named cases.
        """
        said: dict[str, Any] = {}
        if "label_scheme" in self._content:
            said["label_scheme"] = self.label_scheme
        for part in PARTS:
            if part in self._content:
                said[part] = [
                    {
                        key: value if key == "case" else Path(value).name
                        for key, value in case.items()
                        if isinstance(value, str)
                    }
                    for case in self._entries(part)
                ]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def _entries(self, part: str) -> list[dict[str, Any]]:
        """The part as a list of objects that each have a name of their own."""
        entries = self._content[part]
        if not isinstance(entries, list):
            raise ValueError(f"{self.path}: part {part!r} must be a list of cases, got a {type(entries).__name__}")
        names: set[str] = set()
        for number, entry in enumerate(entries, 1):
            where = f"{self.path}: entry {number} of part {part!r}"
            if not isinstance(entry, dict) or "case" not in entry:
                raise ValueError(f'{where} has no name; expected {{"case": "...", ...}}')
            if not isinstance(entry["case"], str) or not entry["case"]:
                raise ValueError(f"{where}: case must be a name in quotes, got {json.dumps(entry['case'])}")
            name = checked_case_name(entry["case"], where)
            if name in names:
                raise ValueError(f"{self.path}: case {name!r} occurs twice in part {part!r}; expected every case once")
            names.add(name)
        return entries


def write_datalist(
    path: Path | str,
    parts: Mapping[str, Iterable[Mapping[str, str]]],
    *,
    label_scheme: str | None = None,
    dataset: DatasetSpec | None = None,
    **notes: str,
) -> Path:
    """Write a datalist; files below its folder are written relative to it, others absolute. Returns its path.

    ``notes`` stand before the parts; nothing reads them as cases.
    """
    path = Path(path)
    folder = path.parent.absolute()

    def portable(file: str) -> str:
        absolute = Path(os.path.abspath(file))
        return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else str(absolute)

    content: dict[str, Any] = dict(notes)
    if dataset is not None:
        content["dataset"] = dataset.name if dataset.file is None else portable(str(dataset.file))
    if label_scheme is not None:
        content["label_scheme"] = label_scheme
    content |= {
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


def presence_table(cases: Sequence[Mapping[str, str]], modalities: Sequence[str]) -> np.ndarray:
    """Which case has which modality: bool array of shape (N, M)."""
    rows = [[name in case for name in modalities] for case in cases]
    return np.array(rows, dtype=bool).reshape(len(rows), len(modalities))


def missing_rates_of(cases: Sequence[Mapping[str, str]], modalities: Sequence[str]) -> dict[str, float]:
    """Share of the cases, at least one, that lack each modality."""
    rates = (~presence_table(cases, modalities)).mean(0).tolist()
    return dict(zip(modalities, rates, strict=True))


def file_hashes(cases: Sequence[Mapping[str, str]]) -> dict[str, dict[str, str | None]]:
    """What the files of cases, of one part, hold: case -> key -> hash, None for a file that cannot be read.

    The hash is that of :func:`~passion_components.files.content_hash`, for a volume of a 4D file with its index.
    """
    parts = {(case["case"], key): split_index(file) for case in cases for key, file in case.items() if key != "case"}
    hashes = content_hashes(path for path, _ in parts.values())
    found: dict[str, dict[str, str | None]] = {case["case"]: {} for case in cases}
    for (case, key), (path, index) in parts.items():
        digest = hashes[path]
        found[case][key] = digest if digest is None or index is None else f"{digest}#{index}"
    return found


def check_files_exist(cases: Iterable[Mapping[str, str]]) -> None:
    """Raise FileNotFoundError for the first file of the cases that is not there, naming case, key and file."""
    for case in cases:
        for key, file in case.items():
            if key != "case" and not split_index(file)[0].exists():
                raise FileNotFoundError(
                    f"case {case['case']!r}: {key} is listed as {file}, which does not exist; "
                    f"correct the path in the datalist, or leave {key} out where the case lacks it"
                )


def _read(path: Path | str) -> dict[str, Any]:
    try:
        text = read_text(Path(path))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: no such datalist; make one with `passion prepare` or `passion phantom`"
        ) from None
    except IsADirectoryError:
        raise ValueError(f"{path}: is a folder; expected a datalist, a JSON file") from None
    try:
        content = json.loads(text, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is not valid JSON: {error.msg} in line {error.lineno}") from None
    except RecursionError:
        raise ValueError(f"{path}: is nested too deeply; expected lists of cases in an object of parts") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if _SURROGATE.search(text) and not _encodable(content):
        raise ValueError(f"{path}: holds half of a character (a lone surrogate, \\ud800 to \\udfff); write it in UTF-8")
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected an object with the parts {', '.join(PARTS)}, got a {type(content).__name__}"
        )
    return content


def _encodable(content: Any) -> bool:
    """Whether every name and path in it can be written to a file."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_parts(path: Path | str, content: Mapping[str, Any]) -> None:
    """Refuse what would silently leave out all the cases of a part; lists of other names are someone's own."""
    for key, value in content.items():
        near = get_close_matches(key.strip().lower(), _PART_SPELLINGS, n=1, cutoff=_CLOSE)
        if key not in PARTS and near and isinstance(value, list | dict):
            meant = next(part for part in PARTS if part.startswith(near[0][:3]))
            raise ValueError(
                f"{path}: unknown part {key!r} (did you mean {meant}?); accepted: {', '.join(PARTS)}; rename it"
            )


def _check_keys(where: str, entry: Mapping[str, Any], modalities: Sequence[str]) -> None:
    """Refuse what would silently turn a sequence into an absent one; keys that resemble none are someone's notes."""
    accepted = (*modalities, "label")
    for key, value in entry.items():
        if key in accepted:
            if not isinstance(value, str) or not value:
                raise ValueError(f"{where}: {key} must be a path, got {value!r}; leave the key out if there is no file")
        elif key != "case":
            meant = known_sequence(key) or next(iter(get_close_matches(key.lower(), accepted, n=1)), None)
            if meant in accepted:
                raise ValueError(
                    f"{where}: unknown key {key!r} (did you mean {meant}?); accepted: {', '.join(accepted)}"
                )
