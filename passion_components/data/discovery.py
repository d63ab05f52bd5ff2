"""Which cases a folder holds: published layouts for training, folders of scans for inference."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from passion_components.data.datalists import new_datalist, split_cases, write_datalist
from passion_components.datasets import DatasetSpec
from passion_components.modalities import canonical_modality

IMAGE_SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Layout:
    """File names of a published data set: ``<case>_<word>.nii.gz`` or ``.nii``, at any depth of a folder.

    Attributes:
        title: of the data set.
        words: last word of a name, in lower case -> modality or ``label``.
        example: of a case that is complete, for messages.
    """

    title: str
    words: Mapping[str, str]
    example: str

    @property
    def label_word(self) -> str:
        """The word of label maps."""
        return next(word for word, key in self.words.items() if key == "label")

    def case_and_key(self, file: Path) -> tuple[str, str] | None:
        """A file's case and what it is of it; None where its name does not fit."""
        case, _, word = _stem(file).rpartition("_")
        return (case, self.words[word.lower()]) if case and word.lower() in self.words else None


BRATS2020_LAYOUT = Layout(
    title="BraTS2020",
    words={"flair": "flair", "t1": "t1", "t1ce": "t1ce", "t2": "t2", "seg": "label"},
    example="<case>/<case>_{flair,seg}.nii.gz",
)
MYOPS2020_LAYOUT = Layout(
    title="MyoPS2020",
    words={"c0": "bssfp", "de": "lge", "t2": "t2", "gd": "label"},
    example="train25/<case>_C0.nii.gz with train25_myops_gd/<case>_gd.nii.gz",
)


@dataclass
class ScanFolder:
    """What inference finds in a folder.

    Attributes:
        cases: ``case`` and, for every sequence that is there, its absolute path under the modality's name.
        notes: what was skipped or ignored, one line each.
        failures: cases that cannot be segmented, with the line that says why.
    """

    cases: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


def find_cases(source: Path | str, layout: Layout) -> tuple[list[dict[str, str]], list[str]]:
    """Cases of a folder in a published layout.

    A case that lacks sequences is kept as it is. One without label map, without any sequence, or with two files for the
    same thing is left out.

    Returns:
        Cases sorted by name, with absolute paths under the modalities' names and ``label``; and one line for everything
        that was not understood or left out.

    Raises:
        FileNotFoundError: no such folder, or not one case in it.
    """
    source = Path(source)
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder; expected the folder of the {layout.title} cases")
    problems: list[str] = []
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in _image_files_below(source):
        known = layout.case_and_key(file)
        if known is None:
            wanted = f"<case>_{{{','.join(layout.words)}}}.nii.gz"
            problems.append(
                f"{file}: not a name of {layout.title}; expected {wanted}, rename it if it belongs to a case"
            )
        else:
            found[known[0]][known[1]].append(file)

    cases = []
    for case, files in sorted(found.items()):
        problem = _problem_of(files, layout)
        if problem is None:
            cases.append({"case": case, **{key: str(files[key][0].absolute()) for key in sorted(files)}})
        else:
            problems.append(f"{case}: {problem}; left out")
    if not cases:
        reason = f"; first of {len(problems)} problems: {problems[0]}" if problems else ""
        raise FileNotFoundError(f"{source}: no complete case like {layout.example} found{reason}")
    return cases, problems


def prepare_cases(
    source: Path | str, out: Path | str, layout: Layout, *, split: Mapping[str, float], seed: int
) -> tuple[Path, dict[str, list[Mapping[str, str]]], list[str]]:
    """Write ``out/datalist.json`` for a folder in a published layout.

    Returns:
        Path of the datalist, its parts, and the problems of :func:`find_cases`.

    Raises:
        FileNotFoundError: as :func:`find_cases`.
        ValueError: as :func:`~passion_components.data.datalists.split_cases`; ``out`` already has a datalist.
    """
    datalist = new_datalist(Path(out))
    cases, problems = find_cases(source, layout)
    parts = split_cases(cases, split, seed)
    return write_datalist(datalist, parts), parts, problems


def find_scan_cases(dataset_dir: Path | str, spec: DatasetSpec) -> ScanFolder:
    """Cases of a folder of new scans, with whatever sequences exist.

    ``dataset_dir`` holds one folder per case, or is one case's own folder; a case is named after its folder. Where a
    folder holds several cases side by side (``101_C0.nii.gz``, ``101_T2.nii.gz``, ``102_C0.nii.gz``), a case is named
    after what its files' names begin with. A sequence is known by the last word of its file's name
    (``P1_flair.nii.gz``, ``BraTS-GLI-1-t2w.nii.gz``, ``T1.nii``), in any spelling of
    :data:`passion_components.modalities.ALIASES`. Other images are ignored and noted.

    Raises:
        FileNotFoundError: no such folder, or no images in it.
    """
    folder = Path(dataset_dir)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        raise FileNotFoundError(f"{dataset_dir}: {found}; dataset_dir must be a folder of cases or one case's folder")
    scans = ScanFolder()
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    images = _images_in(folder)
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
            f"({', '.join(spec.modalities)}; .nii.gz or .nii)"
        )
    return scans


def _add_case(scans: ScanFolder, folder: Path, spec: DatasetSpec) -> None:
    """Sort what lies directly in one folder into cases, notes and failures."""
    name = folder.resolve().name
    images = _images_in(folder)
    if not images:
        scans.notes.append(f"{name}: skipped, no image file (.nii.gz, .nii) directly in it")
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


def _problem_of(files: Mapping[str, list[Path]], layout: Layout) -> str | None:
    for key, candidates in files.items():
        if len(candidates) > 1:
            return f"{key} is there {len(candidates)} times ({' and '.join(map(str, candidates))}), expected one file"
    if "label" not in files:
        return f"no label map (_{layout.label_word})"
    if len(files) == 1:
        return "a label map without any sequence"
    return None


def _image_files_below(folder: Path) -> list[Path]:
    return sorted(
        Path(root) / name for root, _, names in os.walk(folder) for name in names if _is_image(Path(root) / name)
    )


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_image(path) and path.is_file())


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_SUFFIXES) and not path.name.startswith(".")


def _stem(file: Path) -> str:
    """The file's name without ``.nii`` or ``.nii.gz``."""
    return re.sub(r"\.nii(\.gz)?$", "", file.name, flags=re.IGNORECASE)


def _modality_of(file: Path) -> str | None:
    return canonical_modality(re.split(r"[_.\-]", _stem(file))[-1])


def _beginning_of(file: Path) -> str:
    """The file's name without its last word."""
    return re.sub(r"[_.\-]?[^_.\-]*$", "", _stem(file))
