"""Which cases a folder of new scans holds, with whatever sequences exist."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from passion_components.data.case_names import checked_case_name
from passion_components.data.layouts.case_groups import Group, extends, group_by_folder, unique_names
from passion_components.data.layouts.file_names import ReadName
from passion_components.data.layouts.name_words import looks_like_scan
from passion_components.data.layouts.numbered_channels import find_numbered_cases, has_numbered_channels
from passion_components.data.reading.image_files import ACCEPTED_IMAGES, images_below, stem
from passion_components.data.words import parse_numbers
from passion_components.datasets import DatasetSpec


@dataclass
class ScanFolder:
    """What inference finds in a folder.

    Attributes:
        cases: ``case`` and, for every sequence that is there, its absolute path under the modality's name.
        notes: what is certainly no sequence of a case, one line each.
        warnings: what may be one and is not used, or was guessed, one line each.
        failures: cases that cannot be segmented, with the line that says why.
        label_scheme: of the data set that the scans are listed in; None where they are not.
    """

    cases: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    label_scheme: str | None = None


def find_in_folder(folder: Path, spec: DatasetSpec, series: str = "") -> ScanFolder:
    """Cases of a folder of new scans, with whatever sequences exist.

    It holds folders of cases at any depth, or is one case's own folder; a case is named after its folder. Folders like
    ``anat`` or ``dicom`` belong to the case around them, and cases of one name are told apart by the folders above.
    Where a folder holds several cases side by side (``P101_C0.nii.gz``, ``P102_T2.nii.gz``), a case is named after what
    its files' names begin with. What a name says is read by
    :func:`~passion_components.data.layouts.file_names.read_file_name`. A folder with a DICOM series is a sequence,
    named so; where names do not tell, headers do (:mod:`passion_components.data.layouts.dicom_sequences`). In a folder
    of MSD or nnU-Net every image of its cases counts (:mod:`passion_components.data.layouts.numbered_channels`).

    Args:
        folder: of the scans.
        spec: data set.
        series: ``t1=4,flair=7``: numbers of the DICOM series that show these sequences, whatever their headers suggest.

    Raises:
        FileNotFoundError: no images in it.
        ValueError: numbers of series that are not there; a ``dataset.json`` that cannot be understood.
    """
    if has_numbered_channels(folder):
        found = find_numbered_cases(folder, spec, labelled=False)
        return ScanFolder(found.cases, warnings=found.notes)
    scans = ScanFolder()
    below = images_below(folder, scans.warnings)
    groups = group_by_folder(below, folder, spec, chosen=_chosen(series, spec), lost=scans.warnings)
    reads = {image: read for group in groups for image, read in group.images.items()}
    _warn_of_empty_folders(scans, folder, groups)
    holding = _holding_cases(scans, folder, groups)
    wanted = [case for group in holding for case in _cases_in(scans, folder, group, alone=len(holding) == 1)]
    names, notes = unique_names({number: (group, name) for number, (group, name, _) in enumerate(wanted)})
    scans.warnings += notes
    for number, (_, _, images) in enumerate(wanted):
        _add_case(scans, names[number], {image: reads[image] for image in images}, spec)
    if not scans.cases and not scans.failures:
        reason = f"; first of {len(scans.warnings)} warnings: {scans.warnings[0]}" if scans.warnings else ""
        raise FileNotFoundError(
            f"{folder}: no scans found; expected <case>/<case>_{spec.modalities[0]}.nii.gz or the like "
            f"({', '.join(spec.modalities)}; {ACCEPTED_IMAGES}){reason}"
        )
    return scans


def _chosen(series: str, spec: DatasetSpec) -> dict[str, int]:
    """Modality -> number of a DICOM series, from ``t1=4,flair=7``."""
    numbers = parse_numbers(series, "--series", "t1=4,flair=7") if series else {}
    for name, number in numbers.items():
        if name not in spec.modalities or number != int(number):
            raise ValueError(
                f"--series {series!r}: expected whole numbers of DICOM series for {', '.join(spec.modalities)}, "
                f"got {name}={number:g}"
            )
    return {name: int(number) for name, number in numbers.items()}


def _warn_of_empty_folders(scans: ScanFolder, source: Path, groups: Sequence[Group]) -> None:
    used = {image.relative_to(source).parts[0] for group in groups for image in group.images}
    empty = sorted(
        path.name
        for path in source.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in used
    )
    if empty:
        count = "1 folder" if len(empty) == 1 else f"{len(empty)} folders"
        scans.warnings.append(f"{count} skipped, no image in {', '.join(empty)} ({ACCEPTED_IMAGES})")


def _holding_cases(scans: ScanFolder, source: Path, groups: Sequence[Group]) -> list[Group]:
    """The folders to look for cases in: a case's folder is not searched for others, and what it holds is told; only
    folders whose own files bear their names (``P1/P1_t1``) are cases beside a stray scan."""
    holding: list[Group] = []
    for group in groups:
        has_scans = any(read.is_scan for read in group.images.values())
        above = [each for each in holding if group.folder[: len(each.folder)] == each.folder]
        where, count = "/".join(group.folder), len(group.images)
        case = (above[-1].folder or (source.resolve().name,))[-1] if above else ""
        if above and not _is_case_within(group, above[-1], case):
            lost = any(_is_lost(image, read) or image.is_dir() for image, read in group.images.items())
            lines = scans.warnings if lost else scans.notes
            lines.append(f"{where}: skipped ({count} images in it), {case} holds scans itself")
        elif (
            above
            or has_scans
            or len(groups) == 1
            or (len(group.folder) == 1 and not _has_deeper(group, groups) and not _is_of_labels(group, groups))
        ):
            holding.append(group)
        else:
            for image, read in group.images.items():
                lines = scans.warnings if _is_lost(image, read) or image.is_dir() else scans.notes
                why = f", {read.problem}" if read.problem else ""
                shown = image.relative_to(source).as_posix()
                lines.append(f"{shown}: ignored, lies outside the folders of the cases{why}")
    return holding


def _is_case_within(group: Group, around: Group, case: str) -> bool:
    """Whether a folder below that of ``case`` is of another one: its scans begin like it, numbered, not like those."""
    folder = group.folder[-1]
    of_around = {read.beginning for read in around.images.values() if read.is_scan} - {""} or {case}
    return (
        re.search(r"\d", folder) is not None
        and any(read.is_scan and extends(read.beginning, folder) for read in group.images.values())
        and not any(extends(folder, name) for name in of_around)
    )


def _is_of_labels(group: Group, groups: Sequence[Group]) -> bool:
    """Whether a folder holds nothing but label maps of cases whose scans lie elsewhere."""
    elsewhere = {read.beginning for each in groups for read in each.images.values() if read.is_scan}
    return all(read.key == "label" and read.beginning in elsewhere for read in group.images.values())


def _has_deeper(group: Group, groups: Sequence[Group]) -> bool:
    depth = len(group.folder)
    return any(len(each.folder) > depth and each.folder[:depth] == group.folder for each in groups)


def _cases_in(
    scans: ScanFolder, source: Path, group: Group, *, alone: bool
) -> list[tuple[tuple[str, ...], str, list[Path]]]:
    """Folder, wanted name and sequences of each case in one folder; what is no sequence is told.

    ``alone``: no other folder holds cases, so that ``source`` may be the folder of one case and bear its name.
    """
    folder_name = group.folder[-1] if group.folder else source.resolve().name
    images = {image: read for image, read in group.images.items() if read.is_scan}
    if not images:
        return [(group.folder, folder_name, list(group.images))]
    for image, read in group.images.items():
        if image not in images:
            lines = scans.warnings if _is_lost(image, read) else scans.notes
            lines.append(f"{folder_name}: ignored {read.header or image.name}, {read.problem or 'is a label map'}")
    beginnings = sorted(Group(group.folder, images).by_beginning().items(), key=lambda entry: len(entry[0]))
    cases: dict[str, list[Path]] = {}
    own = next((name for name, _ in beginnings if extends(name, folder_name)), None)
    if own is not None:
        cases[folder_name] = []
    for beginning, of_beginning in beginnings:
        if beginning:
            case = next((name for name in cases if extends(beginning, name)), beginning)
            cases.setdefault(case, []).extend(of_beginning)
    nameless = [image for beginning, of_beginning in beginnings if not beginning for image in of_beginning]
    if len(cases) <= 1:
        numbered = [name for name, _ in beginnings if re.search(r"\d", name[len(folder_name) :])]
        strangers = [name for name in numbered if not extends(name, numbered[0])]
        if own is not None and strangers and not _is_twice(images):
            of = dict(beginnings)
            _refuse_mixture(scans, folder_name, next(iter(of[numbered[0]])), next(iter(of[strangers[0]])))
            return []
        inside = next(iter(cases), folder_name)
        name = _single(group.folder, folder_name, inside) if group.folder or alone else inside
        return [(group.folder, name, [*nameless, *cases.get(inside, [])])]
    if all(name.isdecimal() and len(files) == 1 for name, files in cases.items()) and not _is_twice(images):
        names = " and ".join(files[0].name for files in list(cases.values())[:2])
        scans.failures.append(
            (
                folder_name,
                f"{folder_name}: are the numbers that {names} begin with of series or of cases? expected names "
                f"without numbers of series, or every case in a folder of its own",
            )
        )
        return []
    if own is None and group.folder and not _several_patients(images, cases):
        scans.warnings.append(
            f"{folder_name}: taken as one case though its files begin differently: {', '.join(cases)}"
        )
        return [(group.folder, folder_name, list(images))]
    scans.warnings += [
        f"{folder_name}: ignored {image.name}, does not say which case it belongs to" for image in nameless
    ]
    if own is not None:
        stranger = next(files[0] for name, files in cases.items() if name != folder_name)
        _refuse_mixture(scans, folder_name, cases[folder_name][0], stranger)
        return []
    return [(group.folder, name, files) for name, files in cases.items()]


def _is_lost(image: Path, read: ReadName) -> bool:
    """Whether an image that is not used may be the scan of a sequence."""
    return read.key != "label" and (read.has_sequence or looks_like_scan(stem(image)))


def _several_patients(images: Mapping[Path, ReadName], beginnings: Iterable[str]) -> bool:
    """Whether files that begin differently are of several: a sequence is there twice, or numbers tell them apart."""
    return _is_twice(images) or any(re.search(r"\d", beginning) for beginning in beginnings)


def _is_twice(images: Mapping[Path, ReadName]) -> bool:
    keys = [read.key for read in images.values()]
    return len(set(keys)) < len(keys)


def _refuse_mixture(scans: ScanFolder, case: str, one: Path, other: Path) -> None:
    scans.failures.append(
        (
            case,
            f"{case}: {one.name} and {other.name} begin like files of two cases; expected one case in a folder, or "
            f"names that do not begin like the folder's: move or rename them",
        )
    )


def _single(folder: tuple[str, ...], folder_name: str, beginning: str) -> str:
    """The name of the only case in a folder: the folder's; of a visit's folder, with that of the patient."""
    return beginning if len(folder) > 1 and "_".join(folder).endswith(beginning) else folder_name


def _add_case(scans: ScanFolder, case: str, images: Mapping[Path, ReadName], spec: DatasetSpec) -> None:
    """Add the case of some files, or why it cannot be one."""
    try:
        checked_case_name(case, str(next(iter(images)).parent))
    except ValueError as error:
        scans.failures.append((ascii(case), str(error)))
        return
    found: dict[str, list[Path]] = defaultdict(list)
    for image, read in images.items():
        if read.is_scan:
            found[str(read.key)].append(image)
    for name, files in found.items():
        if len(files) > 1:
            shown = [images[file].header or file.name for file in files]
            both = " and ".join(shown if len(set(shown)) == len(shown) else map(str, files))
            how = (
                "--series NAME=NUMBER" if images[files[0]].header else "passion prepare --pattern and give the datalist"
            )
            why = f"{case}: {both} are both {name}; expected one file per sequence, remove one, or choose with {how}"
            scans.failures.append((case, why.replace("NAME", name)))
            return
    if not found:
        names = ", ".join(read.header or file.name for file, read in images.items())
        accepted = ", ".join(f"{case}_{name}.nii.gz" for name in spec.modalities)
        whys = {read.problem for read in images.values()} - {"", "names no sequence"}
        why = f" ({'; '.join(sorted(whys))})" if whys else ""
        scans.failures.append((case, f"{case}: no known sequence among {names}{why}; expected any of {accepted}"))
        return
    headers = [f"{name} is {header}" for name, (file, *_) in found.items() if (header := images[file].header)]
    if headers:
        scans.warnings.append(
            f"{case}: DICOM sorted by headers: {'; '.join(headers)}; choose others with --series NAME=NUMBER,..."
        )
    paths = {name: str(found[name][0].absolute()) for name in spec.modalities if name in found}
    scans.cases.append({"case": case, **paths})
