"""Cases in folders whose file names say which sequence they hold: BraTS and MyoPS as published, and their like."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from passion_components.data.layouts.case_groups import group_by_folder, unique_names
from passion_components.data.layouts.file_names import ReadName
from passion_components.data.layouts.found_cases import FoundCases
from passion_components.data.layouts.visits import is_visit
from passion_components.data.outputs import IMAGE_MARK, is_own
from passion_components.data.reading.image_files import images_below
from passion_components.datasets import DatasetSpec

Files = dict[str, list[Path]]
Place = tuple[tuple[str, ...], str]
"""Folder and name of a case."""


def find_named_cases(source: Path, spec: DatasetSpec) -> FoundCases:
    """Cases at any depth of a folder, whose files are named ``<case>_<word>`` or ``<case>/<word>``.

    What a name says is read by :func:`~passion_components.data.layouts.file_names.read_file_name`. A case lies in one
    folder, its label map may lie in another; a prediction of this program is none. A case that lacks sequences is kept
    as it is. One without label map, without any sequence, or with two files for the same thing is left out. A label map
    whose name begins otherwise belongs to the case in its folder, if there is just one and it has no other (BraTS2020's
    case 355). Cases of one name in several folders are told apart by them.

    Raises:
        FileNotFoundError: not one case.
        ValueError: two cases that would have one name.
    """
    found = FoundCases()
    files: dict[Place, Files] = defaultdict(lambda: defaultdict(list))
    for group in group_by_folder(images_below(source, found.notes), source, spec, lost=found.notes):
        for beginning, images in group.by_beginning().items():
            name = beginning or (group.folder[-1] if group.folder else source.resolve().name)
            for image, read in images.items():
                if read.key is None:
                    found.notes.append(_unused(image, read, spec))
                elif read.key == "label" and is_own(image, IMAGE_MARK):
                    found.notes.append(f"{image}: is a prediction of this program, not used as a label map")
                else:
                    files[group.folder, name][read.key].append(image.absolute())
                    if read.header:
                        found.notes.append(f"{image}: taken as {read.key} by its header: {read.header}")
    _bring_labels(files)
    _adopt_labels(files, found)
    places = list(files)
    names, notes = unique_names(dict(enumerate(places)))
    found.notes += notes
    if any(len(folder) > 1 and not is_visit(folder[-1]) for folder, _ in places) and notes:
        found.notes.append(
            "where folders hold visits of one patient, the visits may get into different parts: keep them together by "
            "--pattern with {patient} and {visit}, or by a table with the column part"
        )
    label = f"<case>_{{{','.join(spec.label_words)}}}"
    for number, place in enumerate(places):
        found.add(names[number], files[place], label=label)
        if len(place[0]) > 1 and is_visit(place[0][-1]):
            found.patients[names[number]] = "/".join(place[0][:-1])
    return found.need_cases(source, [f"<case>/<case>_{{{spec.modalities[0]},...,{spec.label_words[0]}}}.nii.gz"])


def _unused(image: Path, read: ReadName, spec: DatasetSpec) -> str:
    if read.header:
        return f"{image}: {read.header}: {read.problem}; if it belongs to a case, write it into the datalist"
    words = ", ".join((*spec.modalities, spec.label_words[0]))
    return (
        f"{image}: {read.problem}; expected for {spec.name} <case>_<word> with a word like {words}: rename it if it "
        f"belongs to a case, or use --pattern"
    )


def _bring_labels(files: dict[Place, Files]) -> None:
    """Put a label map that lies alone to the only case of its name that lies elsewhere."""
    for place in [place for place, of_case in files.items() if set(of_case) == {"label"}]:
        folder, name = place
        others = [each for each, of_case in files.items() if each[1] == name and set(of_case) != {"label"}]
        beside = [each for each in others if each[0] and folder[-len(each[0]) :] == each[0]]
        for chosen in (others, beside):
            if len(chosen) == 1:
                files[chosen[0]]["label"] += files.pop(place)["label"]
                break


def _adopt_labels(files: dict[Place, Files], found: FoundCases) -> None:
    """Give a label map that no sequence shares its name with to the only case in its folder that lacks one."""
    for place in [place for place, of_case in files.items() if set(of_case) == {"label"}]:
        neighbours = [each for each in files if each != place and each[0] == place[0]]
        labels = files[place]["label"]
        if len(labels) == 1 and len(neighbours) == 1 and "label" not in files[neighbours[0]]:
            files[neighbours[0]]["label"] = files.pop(place)["label"]
            found.notes.append(
                f"{labels[0]}: taken as the label map of {neighbours[0][1]}, the only case in its folder"
            )
