"""Which images of a folder belong to one case, by the folders they lie in and by what their names begin with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from passion_components.data.file_names import ReadName, read_file_name, read_name
from passion_components.datasets import DatasetSpec

FOLDERS_WITHIN_A_CASE = ("anat", "dicom", "dcm", "nifti", "nii", "mri", "images", "scans")


@dataclass
class Group:
    """Images that lie together.

    Attributes:
        folder: parts of its path below the source, without those that say nothing of a case.
        images: with what their names say.
    """

    folder: tuple[str, ...]
    images: dict[Path, ReadName] = field(default_factory=dict)

    def by_beginning(self) -> dict[str, dict[Path, ReadName]]:
        """The images by what their names begin with, whatever the case of letters."""
        spelt: dict[str, str] = {}
        found: dict[str, dict[Path, ReadName]] = defaultdict(dict)
        for image, read in self.images.items():
            found[spelt.setdefault(read.beginning.casefold(), read.beginning)][image] = read
        return dict(found)


def group_by_folder(images: Iterable[Path], source: Path, spec: DatasetSpec) -> list[Group]:
    """Images below ``source`` by the folder of their patient, or visit, sorted.

    Folders like ``anat`` or ``dicom``, and folders named like a sequence, belong to what they lie in; a folder named
    like a sequence directly in ``source`` is one only where no other folder beside it holds scans.
    """
    reads = {image: read_file_name(image, spec) for image in images}
    parts_of = {image: image.relative_to(source).parts[:-1] for image in reads}
    others_hold_scans = any(
        reads[image].is_scan and parts and not _is_within_a_case(parts[0], spec) for image, parts in parts_of.items()
    )
    groups: dict[tuple[str, ...], Group] = {}
    for image, parts in parts_of.items():
        kept = parts[:1] if others_hold_scans and parts[:1] and parts[0].lower() not in FOLDERS_WITHIN_A_CASE else ()
        inner = tuple(part for part in parts[len(kept) :] if not _is_within_a_case(part, spec))
        groups.setdefault((*kept, *inner), Group((*kept, *inner))).images[image] = reads[image]
    return [groups[folder] for folder in sorted(groups)]


def unique_names(wanted: Mapping[int, tuple[tuple[str, ...], str]]) -> tuple[dict[int, str], list[str]]:
    """Names for cases by number, from folder and wanted name; those that several want are told apart by their folders.

    What lies beside such a case bears the folders' names too: ``P1_2020`` and ``P2_2020`` make ``P1_2021`` of 2021.

    Returns:
        The names (``patA_study1``, ``patB_study1``), and a line for each that was wanted more than once.

    Raises:
        ValueError: folders that do not tell them apart either.
    """
    wanting: dict[str, list[int]] = defaultdict(list)
    for number, (_, name) in wanted.items():
        wanting[name].append(number)
    names = {number: name for number, (_, name) in wanted.items()}
    joined = {number: "_".join((*_parent(*place), place[1])) for number, place in wanted.items()}
    notes = []
    for name, numbers in wanting.items():
        if len(numbers) > 1:
            parents = {_parent(*wanted[number]) for number in numbers}
            names |= {number: joined[number] for number, place in wanted.items() if _parent(*place) in parents}
            told = ", ".join(sorted(names[number] for number in numbers))
            notes.append(f"{name}: {len(numbers)} folders hold a case of this name; they are called {told}")
    if len(set(names.values())) < len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        raise ValueError(f"{twice}: two cases would have this name; rename the folder of one")
    return names, notes


def _parent(folder: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The folders above a case, its own left out."""
    return folder[:-1] if folder[-1:] == (name,) else folder


def extends(name: str, beginning: str) -> bool:
    """Whether a name is ``beginning``, or goes on after it with a new word: pat1_a extends pat1, pat10 does not."""
    rest = name[len(beginning) :]
    return name.casefold().startswith(beginning.casefold()) and (not rest or rest[0] in "_-. ")


def _is_within_a_case(folder: str, spec: DatasetSpec) -> bool:
    return folder.lower() in FOLDERS_WITHIN_A_CASE or (
        read_name(folder, spec).is_scan and not read_name(folder, spec).beginning
    )
