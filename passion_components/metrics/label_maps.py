"""Scores of label maps in files, whatever made them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from monai.data import MetaTensor

from passion_components.data.errors import CaseError
from passion_components.data.reading.grid import check_one_grid
from passion_components.data.reading.image_files import images_below, is_nifti, stem
from passion_components.datasets import DatasetSpec
from passion_components.metrics.book import ScoreBook
from passion_components.metrics.scores import CaseScores, check_scoring, score_case
from passion_components.transforms.geometry import grid_of
from passion_components.transforms.labels import LoadLabeld

COLUMN = "prediction"
"""Takes the place of a subset in the record: which sequences a label map was made from, nobody knows."""

LABEL_WORDS = ("seg", "gd")
"""What label maps are called that we write, and in the published data."""


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Label maps of the same cases in two folders.

    Attributes:
        files: case -> predicted and true file.
        without_label: predicted cases that have no label.
        unpredicted: cases with a label and no prediction.
    """

    files: dict[str, tuple[Path, Path]]
    without_label: list[str]
    unpredicted: list[str]


def pair_label_maps(predictions: Path | str, labels: Path | str, label_words: Sequence[str] = ()) -> Pairs:
    """Pair the label maps of two folders by case.

    A case's file is ``<case>_seg.nii.gz``, ``<case>_gd.nii.gz`` or ``<case>.nii.gz`` (or ``.nii``), at any depth. Where
    a folder holds any file that ends in ``_seg`` or ``_gd``, the others in it (scans, probabilities) are not looked at.
    ``label_words`` are what the data set calls label maps besides.

    Raises:
        ValueError: a folder that is none or holds no NIfTI file, a case that occurs twice, no pair at all.
    """
    words = "|".join(map(re.escape, (*LABEL_WORDS, *label_words)))
    label = re.compile(rf"[_-]({words})$", re.IGNORECASE)
    predicted, true = _by_case(predictions, label), _by_case(labels, label)
    both = sorted(predicted.keys() & true.keys())
    if not both:
        raise ValueError(
            f"no case is both in {predictions} ({', '.join(sorted(predicted))}) and in {labels} "
            f"({', '.join(sorted(true))}); expected <case>.nii.gz or <case>_seg.nii.gz with the same <case> in both"
        )
    files = {case: (predicted[case], true[case]) for case in both}
    return Pairs(files, sorted(predicted.keys() - true.keys()), sorted(true.keys() - predicted.keys()))


def score_pairs(
    pairs: Pairs,
    spec: DatasetSpec,
    *,
    policy: str,
    metrics: Sequence[str],
    progress: Callable[[], None] = lambda: None,
) -> tuple[ScoreBook, list[str]]:
    """Score every pair in its own grid and spacing.

    Args:
        pairs: the files.
        spec: data set, for label codes and regions.
        policy: name of the rule for empty masks.
        metrics: which of ``METRICS``.
        progress: called after every case.

    Returns:
        The scores, under the subset :data:`COLUMN`, and a line for every case that could not be scored.

    Raises:
        ValueError: an unknown policy or metric.
    """
    check_scoring(spec.regions, policy=policy, metrics=metrics, min_region_voxels={})
    book = ScoreBook(dataset=spec.name, modalities=(COLUMN,), policy=policy)
    failures = []
    for case, files in pairs.files.items():
        try:
            book.add(case, (COLUMN,), *_score_pair(case, files, spec, policy, metrics))
        except CaseError as error:
            failures.append(str(error))
        progress()
    return book, failures


def _score_pair(
    case: str, files: tuple[Path, Path], spec: DatasetSpec, policy: str, metrics: Sequence[str]
) -> CaseScores:
    prediction, target = (_read(case, file, spec) for file in files)
    grids = [
        dataclasses.replace(grid_of(each), file=str(file))
        for each, file in zip((prediction, target), files, strict=True)
    ]
    check_one_grid(grids, case=case, remedy="bring the prediction to the grid of its label, by the nearest voxel")
    spacing = np.linalg.norm(grids[1].affine[:3, :3], axis=0).tolist()
    maps = prediction[0].numpy(), target[0].numpy()
    return score_case(*maps, spec.regions, spacing, policy=policy, metrics=metrics)


def _read(case: str, file: Path, spec: DatasetSpec) -> MetaTensor:
    """Class indices uint8 (1, *S) of a label file, with its grid."""
    return LoadLabeld(to="classes", label_codes=spec.label_codes)({"case": case, "label": file})["classes"]


def _by_case(folder: Path | str, label: re.Pattern[str]) -> dict[str, Path]:
    """Case -> label map, for the label maps in a folder."""
    if not Path(folder).is_dir():
        why = "is a file" if Path(folder).exists() else "no such folder"
        raise ValueError(f"{folder}: {why}; expected one with label maps, <case>.nii.gz or <case>_seg.nii.gz")
    stems = {file: stem(file) for file in images_below(Path(folder)) if file.is_file() and is_nifti(file)}
    named = {file: name for file, name in stems.items() if label.search(name)}
    found: dict[str, Path] = {}
    for file, name in (named or stems).items():
        case = label.sub("", name)
        if case in found:
            raise ValueError(
                f"{folder}: case {case} occurs twice, {found[case]} and {file}; leave one of them, or name every file "
                f"after its case"
            )
        found[case] = file
    if not found:
        raise ValueError(f"{folder}: holds no NIfTI file; expected <case>.nii.gz or <case>_seg.nii.gz")
    return found
