"""What can be wrong with one case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import nibabel as nib
import numpy as np

from passion_components.data.checks.facts import VolumeFacts
from passion_components.data.checks.findings import CheckedCase, Finding, Kind
from passion_components.data.errors import CaseError, by
from passion_components.data.reading.background import DIM, MAX_NEGATIVE_SHARE
from passion_components.data.reading.few_values import shown
from passion_components.data.reading.grid import Grid, check_one_grid
from passion_components.data.reading.volumes import non_finite_problem
from passion_components.datasets import DatasetSpec

MAX_OUTSIDE = 0.02
"""Share of a label's foreground outside of all images; 0 in eleven scans of gliomas."""

MIN_MIRRORED = 1.5
"""A label map that fits so many times as well mirrored, is.

Of 92 patients none had more than 1.3; mirrored, nine of ten have more than 1.5.
"""

_SPACING_TOLERANCE = 1e-3
_MAX_LISTED = 8


def case_findings(case: CheckedCase, spec: DatasetSpec) -> list[Finding]:
    """Everything that is wrong with a case taken by itself."""
    return [Finding(kind, (case,), message) for rule in _RULES for kind, message in rule(case, spec)]


def _unusable(case: CheckedCase, _: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    for facts in case.files.values():
        if facts.problem is not None:
            yield Kind.UNREADABLE, facts.problem


def _grids(case: CheckedCase, _: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    try:
        check_one_grid(_grids_of(case), case=str(case))
    except CaseError as error:
        yield Kind.GRIDS, str(error)


def _non_finite(case: CheckedCase, _: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    for key, volume in case.volumes.items():
        if volume.non_finite:
            yield Kind.NON_FINITE, f"{case}: {non_finite_problem(case.files[key].path, volume.non_finite)}"


def _contrast(case: CheckedCase, _: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    flat = [key for key, volume in case.sequences.items() if not volume.contrast and not volume.non_finite]
    listed = [key for key in case.files if key != "label"]
    if flat == listed:
        yield (
            Kind.ALL_CONSTANT,
            f"{case}: every sequence is constant ({case.file_names(flat)}); expected at least one with contrast: "
            f"leave the case out",
        )
        return
    for key in flat:
        yield (
            Kind.CONSTANT,
            f"{case}: {case.files[key].path} is constant; {key} counts as absent: remove it from the datalist",
        )


def _few_values(case: CheckedCase, _: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    label = case.volumes.get("label")
    for key, volume in case.sequences.items():
        is_that_label = label is not None and volume.voxels_sha256 == label.voxels_sha256  # an error of its own
        if volume.contrast and volume.few_values and not is_that_label:
            yield (
                Kind.FEW_VALUES,
                f"{case}: {case.files[key].path} holds the values {shown(volume.few_values)} alone, as a label map or "
                f"mask; expected the scan: correct the path of {key}",
            )


def _copies(case: CheckedCase, _: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    by_voxels: dict[str, list[str]] = {}
    for key, volume in case.volumes.items():
        if not volume.constant:
            by_voxels.setdefault(volume.voxels_sha256, []).append(key)
    for keys in by_voxels.values():
        if len(keys) == 1:
            continue
        names = " and ".join(f"{key} ({case.files[key].path})" for key in keys)
        if "label" in keys:
            yield (
                Kind.LABEL_AS_SEQUENCE,
                f"{case}: {names} hold the same voxels; a network would be shown the answer: correct the paths",
            )
        elif case.volumes[keys[0]].contrast:
            yield (
                Kind.COPIED_SEQUENCE,
                f"{case}: {names} hold the same voxels; a copy is no sequence of its own: "
                f"remove from the datalist what is not that sequence",
            )


def _label(case: CheckedCase, spec: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    if "label" not in case.files:
        if case.part == "test":
            yield Kind.NOT_SCORED, f"{case}: has no label map; evaluation needs one, inference does not"
        else:
            yield Kind.NO_LABEL, f"{case}: has no label map; {case.part} needs one for every case: add it as label"
        return
    volume = case.volumes.get("label")
    if volume is None or volume.label_values is None:
        return
    codes = spec.label_codes
    wrong = [value for value in volume.label_values if value not in codes]
    if wrong:
        listed = ", ".join(f"{value:g}" for value in wrong[:_MAX_LISTED]) + (" ..." if len(wrong) > _MAX_LISTED else "")
        yield (
            Kind.LABEL_VALUES,
            f"{case}: {case.files['label'].path} holds the labels {listed}; "
            f"accepted: {', '.join(map(str, sorted(codes)))}: recode the file, name the right one, "
            f"or name its label_scheme in the datalist",
        )
    elif not any(codes[int(value)] for value in volume.label_values):
        yield Kind.EMPTY_LABEL, f"{case}: {case.files['label'].path} holds nothing but background"


def _spacing(case: CheckedCase, spec: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    if spec.spatial_dims != 3 or not case.volumes or not _on_one_grid(_grids_of(case)):
        return
    volume = next(iter(case.volumes.values()))
    if not np.allclose(_oriented_spacing(volume, spec.orientation), spec.spacing, rtol=0, atol=_SPACING_TOLERANCE):
        yield (
            Kind.SPACING,
            f"{case}: voxels of {by(f'{length:.3g}' for length in volume.spacing)} mm will be resampled; "
            f"images of {spec.name} have {by(f'{length:g}' for length in spec.spacing)} mm",
        )


def _doubtful_place(case: CheckedCase, _: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    for key, volume in case.volumes.items():
        if volume.doubt:
            yield Kind.DOUBTFUL_PLACE, f"{case}: {case.files[key].path}: {volume.doubt}"


def _background(case: CheckedCase, spec: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    """Extracted brains have exactly 0 everywhere outside; whole heads have air and bone."""
    seen = {key: volume for key, volume in case.sequences.items() if volume.contrast}
    if spec.skull == "expected":
        yield from _extracted(case, seen, spec)
    if spec.skull != "unexpected" or spec.foreground != "nonzero":
        return
    nonzero = [key for key, volume in seen.items() if not volume.zero_outside]
    dim = [key for key, volume in seen.items() if volume.zero_outside and volume.dim]
    if nonzero:
        shares = ", ".join(f"{key} {seen[key].zero_share:.0%}" for key in nonzero)
        yield (
            Kind.BACKGROUND,
            f"{case}: the background is not 0 (voxels that are 0: {shares}); expected 0 everywhere outside the brain: "
            f"extract the brain, and shift no values before",
        )
    if dim:
        shares = ", ".join(f"{key} {seen[key].dim_share:.0%}" for key in dim)
        yield (
            Kind.BACKGROUND,
            f"{case}: looks as if the skull was not removed (voxels up to {DIM:.0%} of the bright ones, as in air and "
            f"bone: {shares}); expected 0 everywhere outside the brain: extract the brain",
        )


def _extracted(case: CheckedCase, seen: Mapping[str, VolumeFacts], spec: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    bare = [key for key, volume in seen.items() if volume.zero_outside and not volume.dim]
    if bare:
        yield (
            Kind.BACKGROUND,
            f"{case}: looks as if the skull was removed ({', '.join(bare)}); scans of {spec.name} show the whole "
            f"head: use the scans as they were acquired",
        )


def _normalised(case: CheckedCase, spec: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    """Where foreground is what is not 0, 0 must be the value of the background, which no shift may move."""
    if spec.foreground != "nonzero":
        return
    around = [volume for volume in case.sequences.values() if spec.skull != "unexpected" or volume.zero_corners]
    negative = [volume for volume in around if volume.negative_share > MAX_NEGATIVE_SHARE]
    if negative:
        shares = ", ".join(f"{volume.grid.file} {volume.negative_share:.0%}" for volume in negative)
        yield (
            Kind.NORMALISED,
            f"{case}: looks normalised or shifted already (voxels below 0: {shares}); expected values as the scanner "
            f"gives them, 0 outside: they are normalised here",
        )


def _repeated_slices(case: CheckedCase, _: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    for key, volume in case.sequences.items():
        if volume.repeated_slices:
            yield (
                Kind.REPEATED_SLICES,
                f"{case}: {case.files[key].path} holds {volume.repeated_slices} slices that equal the one before them; "
                f"expected every slice once: is it put together from slices twice, or resampled to nearest neighbours? "
                f"make it anew from the original",
            )


def _label_place(case: CheckedCase, _: DatasetSpec) -> Iterator[tuple[Kind, str]]:
    place = case.label_place
    if place is None or not _on_one_grid(_grids_of(case)):
        return
    path = case.files["label"].path
    if place.outside > MAX_OUTSIDE:
        yield (
            Kind.OUTSIDE,
            f"{case}: {place.outside:.1%} of the foreground of {path} lies where every sequence is 0; expected it in "
            f"the images: is it shifted, or of another patient?",
        )
    axis = int(np.argmax(place.mirrored))
    if place.mirrored[axis] > MIN_MIRRORED:
        yield (
            Kind.MIRRORED,
            f"{case}: {path} fits the images {place.mirrored[axis]:.1f} times as well mirrored along axis {axis} of "
            f"the array; look at both: mirrored voxels under the same header must be turned back",
        )


def _grids_of(case: CheckedCase) -> list[Grid]:
    return [volume.grid for volume in case.volumes.values()]


def _on_one_grid(grids: Sequence[Grid]) -> bool:
    return all(grids[0].matches(grid) for grid in grids[1:])


def _oriented_spacing(volume: VolumeFacts, orientation: str | None) -> np.ndarray:
    """Millimetres per voxel along the axes of the array once it is brought to ``orientation``."""
    spacing = np.array(volume.spacing)
    if orientation is None:
        return spacing
    orientations = nib.orientations
    to = orientations.ornt_transform(
        orientations.io_orientation(volume.grid.affine), orientations.axcodes2ornt(tuple(orientation))
    )
    return spacing[np.argsort(to[:, 0])]


_RULES: tuple[Callable[[CheckedCase, DatasetSpec], Iterator[tuple[Kind, str]]], ...] = (
    _unusable,
    _grids,
    _non_finite,
    _contrast,
    _few_values,
    _copies,
    _label,
    _spacing,
    _doubtful_place,
    _background,
    _normalised,
    _repeated_slices,
    _label_place,
)
