"""From a folder, or a table, of a data set to its datalist."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from passion_components.data.errors import CaseError
from passion_components.data.layouts.found_cases import FoundCases
from passion_components.data.layouts.named_files import find_named_cases
from passion_components.data.layouts.numbered_channels import find_numbered_cases, has_numbered_channels
from passion_components.data.layouts.own_files import find_by_patterns, find_in_table, parse_patterns
from passion_components.data.lists.datalist import new_datalist, write_datalist
from passion_components.data.lists.label_codes import detect_scheme
from passion_components.data.lists.splits import by_patient, force_into_parts, patients_in_parts, split_by_patient
from passion_components.data.reading.volumes import read_label_map
from passion_components.datasets import DatasetSpec
from passion_components.files import read_text


@dataclass(frozen=True)
class Prepared:
    """What :func:`prepare_cases` has done.

    Attributes:
        datalist: the file that was written.
        parts: its cases by part.
        notes: what was not understood, left out or guessed, one line each.
        label_scheme: of the label files.
        label_values: what stands in them.
    """

    datalist: Path
    parts: dict[str, list[Mapping[str, str]]]
    notes: list[str]
    label_scheme: str
    label_values: tuple[float, ...]


def find_cases(source: Path | str, spec: DatasetSpec, patterns: Sequence[str] = ()) -> FoundCases:
    """Cases of a source: by patterns; or of a CSV file, a folder with ``dataset.json``, a folder with named files.

    Raises:
        FileNotFoundError: no such source, or not one case in it.
        ValueError: patterns, a table or a ``dataset.json`` that cannot be understood.
    """
    source = Path(source)
    if source.is_file() and source.suffix.lower() in (".csv", ".tsv") and not patterns:
        return find_in_table(source, spec)
    if not source.is_dir():
        found = "is a file" if source.exists() else "no such folder"
        raise FileNotFoundError(
            f"{source}: {found}; expected the folder of the {spec.name} cases, or a table (.csv or .tsv)"
        )
    if patterns:
        return find_by_patterns(source, parse_patterns(patterns, spec), spec)
    if has_numbered_channels(source):
        return find_numbered_cases(source, spec)
    return find_named_cases(source, spec)


def prepare_cases(
    source: Path | str,
    out: Path | str,
    spec: DatasetSpec,
    *,
    split: Mapping[str, float],
    seed: int,
    patterns: Sequence[str] = (),
    lists: Mapping[str, Path] | None = None,
    label_scheme: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Write ``out/datalist.json`` for a source of :func:`find_cases`; the images stay where they are.

    Args:
        source: folder or CSV file; only read.
        out: folder to write to; without a datalist yet.
        spec: data set.
        split: shares, or numbers of patients, by part. Scans of one patient stay in one part.
        seed: of the split.
        patterns: as of :func:`~passion_components.data.layouts.own_files.parse_patterns`.
        lists: part -> text file with a case a line; cases in none of them are left out. They come before ``split``, and
            so does what a table says.
        label_scheme: of the label files; None looks for one that knows all values in them.
        progress: called with the number of label files read and of all.

    Raises:
        FileNotFoundError: as :func:`find_cases`; a list that is not there.
        ValueError: as :func:`find_cases` and :func:`~passion_components.data.lists.splits.split_cases`; ``out`` already
            has a datalist; an unknown label scheme; a listed case that is not there; as
            :func:`~passion_components.data.lists.label_codes.detect_scheme`.
    """
    datalist = new_datalist(Path(out))
    spec.codes(label_scheme)
    found = find_cases(source, spec, patterns)
    parts = _parts(found, split, seed, lists)
    values = _label_values(found.cases, progress)
    scheme = label_scheme or detect_scheme(found, values, spec)
    write_datalist(datalist, parts, label_scheme=scheme, dataset=spec)
    together = {value for of_case in values.values() for value in of_case}
    return Prepared(datalist, parts, found.notes, scheme, tuple(sorted(together)))


def _parts(
    found: FoundCases, split: Mapping[str, float], seed: int, lists: Mapping[str, Path] | None
) -> dict[str, list[Mapping[str, str]]]:
    wanted = dict(found.parts)
    for part, path in (lists or {}).items():
        for name in _listed(path):
            if wanted.setdefault(name, part) != part:
                raise ValueError(f"{path}: {name} is in the part {wanted[name]} too; expected every case in one part")
    if not wanted:
        several = {patient: len(of) for patient, of in by_patient(found.cases, found.patients).items() if len(of) > 1}
        if several:
            patient, count = next(iter(several.items()))
            found.notes.append(
                f"patients with several scans: {len(several)} ({patient} has {count}); those of one stay in one part"
            )
        return split_by_patient(found.cases, split, seed, found.patients)
    rest, parts = force_into_parts(found.cases, wanted)
    found.notes += [f"{case['case']}: in no list; left out" for case in rest]
    names = {part: [case["case"] for case in of_part] for part, of_part in parts.items()}
    found.notes += [
        f"{patient}: {' and '.join(f'{name} ({part})' for name, part in part_of.items())} look like one patient's"
        for patient, part_of in patients_in_parts(names, found.patients).items()
    ]
    return parts


def _listed(path: Path) -> list[str]:
    """Names of cases: the first word of every line that holds any."""
    lines = read_text(path).splitlines()
    return [name for name in (re.split(r"[,;\s]", line.strip(), maxsplit=1)[0] for line in lines) if name]


def _label_values(
    cases: Sequence[Mapping[str, str]], progress: Callable[[int, int], None] | None
) -> dict[str, tuple[float, ...]]:
    """The values in the label file of each case; one that cannot be read says nothing here."""

    def values_of(case: Mapping[str, str]) -> tuple[float, ...]:
        try:
            return tuple(np.unique(read_label_map(case["label"], case=case["case"]).array).astype(float).tolist())
        except CaseError:
            return ()

    labelled = [case for case in cases if "label" in case]
    values: dict[str, tuple[float, ...]] = {}
    with ThreadPoolExecutor() as pool:
        for number, (case, of_case) in enumerate(zip(labelled, pool.map(values_of, labelled), strict=True), 1):
            values[case["case"]] = of_case
            if progress is not None:
                progress(number, len(labelled))
    return values
