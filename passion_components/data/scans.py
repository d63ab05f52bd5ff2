"""Which cases a folder of new scans holds, with whatever sequences exist."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from passion_components.data.case_names import checked_case_name
from passion_components.data.datalists import label_scheme, load_parts
from passion_components.data.image_files import ACCEPTED_IMAGES, beginning_and_word, images_in, is_dicom_series
from passion_components.datasets import DatasetSpec
from passion_components.modalities import canonical_modality


@dataclass
class ScanFolder:
    """What inference finds in a folder.

    Attributes:
        cases: ``case`` and, for every sequence that is there, its absolute path under the modality's name.
        notes: what was skipped or ignored, one line each.
        failures: cases that cannot be segmented, with the line that says why.
        label_scheme: of the data set that the scans are listed in; None where they are not.
    """

    cases: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    label_scheme: str | None = None


def find_scan_cases(dataset_dir: Path | str, spec: DatasetSpec) -> ScanFolder:
    """Cases of a folder of new scans, with whatever sequences exist, or of all parts of a datalist.

    ``dataset_dir`` holds one folder per case, or is one case's own folder; a case is named after its folder. Where a
    folder holds several cases side by side (``101_C0.nii.gz``, ``101_T2.nii.gz``, ``102_C0.nii.gz``), a case is named
    after what its files' names begin with. A sequence is known by the last word of its file's name
    (``P1_flair.nii.gz``, ``BraTS-GLI-1-t2w.nii.gz``, ``T1.nii``), in any spelling of
    :data:`passion_components.modalities.ALIASES`. Other images are ignored and noted. A folder with a DICOM series in a
    case's folder is a sequence, named likewise.

    Raises:
        FileNotFoundError: no such folder, or no images in it.
        ValueError: a datalist that cannot be read.
    """
    folder = Path(dataset_dir)
    if folder.is_file() and folder.suffix.lower() == ".json":
        return _listed_scans(folder, spec)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        raise FileNotFoundError(
            f"{dataset_dir}: {found}; dataset_dir must be a folder of cases, one case's folder, or a datalist"
        )
    scans = ScanFolder()
    subfolders = sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and not is_dicom_series(path)
    )
    images = images_in(folder)
    if any(_modality_of(file) in spec.modalities for file in images) or (images and not subfolders):
        _add_case(scans, folder, spec)
        scans.notes += [f"{sub.name}: skipped, {folder.resolve().name} is itself a case" for sub in subfolders]
    else:
        scans.notes += [f"{file.name}: ignored, lies outside the folders of the cases" for file in images]
        for subfolder in subfolders:
            _add_case(scans, subfolder, spec)
    if not scans.cases and not scans.failures:
        raise FileNotFoundError(
            f"{dataset_dir}: no scans found; expected <case>/<case>_{spec.modalities[0]}.nii.gz or the like "
            f"({', '.join(spec.modalities)}; {ACCEPTED_IMAGES})"
        )
    return scans


def _listed_scans(datalist: Path, spec: DatasetSpec) -> ScanFolder:
    """The cases of all parts of a datalist."""
    parts = load_parts(datalist, spec.modalities)
    cases = [
        {key: value for key, value in case.items() if key != "label"} for of_part in parts.values() for case in of_part
    ]
    if not cases:
        raise FileNotFoundError(f"{datalist}: has no cases in any part")
    return ScanFolder(cases, label_scheme=label_scheme(datalist))


def _add_case(scans: ScanFolder, folder: Path, spec: DatasetSpec) -> None:
    """Sort what lies directly in one folder into cases, notes and failures."""
    name = folder.resolve().name
    images = images_in(folder)
    if not images:
        scans.notes.append(f"{name}: skipped, no image directly in it ({ACCEPTED_IMAGES})")
        return
    cases = _side_by_side(name, images, spec)
    for case, files in cases.items():
        _sort_case(scans, case, files, spec)
    sorted_out = {file for files in cases.values() for file in files}
    scans.notes += [f"{name}: ignored {file.name}, names no sequence" for file in images if file not in sorted_out]


def _side_by_side(folder_name: str, images: list[Path], spec: DatasetSpec) -> dict[str, list[Path]]:
    """Files of each case in one folder: all of them, unless their names say that several cases lie there.

    That is so where a sequence is there more than once and the names begin differently, none of them with another's
    beginning or with the folder's name, as those of two scans of one patient would.
    """
    known = [file for file in images if _modality_of(file) in spec.modalities]
    beginnings = sorted({_beginning_of(file) for file in known})
    twice = len({_modality_of(file) for file in known}) < len(known)
    nested = any(second.startswith(first) for first, second in pairwise(beginnings))
    nested |= any(beginning.startswith(folder_name) for beginning in beginnings) or "" in beginnings
    if not twice or nested or len(beginnings) < 2:
        return {folder_name: images}
    return {beginning: [file for file in images if _beginning_of(file) == beginning] for beginning in beginnings}


def _sort_case(scans: ScanFolder, case: str, images: list[Path], spec: DatasetSpec) -> None:
    """Sort the files of one case."""
    try:
        checked_case_name(case, str(images[0].parent))
    except ValueError as error:
        scans.failures.append((ascii(case), str(error)))
        return
    found: dict[str, list[Path]] = defaultdict(list)
    for file in images:
        name = _modality_of(file)
        if name in spec.modalities:
            found[name].append(file)
        else:
            why = f"{name} is no sequence of {spec.name}" if name else "names no sequence"
            scans.notes.append(f"{case}: ignored {file.name}, {why}")
    for name, files in found.items():
        if len(files) > 1:
            both = " and ".join(file.name for file in files)
            scans.failures.append((case, f"{case}: {both} are both {name}; expected one file per sequence, remove one"))
            return
    if not found:
        names = ", ".join(file.name for file in images)
        accepted = ", ".join(f"{case}_{name}.nii.gz" for name in spec.modalities)
        scans.failures.append((case, f"{case}: no known sequence among {names}; expected any of {accepted}"))
        return
    paths = {name: str(found[name][0].absolute()) for name in spec.modalities if name in found}
    scans.cases.append({"case": case, **paths})


def _modality_of(file: Path) -> str | None:
    return canonical_modality(beginning_and_word(file)[1])


def _beginning_of(file: Path) -> str:
    return beginning_and_word(file)[0]
