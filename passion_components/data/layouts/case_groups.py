"""Which images of a folder belong to one case, by the folders they lie in and by what their names begin with."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from passion_components.data.layouts.dicom_sequences import sort_series
from passion_components.data.layouts.file_names import ReadName, read_file_name, read_name
from passion_components.data.layouts.folder_names import depth_of_xnat_scan, tells_nothing
from passion_components.data.reading.image_files import stem
from passion_components.datasets import DatasetSpec

_MODALITY = ("", "mr", "mri", "mrt")
"""What the name of a sequence's folder may begin with, as Orthanc writes it."""


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
        """The images by what their names begin with, whatever the case of letters and the form of accented ones."""
        spelt: dict[str, str] = {}
        found: dict[str, dict[Path, ReadName]] = defaultdict(dict)
        for image, read in self.images.items():
            plain = unicodedata.normalize("NFC", read.beginning).casefold()
            found[spelt.setdefault(plain, read.beginning)][image] = read
        return dict(found)


def group_by_folder(
    images: Iterable[Path],
    source: Path,
    spec: DatasetSpec,
    *,
    chosen: Mapping[str, int] | None = None,
    lost: list[str] | None = None,
) -> list[Group]:
    """Images below ``source`` by the folder of their patient, or visit, sorted.

    Folders like ``anat`` or ``dicom``, and folders named like a sequence, belong to what they lie in; a folder named
    like a sequence directly in ``source`` is one only where no other folder beside it holds scans. So do ``1_T1`` and
    ``2_FLAIR`` beside each other, numbered as series are, and ``SCANS/2/NIFTI`` of XNAT. A folder of DICOM files whose
    name, and those above it, tell no sequence gives the series in it, sorted by their headers.

    Args:
        images: as of :func:`~passion_components.data.reading.image_files.images_below`.
        source: the folder that they are below.
        spec: data set.
        chosen: modality -> number of the DICOM series that shows it, whatever its header suggests.
        lost: gets a line for every folder whose series cannot be told, and one where numbers might be of cases.

    Raises:
        ValueError: a chosen number that no series has.
    """
    reads = {image: read_file_name(image, spec) for image in images}
    parts_of = {image: image.relative_to(source).parts[:-1] for image in reads}
    by_header = []
    for folder in [image for image, read in reads.items() if _is_opaque(image, read)]:
        named = _named_above(folder, source, spec)
        if named is None:
            by_header.append(folder)
            del reads[folder]
        else:
            parts_of[folder], reads[folder] = named
    for place, series in sort_series(by_header, source, spec, chosen or {}, [] if lost is None else lost).items():
        reads |= {each.path: each.read for each in series}
        parts_of |= {each.path: place.relative_to(source).parts for each in series}
    numbered = _numbered_series(parts_of.values(), spec) | _series_of_xnat(reads, parts_of)
    in_source = [folder for folder in numbered if all(map(tells_nothing, folder[:-1]))]
    if lost is not None and (names := sorted(folder[-1] for folder in in_source)):
        lost.append(f"{source}: {', '.join(names)} are taken as series of one case, by their numbers")

    def is_within(parts: tuple[str, ...], depth: int) -> bool:
        return _is_within_a_case(parts[depth], spec) or parts[: depth + 1] in numbered

    others_hold_scans = any(
        reads[image].is_scan and parts_of[image] and not is_within(parts_of[image], 0) for image in reads
    )
    groups: dict[tuple[str, ...], Group] = {}
    for image, read in reads.items():
        parts = parts_of[image]
        kept = parts[:1] if others_hold_scans and parts[:1] and not tells_nothing(parts[0]) else ()
        inner = tuple(parts[depth] for depth in range(len(kept), len(parts)) if not is_within(parts, depth))
        groups.setdefault((*kept, *inner), Group((*kept, *inner))).images[image] = read
    return [groups[folder] for folder in sorted(groups)]


def case_of_file(file: Path, spec: DatasetSpec) -> str:
    """The case that an absolute path alone tells: what the file's name begins with, else the nearest folder around it
    that is named neither like a sequence nor like ``anat`` or ``dicom``."""
    folders = (above.name for above in file.parents if above.name and not _is_within_a_case(above.name, spec))
    beginning = "" if _is_within_a_case(stem(file), spec) else read_file_name(file, spec).beginning
    return beginning or next(folders, stem(file))


def _numbered_series(folders: Iterable[tuple[str, ...]], spec: DatasetSpec) -> set[tuple[str, ...]]:
    """The folders named by a number and a sequence (``1_T1``) that are series of one case and no cases themselves.

    Beside each other they have numbers of their own and show several sequences, or those of other cases do, which may
    have lost all but one; ``101_T1`` and ``102_T1`` alone are cases.
    """
    beside: dict[tuple[str, ...], dict[str, ReadName]] = defaultdict(dict)
    for parts in set(folders):
        for depth, part in enumerate(parts):
            read = read_name(part, spec)
            if read.key is not None and read.beginning.isdecimal():
                beside[parts[:depth]][part] = read
    counted = {
        above: reads
        for above, reads in beside.items()
        if len({int(read.beginning) for read in reads.values()}) == len(reads)
    }
    several = {above for above, reads in counted.items() if len({read.key for read in reads.values()} - {"label"}) > 1}
    deeper = any(several - {()})
    return {
        (*above, part) for above, reads in counted.items() if above in several or (above and deeper) for part in reads
    }


def _series_of_xnat(reads: Mapping[Path, ReadName], parts_of: Mapping[Path, tuple[str, ...]]) -> set[tuple[str, ...]]:
    """The folders of XNAT that are series of one case: none shows two sequences, those of a session together do.

    Series that were told by their headers have the folder of their case already.
    """
    shown: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for image, read in reads.items():
        depth = None if read.header else depth_of_xnat_scan(parts_of[image])
        if depth is not None:
            shown[parts_of[image][: depth + 1]] += [str(read.key)] if read.is_scan else []
    sessions: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for folder, keys in shown.items():
        sessions[folder[:-1]].update(keys)
    is_xnat = all(len(keys) < 2 for keys in shown.values()) and any(len(keys) > 1 for keys in sessions.values())
    return set(shown) if is_xnat else set()


def _is_opaque(image: Path, read: ReadName) -> bool:
    """Whether this is a folder of DICOM files whose name tells no sequence, or, as OsiriX and Horos write it, no more
    than the description and number of a series (``FLAIR_long_501``)."""
    return read.key is None and (not read.has_sequence or image.name[-1].isdecimal()) and image.is_dir()


def _named_above(folder: Path, source: Path, spec: DatasetSpec) -> tuple[tuple[str, ...], ReadName] | None:
    """What the nearest folder above tells that is named like a sequence, and the path to it."""
    parts = folder.relative_to(source).parts[:-1]
    for depth in range(len(parts), 0, -1):
        read = read_name(parts[depth - 1], spec)
        if read.is_scan and not read.beginning:
            return parts[: depth - 1], read
    return None


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
    read = read_name(folder, spec)
    return tells_nothing(folder) or (read.is_scan and read.beginning.lower() in _MODALITY)
