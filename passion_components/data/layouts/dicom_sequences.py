"""Which sequence a DICOM series shows, by what its header says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from passion_components.data.errors import CaseError
from passion_components.data.layouts.file_names import ReadName, described_roles
from passion_components.data.layouts.folder_names import depth_of_xnat_scan
from passion_components.data.reading.dicom_headers import Image, called, read_headers
from passion_components.datasets import DatasetSpec, roles

_NO_AGENT = ("", "no", "none", "n", "0")
_NO_MRI = ("CT", "PT", "NM", "US", "CR", "DX", "XA", "MG", "SR", "PR", "KO", "SEG")
_FLAIR_INVERSION = (1500.0, 3500.0)
_T1_INVERSION = (300.0, 1400.0)
_SHORT_ECHO, _LONG_ECHO, _FLAIR_ECHO = 35.0, 70.0, 60.0
_T1_REPETITION = 1200.0
"""Milliseconds, as of spin echoes at 1.5 and 3 tesla."""


@dataclass(frozen=True)
class Series:
    """One of the series in a folder.

    Attributes:
        path: of :func:`~passion_components.data.reading.volumes.read_volume`: ``folder/#number``, or the folder.
        number: as viewers show it, None where the header has none.
        study: what the header calls the examination.
        read: the sequence that it seems to show.
    """

    path: Path
    number: int | None
    study: str
    read: ReadName


def sort_series(
    folders: Sequence[Path], source: Path, spec: DatasetSpec, chosen: Mapping[str, int], lost: list[str]
) -> dict[Path, list[Series]]:
    """The series in some folders by the folder of their case.

    That is the one with a DICOMDIR around them; a folder that holds several series; the folder around folders of one
    series each, unless each is of another study.

    Args:
        folders: with DICOM files directly in them.
        source: the folder that all are below.
        spec: data set.
        chosen: modality -> number of the series that shows it, whatever its header suggests.
        lost: gets a line for every folder that holds nothing that can be read.

    Raises:
        ValueError: a chosen number that no series has.
    """
    found: dict[Path, list[Series]] = {}
    for folder in folders:
        try:
            found[folder] = series_in(folder, spec)
        except CaseError as error:
            lost.append(str(error))
            continue
        if not found[folder]:
            lost.append(f"{folder}: holds files that look like DICOM, but none that can be read; not used")
    places: dict[Path, list[Series]] = defaultdict(list)
    for folder, series in found.items():
        places[_place(folder, source, found)] += series
    everywhere = [each for series in places.values() for each in series]
    for name, number in chosen.items():
        if all(each.number != number for each in everywhere):
            headers = ", ".join(each.read.header for each in everywhere) or "none"
            raise ValueError(f"--series {name}={number}: no DICOM series has this number; found: {headers}")
    return {place: _of_one_study(_choose(series, chosen)) for place, series in places.items() if series}


def _place(folder: Path, source: Path, found: Mapping[Path, Sequence[Series]]) -> Path:
    """The folder of the case that the series in a folder belong to."""
    above = [up for up in (folder, *folder.parents) if up == source or source in up.parents]
    disc = next((up for up in above if any(file.name.upper() == "DICOMDIR" for file in up.iterdir())), None)
    if disc is not None or len(found[folder]) > 1 or folder == source:
        return disc or folder
    around = _around(folder, source)
    beside = [
        series[0].study for other, series in found.items() if len(series) == 1 and _around(other, source) == around
    ]
    own_studies = len(set(beside)) == len(beside) > 1
    return folder if own_studies or (around == source and len(beside) == 1) else around


def _around(folder: Path, source: Path) -> Path:
    """The folder around folders of one series each."""
    parts = folder.relative_to(source).parts
    depth = depth_of_xnat_scan(parts)
    return folder.parent if depth is None else source.joinpath(*parts[:depth])


def _choose(series: Sequence[Series], chosen: Mapping[str, int]) -> list[Series]:
    """Series whose sequences are those that were chosen, where they were; numbers that a case lacks choose nothing."""
    there = {each.number for each in series}
    chosen = {name: number for name, number in chosen.items() if number in there}
    numbers = {number: name for name, number in chosen.items()}

    def with_choice(each: Series) -> Series:
        name = numbers.get(each.number) if each.number is not None else None
        if name is not None:
            return replace(each, read=replace(each.read, key=name, problem=""))
        if each.read.key in chosen:
            return replace(
                each, read=replace(each.read, key=None, problem=f"another series was chosen for {each.read.key}")
            )
        return each

    return [with_choice(each) for each in series]


def _of_one_study(series: list[Series]) -> list[Series]:
    """The series themselves, or none of them as a sequence if they are of several examinations."""
    studies = {each.study for each in series}
    if len(studies) == 1:
        return series
    problem = f"one of {len(studies)} studies here: put those of one patient and visit into a folder of their own"
    return [replace(each, read=replace(each.read, key=None, problem=problem, has_sequence=True)) for each in series]


def series_in(folder: Path, spec: DatasetSpec) -> list[Series]:
    """The series of the DICOM files directly in a folder, by number.

    Raises:
        CaseError: a compressed file that is damaged or too large.
    """
    with TemporaryDirectory() as unpacked:
        images, _ = read_headers(folder, Path(unpacked), case=folder.name)
    first: dict[str, Image] = {}
    for image in images:
        first.setdefault(image.tags.get("series", ""), image)
    found = sorted(first.values(), key=lambda image: (image.number or 0, image.tags.get("series", "")))
    numbers = [image.number for image in found]
    return [
        Series(
            folder if image.number is None else folder / f"#{image.number}",
            image.number,
            image.tags.get("study", ""),
            read_header(image, spec, shared=numbers.count(image.number) > 1),
        )
        for image in found
    ]


def read_header(image: Image, spec: DatasetSpec, *, shared: bool = False) -> ReadName:
    """The sequence of a series by description, contrast agent, echo, repetition and inversion times; None if unclear.

    What the description names must agree with the times where these tell; where it names nothing, the times alone
    suggest T1, T2 or FLAIR. ``shared``: whether another series has its number.
    """
    said = f"{called(image)}{_times(image)}"
    modality, kind = image.tags.get("modality", ""), image.tags.get("type", "").upper()
    if modality in _NO_MRI or "LOCALIZER" in kind or image.tags.get("samples", "1") != "1":
        what = "is a localizer" if "LOCALIZER" in kind else f"is no MR image (modality {modality})"
        return ReadName(None, "", what if modality != "MR" or "LOCALIZER" in kind else "holds colours", False, said)
    named, contrast = described_roles(image.tags.get("description") or image.tags.get("protocol", ""), spec)
    agent = image.tags.get("agent", "").lower() not in _NO_AGENT
    role, problem = _decide(named, _by_times(image), agent, derived="DERIVED" in kind)
    if role == "t1ce" and contrast is False:
        role, problem = None, "is called without contrast, but its header names a contrast agent"
    of_role = roles(spec)
    if role is not None and role not in of_role:
        role, problem = None, f"{role} is none of {', '.join(of_role.values())}"
    if role is not None and shared:
        role, problem = None, "another series has its number: put each into a folder of its own"
    may_be_one = bool(named) or not ("DERIVED" in kind or "EP" in image.tags.get("technique", ""))
    return ReadName(of_role[role] if role else None, "", problem, may_be_one, said)


def _decide(named: set[str], by_times: str | None, agent: bool, *, derived: bool) -> tuple[str | None, str]:
    """The role of a series, or why it is not clear."""
    if not named:
        if by_times is None or derived:
            return None, "does not say which sequence it is"
        named = {by_times}
    if "t2" in named and "flair" in named | {by_times}:
        named = named - {"t2"} | {"flair"}
    if named == {"t1", "flair"} and by_times == "t1":
        named = {"t1"}
    if len(named) > 1:
        return None, f"names {' and '.join(sorted(named))}"
    (role,) = named
    weighting = "t1" if role == "t1ce" else role
    if by_times is not None and by_times != weighting and {by_times, weighting} != {"t2", "flair"}:
        return None, f"is called {role}, but its times are those of {by_times}"
    return ("t1ce" if role == "t1" and agent else role), ""


def _by_times(image: Image) -> str | None:
    """``t1``, ``t2`` or ``flair`` by echo, repetition and inversion times in ms; None where they do not tell."""
    echo, repetition, inversion = (_first(image, tag) for tag in ("echo", "repetition", "inversion"))
    technique = image.tags.get("technique", "SE").split("\\")
    if echo is None or "EP" in technique:
        return None
    if inversion and _FLAIR_INVERSION[0] <= inversion <= _FLAIR_INVERSION[1]:
        return "flair" if echo >= _FLAIR_ECHO else None
    if inversion:
        return "t1" if _T1_INVERSION[0] <= inversion <= _T1_INVERSION[1] and echo <= _SHORT_ECHO else None
    if "GR" in technique:
        return None
    if echo >= _LONG_ECHO:
        return "t2"
    return "t1" if echo <= _SHORT_ECHO and repetition is not None and repetition <= _T1_REPETITION else None


def _first(image: Image, tag: str) -> float | None:
    numbers = image.numbers(tag)
    return float(numbers[0]) if len(numbers) else None


def _times(image: Image) -> str:
    """Times and contrast agent in words, to be shown."""
    names: Mapping[str, str] = {"echo": "TE", "repetition": "TR", "inversion": "TI"}
    told = [f"{name} {value:g}" for tag, name in names.items() if (value := _first(image, tag))]
    agent = image.tags.get("agent", "")
    told += [f"agent {agent}"] if agent.lower() not in _NO_AGENT else []
    return f" ({', '.join(told)})" if told else ""
