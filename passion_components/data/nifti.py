"""NIfTI files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from passion_components.data.errors import CaseError, by
from passion_components.data.image_files import LFS_POINTER, is_lfs_pointer

_LFS_POINTER = b"version https://git-lfs.github.com/spec"


def read_nifti(path: Path, index: int | None, *, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (x, y, z) and affine (4, 4) in RAS and mm, not checked; of a 4D file the volume at ``index``.

    A 4D file with a single volume is a 3D one. Where sform and qform are both set, the sform counts.

    Raises:
        CaseError: not readable to its end, no NIfTI, no volume at that index.
    """
    try:
        image: Any = nib.load(path, mmap=False)
        stack = index is not None and image.ndim == 4
        if stack and index >= image.shape[3]:
            raise CaseError(f"{case}: {path} has {image.shape[3]} volumes; there is no #{index}, they count from 0")
        if path.name.lower().endswith(".gz") and isinstance(image, nib.Nifti1Image):
            image = type(image).from_bytes(gzip.decompress(path.read_bytes()))  # nibabel stops before the checksum
        array = np.asanyarray(image.dataobj[..., index] if stack else image.dataobj)
    except CaseError:
        raise
    except Exception as error:  # a damaged file makes nibabel, zlib and numpy raise nearly anything
        raise CaseError(
            f"{case}: {path} cannot be read ({_damage(path, error)}); expected a complete NIfTI file, "
            f".nii.gz if compressed and .nii if not: copy or convert it again"
        ) from error
    if not isinstance(image, nib.Nifti1Pair):
        raise CaseError(f"{case}: {path} is a {type(image).__name__}; expected NIfTI (.nii.gz or .nii): convert it")
    if index is not None and not stack:
        raise CaseError(f"{case}: {path} has {by(image.shape)} voxels, so there is no #{index}; expected a 4D file")
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    return array, np.array(image.affine, dtype=np.float64)


def nifti_image(array: np.ndarray, affine: np.ndarray, *, description: bytes) -> nib.Nifti1Image:
    """An array (x, y, z) on a grid in millimetres, in qform and sform; ``description`` goes into the header."""
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    return image


def _damage(path: Path, error: Exception) -> str:
    """What is wrong with a file that could not be read, on one line."""
    with open(path, "rb") as file:
        start = file.read(2)
    if is_lfs_pointer(path):
        return LFS_POINTER
    compressed, named_gz = start == b"\x1f\x8b", path.name.lower().endswith(".gz")
    if not start:
        return "it is empty"
    if named_gz and not compressed:
        return "it is not compressed although its name ends in .gz"
    if compressed and not named_gz:
        return "it is compressed although its name does not end in .gz"
    return " ".join(str(error).split()) or type(error).__name__
