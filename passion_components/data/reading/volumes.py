"""Volumes of a case, from whatever kind of file."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from passion_components.data.errors import CaseError, by
from passion_components.data.reading.dicom import read_dicom_series
from passion_components.data.reading.grid import SPACING_LIMITS, Grid
from passion_components.data.reading.image_files import is_nifti, shown_name, split_index
from passion_components.data.reading.itk_images import read_itk_file
from passion_components.data.reading.nifti import read_nifti, repair_command

logger = logging.getLogger(__name__)

_CODE_TOLERANCE = 0.01
"""How far from a whole number a code may be: values that are written as bytes with a scale are off by up to 0.008."""


@dataclass(frozen=True)
class Volume:
    """One 3D image: values (x, y, z) of a real dtype, scaled as the header says, and their grid.

    ``doubt`` says what is doubtful about the place that the file's header gives it, "" if nothing.
    """

    array: np.ndarray
    grid: Grid
    path: Path
    doubt: str = ""


def read_volume(path: Path | str, *, case: str, warn: bool = True) -> Volume:
    """Read a 3D image: NIfTI, one volume of a 4D NIfTI file (``file.nii.gz#0``), MGH, NRRD, MetaImage, a DICOM folder
    or one series in it (``folder/#4``).

    A flat image is a single slice; a 4D file with a single volume is a 3D one. Sizes are judged by the header, before
    values are read.

    Args:
        path: file or folder.
        case: how the case is called in messages.
        warn: log, once per file, what is doubtful about its place.

    Raises:
        CaseError: no such file, not readable to its end, too large, of another kind, not 3D, no real numbers, no usable
            affine, voxels that are absurdly small or large.
    """
    file, index = split_index(path)
    if not file.exists():
        raise CaseError(f"{case}: {path} does not exist; fix the path, or remove the entry if there is no such file")
    doubt = ""
    if index is not None and not file.is_dir() and not is_nifti(file):
        raise CaseError(f"{case}: {path} names a volume by #{index}; expected that of a 4D NIfTI file only: extract it")
    if file.is_dir():
        array, affine = read_dicom_series(file, case=case, number=index)
    elif not is_nifti(file):
        array, affine = read_itk_file(file, case=case)
    else:
        array, affine, doubt = read_nifti(file, index, case=case)
    if array.ndim != 3 or array.size == 0:
        raise CaseError(
            f"{case}: {path} has {by(array.shape)} voxels; expected one 3D volume: extract it from the file"
        )
    if array.dtype.kind == "V":
        raise CaseError(f"{case}: {path} holds colours; expected one real number per voxel: convert it to grey values")
    if array.dtype.kind not in "buif":
        raise CaseError(
            f"{case}: {path} holds values of type {array.dtype}; expected one real number per voxel: convert it"
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise CaseError(
            f"{case}: {path} has an affine without extent or with numbers that are not finite; "
            f"expected one that maps voxels to millimetres: repair its header"
        )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.min() < SPACING_LIMITS[0] or spacing.max() > SPACING_LIMITS[1]:
        raise CaseError(
            f"{case}: {path} has voxels of {by(f'{length:.3g}' for length in spacing)} mm; accepted: "
            f"{SPACING_LIMITS[0]} to {SPACING_LIMITS[1]:g} mm: repair its header"
        )
    if doubt and warn:
        _warn_once(f"{case}: {path}: {doubt}")
    return Volume(array, Grid(shown_name(path), array.shape, affine), Path(path), doubt)


def read_label_map(path: Path | str, *, case: str, warn: bool = True) -> Volume:
    """As :func:`read_volume`, with values as of :func:`whole_numbers`."""
    volume = read_volume(path, case=case, warn=warn)
    return replace(volume, array=whole_numbers(volume.array))


def whole_numbers(array: np.ndarray) -> np.ndarray:
    """Whole numbers where each value is one but for rounding, as in a label map with a scale; else the array itself."""
    if array.dtype.kind != "f":
        return array
    whole = np.rint(array)
    return whole if np.abs(array - whole).max() <= _CODE_TOLERANCE else array


def moved_volume(volume: Volume, matrix: np.ndarray) -> Volume:
    """The same values elsewhere: what lay at a point lies at ``matrix`` (4, 4; RAS, mm) times it."""
    return replace(volume, grid=replace(volume.grid, affine=np.asarray(matrix) @ volume.grid.affine))


def non_finite_problem(path: Path | str, count: int) -> str:
    """What to tell of a file with NaN or infinite voxels, without the case."""
    file, index = split_index(path)
    repair = f": {repair_command(file)}" if file.is_file() and is_nifti(file) and index is None else ""
    return (
        f"{path} holds {count} NaN or infinite voxels; expected finite numbers: leave it out, or, where they are its "
        f"background, write 0 into them{repair}"
    )


@cache
def _warn_once(message: str) -> None:
    logger.warning(message)
