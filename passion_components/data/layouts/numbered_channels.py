"""Cases in folders whose ``dataset.json`` says which channel is which sequence: Decathlon (MSD) and nnU-Net."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from passion_components.data.layouts.file_names import read_name
from passion_components.data.layouts.found_cases import FoundCases
from passion_components.data.reading.image_files import images_in, stem
from passion_components.datasets import DatasetSpec
from passion_components.files import read_text

DESCRIPTION = "dataset.json"
FOLDERS = (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"))


def has_numbered_channels(folder: Path) -> bool:
    """Whether a folder is one of those that :func:`find_numbered_cases` understands."""
    return (folder / DESCRIPTION).is_file() and any((folder / images).is_dir() for images, _ in FOLDERS)


def find_numbered_cases(source: Path, spec: DatasetSpec, *, labelled: bool = True) -> FoundCases:
    """Cases of ``imagesTr`` with ``labelsTr`` (and of ``imagesTs`` where there is a ``labelsTs``).

    ``<case>.nii.gz`` is a 4D file with all sequences (MSD), ``<case>_0000.nii.gz`` one of them (nnU-Net). ``modality``
    or ``channel_names`` in ``dataset.json`` tells their names by number, ``labels`` the classes of the codes.

    Args:
        source: the folder.
        spec: data set.
        labelled: whether a case must have a label map; else all images count, and no label maps.

    Raises:
        FileNotFoundError: not one case.
        ValueError: a ``dataset.json`` that cannot be understood.
    """
    found = FoundCases()
    description = read_description(source / DESCRIPTION)
    channels = _channels(source / DESCRIPTION, description, spec, found)
    found.classes = classes_of(description.get("labels"))
    for images, labels in FOLDERS:
        has_labels = (source / labels).is_dir()
        if not (source / images).is_dir() or (labelled and not has_labels):
            continue
        label_of = {stem(file): file.absolute() for file in images_in(source / labels)} if has_labels else {}
        files: dict[str, dict[str, list[Path | str]]] = defaultdict(lambda: defaultdict(list))
        for image in images_in(source / images):
            numbered = re.fullmatch(r"(.+)_(\d{4})", stem(image))
            if numbered and stem(image) not in label_of:
                name = channels.get(int(numbered[2]))
                if name:
                    files[numbered[1]][name].append(image.absolute())
            else:
                files[stem(image)] |= {name: [f"{image.absolute()}#{index}"] for index, name in channels.items()}
        for case, of_case in files.items():
            if labelled and case in label_of:
                of_case["label"].append(label_of[case])
            found.add(case, of_case, label=f"{labels}/{case}.nii.gz" if labelled else "")
    return found.need_cases(source, ["imagesTr/<case>_0000.nii.gz with labelsTr/<case>.nii.gz", "4D imagesTr/<case>"])


def read_description(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object, got a {type(content).__name__}")
    return content


def _channels(path: Path, description: Mapping[str, Any], spec: DatasetSpec, found: FoundCases) -> dict[int, str]:
    """Number of a channel -> modality of the data set; other channels are noted."""
    names = description.get("channel_names", description.get("modality"))
    if not isinstance(names, dict) or not all(str(number).isdigit() for number in names):
        raise ValueError(f"{path}: expected channel_names (or modality) like {{'0': 'FLAIR', ...}}, got {names!r}")
    channels = {int(number): read_name(str(name), spec).key for number, name in names.items()}
    known = {number: name for number, name in channels.items() if name in spec.modalities}
    found.notes += [
        f"{path}: channel {number} is {name!r}, no sequence of {spec.name}; left out"
        for number, name in names.items()
        if int(number) not in known
    ]
    if len(set(known.values())) < len(known) or not known:
        raise ValueError(f"{path}: expected every sequence once among {', '.join(spec.modalities)}, got {names}")
    return {number: str(name) for number, name in known.items()}


def classes_of(labels: Any) -> dict[str, tuple[int, ...]]:
    """Name of a class, or of a region of several codes -> codes, from either way of writing it."""
    if not isinstance(labels, dict):
        return {}
    pairs = [(value, key) if str(key).isdigit() else (key, value) for key, value in labels.items()]
    codes_of = {str(name): codes if isinstance(codes, list) else [codes] for name, codes in pairs}
    return {
        name: tuple(int(code) for code in codes)
        for name, codes in codes_of.items()
        if all(str(code).isdigit() for code in codes)
    }
