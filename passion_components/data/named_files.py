"""Cases in folders whose file names say which sequence they hold: BraTS and MyoPS as published, and their like."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from passion_components.data.found_cases import FoundCases
from passion_components.data.image_files import beginning_and_word, images_below
from passion_components.datasets import DatasetSpec
from passion_components.modalities import canonical_modality

LABEL_WORDS = ("seg", "segm", "gd", "label", "mask")


def find_named_cases(source: Path, spec: DatasetSpec) -> FoundCases:
    """Cases at any depth of a folder, their files named ``<case>_<word>`` (or ``-``, or ``.``), or ``<case>/<word>``.

    The word is a spelling of a sequence (:data:`passion_components.modalities.ALIASES`) or one of ``LABEL_WORDS``, in
    any case of letters. A case that lacks sequences is kept as it is. One without label map, without any sequence, or
    with two files for the same thing is left out. A label map whose name begins otherwise belongs to the case in its
    folder, if there is just one and it has no other (BraTS2020's case 355).

    Raises:
        FileNotFoundError: not one case.
    """
    found = FoundCases()
    files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in images_below(source):
        beginning, word = beginning_and_word(file)
        key = canonical_modality(word)
        if word.lower() in LABEL_WORDS:
            key = "label"
        elif key not in spec.modalities:
            wanted = ", ".join((*spec.modalities, LABEL_WORDS[0]))
            found.notes.append(
                f"{file}: names no sequence of {spec.name}; expected <case>_<word> with a word like {wanted}: rename "
                f"it if it belongs to a case, or use --pattern"
            )
            continue
        files[beginning or file.parent.name][key].append(file.absolute())
    _adopt_labels(files, found)
    for case, of_case in files.items():
        found.add(case, of_case, needs_label=True)
    first, label = spec.modalities[0], LABEL_WORDS[0]
    return found.need_cases(source, [f"<case>/<case>_{{{first},...,{label}}}.nii.gz"])


def _adopt_labels(files: dict[str, dict[str, list[Path]]], found: FoundCases) -> None:
    """Give a label map that no sequence shares its name with to the only case in its folder that lacks one."""
    strays = {name: of_case["label"] for name, of_case in files.items() if set(of_case) == {"label"}}
    for name, labels in strays.items():
        folder = labels[0].parent
        neighbours = [
            case
            for case, of_case in files.items()
            if case != name and any(path.parent == folder for paths in of_case.values() for path in paths)
        ]
        if len(labels) == 1 and len(neighbours) == 1 and "label" not in files[neighbours[0]]:
            files[neighbours[0]]["label"] = files.pop(name)["label"]
            found.notes.append(f"{labels[0]}: taken as the label map of {neighbours[0]}, the only case in its folder")
