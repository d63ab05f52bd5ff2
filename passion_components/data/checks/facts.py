"""What one file of a case holds, in numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from passion_components.data.checks.label_place import LabelPlace, LabelSurface, repeated_slices
from passion_components.data.errors import CaseError
from passion_components.data.reading.background import (
    MAX_DIM_SHARE,
    MIN_ZERO_SHARE,
    dim_share,
    has_zero_corners,
    negative_share,
)
from passion_components.data.reading.few_values import few_values
from passion_components.data.reading.grid import Grid
from passion_components.data.reading.image_files import split_index
from passion_components.data.reading.volumes import Volume, read_label_map, read_volume
from passion_components.files import content_hash

_MAX_VALUES = 256


@dataclass(frozen=True)
class VolumeFacts:
    """What a volume holds; values are those that training sees: float32, scaled as the header says.

    Attributes:
        grid: shape and affine.
        dtype: of the values as they are read from the file.
        minimum, maximum: of the finite values; None where none is finite.
        zero_share: share of the voxels that are exactly 0.
        zero_corners: whether all eight corner voxels are exactly 0.
        dim_share: as of :func:`~passion_components.data.reading.background.dim_share`.
        negative_share: share of the voxels other than 0 that lie below 0.
        non_finite: number of voxels that are NaN or infinite.
        contrast: whether the sequence counts as present.
        voxels_sha256: SHA-256 of shape and values, whatever the header says otherwise.
        repeated_slices: number of slices that equal the one before them; 0 in label maps.
        label_values: the smallest 256 of the finite values that occur; None where the file is no label map.
        doubt: what is doubtful about the place that the header gives it, "" if nothing.
        few_values: as of :func:`~passion_components.data.reading.few_values.few_values`; () in label maps.
    """

    grid: Grid
    dtype: str
    minimum: float | None
    maximum: float | None
    zero_share: float
    zero_corners: bool
    dim_share: float
    negative_share: float
    non_finite: int
    contrast: bool
    voxels_sha256: str
    repeated_slices: int
    label_values: tuple[float, ...] | None
    doubt: str
    few_values: tuple[float, ...]

    @property
    def zero_outside(self) -> bool:
        """Whether the background is 0, as around an extracted brain."""
        return self.zero_corners and self.zero_share >= MIN_ZERO_SHARE

    @property
    def dim(self) -> bool:
        """Whether so much is dim that it looks like air and bone."""
        return self.dim_share > MAX_DIM_SHARE

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres per voxel along the axes of the array."""
        return tuple(np.linalg.norm(self.grid.affine[:3, :3], axis=0).tolist())

    @property
    def constant(self) -> bool:
        """Whether all values are the same number."""
        return self.minimum == self.maximum


@dataclass(frozen=True)
class FileFacts:
    """One file of a case: either ``volume``, or in ``problem`` the line that says why it cannot be used.

    ``sha256`` is that of the file, see :func:`~passion_components.files.content_hash`; None where there is nothing to
    read.
    """

    path: str
    sha256: str | None = None
    problem: str | None = None
    volume: VolumeFacts | None = None

    def as_json(self) -> dict[str, Any]:
        """The facts as values of JSON."""
        facts: dict[str, Any] = {"path": self.path, "sha256": self.sha256}
        if self.volume is None:
            return {**facts, "problem": self.problem}
        volume = self.volume
        facts |= {
            "shape": list(volume.grid.shape),
            "spacing": [round(length, 6) for length in volume.spacing],
            "axis_codes": "".join(map(str, nib.orientations.aff2axcodes(volume.grid.affine))),
            "affine": volume.grid.affine.tolist(),
            "dtype": volume.dtype,
            "min": volume.minimum,
            "max": volume.maximum,
            "zero_share": volume.zero_share,
            "zero_corners": volume.zero_corners,
            "dim_share": volume.dim_share,
            "negative_share": volume.negative_share,
            "non_finite": volume.non_finite,
            "voxels_sha256": volume.voxels_sha256,
            "doubt": volume.doubt,
        }
        if volume.label_values is None:
            return {**facts, "contrast": volume.contrast, "repeated_slices": volume.repeated_slices}
        return {**facts, "label_values": list(volume.label_values)}


def read_case_facts(
    files: Mapping[str, Path], *, case: str, has_contrast: Callable[[np.ndarray], bool]
) -> tuple[dict[str, FileFacts], LabelPlace | None]:
    """Read the files of a case to their ends; what is wrong with them is told in the facts, never raised.

    Args:
        files: images as of :func:`~passion_components.data.reading.volumes.read_volume`, by their keys in the datalist.
        case: how the case is called in messages.
        has_contrast: whether a sequence, float32 (*S), counts as present.

    Returns:
        Facts of every file; how the label map lies in the sequences of its shape, None where that cannot be told.
    """
    facts: dict[str, FileFacts] = {}
    surface: LabelSurface | None = None
    for key in sorted(files, key=lambda key: key != "label"):  # the label map first: the others need not be kept
        facts[key], values = _read_facts(files[key], case, key == "label", has_contrast)
        volume = facts[key].volume
        if values is None or volume is None or volume.non_finite:
            continue
        if key == "label":
            surface, shape = LabelSurface(values), values.shape
        elif surface is not None and volume.contrast and values.shape == shape:
            surface.add(values)
    return {key: facts[key] for key in files}, surface.place() if surface is not None else None


def _read_facts(
    path: Path, case: str, is_label: bool, has_contrast: Callable[[np.ndarray], bool]
) -> tuple[FileFacts, np.ndarray | None]:
    """Facts of a file, and its values as float32 where there are any."""
    digest = None
    file, _ = split_index(path)
    try:
        if file.exists():
            digest = content_hash(file)
        volume = (read_label_map if is_label else read_volume)(path, case=case, warn=False)
    except CaseError as error:
        return FileFacts(str(path), digest, problem=str(error)), None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problem = f"{case}: {path} cannot be read ({reason}): correct the file's rights"
        return FileFacts(str(path), digest, problem=problem), None
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is counted
        values = volume.array.astype(np.float32)
    return FileFacts(str(path), digest, volume=_volume_facts(volume, values, is_label, has_contrast)), values


def _volume_facts(
    volume: Volume, values: np.ndarray, is_label: bool, has_contrast: Callable[[np.ndarray], bool]
) -> VolumeFacts:
    finite = np.isfinite(values)
    non_finite = int(finite.size - np.count_nonzero(finite))
    known = values[finite] if non_finite else values
    return VolumeFacts(
        grid=volume.grid,
        dtype=str(volume.array.dtype),
        minimum=float(known.min()) if known.size else None,
        maximum=float(known.max()) if known.size else None,
        zero_share=1 - np.count_nonzero(values) / values.size,
        zero_corners=has_zero_corners(values),
        dim_share=dim_share(known),
        negative_share=negative_share(known),
        non_finite=non_finite,
        contrast=not is_label and not non_finite and has_contrast(values),
        voxels_sha256=_voxels_hash(values),
        repeated_slices=0 if is_label else repeated_slices(values),
        label_values=tuple(np.unique(known)[:_MAX_VALUES].tolist()) if is_label else None,
        doubt=volume.doubt,
        few_values=() if is_label else few_values(known),
    )


def _voxels_hash(values: np.ndarray) -> str:
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(np.add(values, 0.0, order="C"))  # -0 + 0 is 0, so that equal values have equal bytes
    return digest.hexdigest()
