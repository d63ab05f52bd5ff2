"""Which cases inference segments: those of a folder of scans, or of a datalist."""

from __future__ import annotations

from pathlib import Path

from passion_components.data.layouts.scans import ScanFolder, find_in_folder
from passion_components.data.lists.datalist import Datalist
from passion_components.datasets import DatasetSpec


def find_scan_cases(dataset_dir: Path | str, spec: DatasetSpec, series: str = "") -> ScanFolder:
    """Cases of a folder of new scans, with whatever sequences exist, or of all parts of a datalist.

    Args:
        dataset_dir: folder, searched by :func:`~passion_components.data.layouts.scans.find_in_folder`, or datalist.
        spec: data set.
        series: as of ``find_in_folder``; of no effect on a datalist.

    Raises:
        FileNotFoundError: no such folder, or no images in it; no cases in a datalist.
        ValueError: a datalist that cannot be read; numbers of series that are not there.
    """
    path = Path(dataset_dir)
    if path.is_file() and path.suffix.lower() == ".json":
        return _listed(Datalist(path), spec)
    if not path.is_dir():
        found = "is a file" if path.exists() else "no such folder"
        raise FileNotFoundError(f"{dataset_dir}: {found}; expected a folder of cases, one case's folder, or a datalist")
    return find_in_folder(path, spec, series)


def _listed(datalist: Datalist, spec: DatasetSpec) -> ScanFolder:
    """The cases of all parts of a datalist, each in one of them: two of one name would write the same files."""
    parts = datalist.parts(spec.modalities)
    cases = [
        {key: value for key, value in case.items() if key != "label"} for of_part in parts.values() for case in of_part
    ]
    if not cases:
        raise FileNotFoundError(f"{datalist.path}: has no cases in any part")
    part_of: dict[str, str] = {}
    for part, of_part in parts.items():
        for case in of_part:
            if part_of.setdefault(case["case"], part) != part:
                raise ValueError(
                    f"{datalist.path}: case {case['case']!r} is in the parts {part_of[case['case']]} and {part}; "
                    f"expected every case in one part: remove it from the other, or rename it"
                )
    return ScanFolder(cases, label_scheme=datalist.label_scheme)
