"""NRRD and MetaImage, read by ITK; values and affine as an ITK image, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import itk
import numpy as np

from passion_components.data.errors import CaseError
from passion_components.data.reading.image_files import LFS_POINTER, is_lfs_pointer
from passion_components.data.reading.limits import check_size

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_itk_file(path: Path, *, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (x, y, z) and affine (4, 4) in RAS and mm of an NRRD or MetaImage file, not checked.

    Raises:
        CaseError: not readable to its end, too large, several numbers per voxel.
    """
    try:
        check_header(path, case=case)
        image: Any = itk.imread(str(path))
    except CaseError:
        raise
    except Exception as error:  # RuntimeError with a page of context, TypeError for a pixel type that is not wrapped
        reason = LFS_POINTER if is_lfs_pointer(path) else first_reason(error)
        raise CaseError(
            f"{case}: {path} cannot be read ({reason}); expected a complete NRRD or MetaImage file "
            f"with one number per voxel, its data file beside it if it has one: copy or convert it again"
        ) from error
    return values_and_affine(image)


def check_header(path: Path, *, case: str) -> None:
    """Refuse by its header an image that is too large or has several numbers per voxel.

    Raises:
        CaseError: in one line.
        Exception: nearly any, from a damaged file.
    """
    io = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if io is None:
        return  # reading says what is wrong
    io.SetFileName(str(path))
    io.ReadImageInformation()
    if io.GetNumberOfComponents() > 1:
        raise CaseError(
            f"{case}: {path} has {io.GetNumberOfComponents()} numbers per voxel (colours, or channels); expected one: "
            f"write each sequence to a file of its own, classes as one map of numbers, colours as grey"
        )
    sizes = [io.GetDimensions(axis) for axis in range(io.GetNumberOfDimensions())]
    check_size(sizes, path=path, case=case)


def values_and_affine(image: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values (x, y, z) and affine (4, 4) in RAS and mm of an ITK image; as they are where it is not 3D.

    A flat image is a single slice of 1 mm.
    """
    array = itk.array_from_image(image)
    dims = image.GetImageDimension()
    if dims not in (2, 3) or array.ndim != dims:
        return array, np.eye(4)
    affine = np.eye(4)
    affine[:dims, :dims] = itk.array_from_matrix(image.GetDirection()) * np.array(image.GetSpacing())
    affine[:dims, 3] = image.GetOrigin()
    return array.T.reshape(*array.T.shape, *[1] * (3 - dims)), _LPS_TO_RAS @ affine


def itk_image(array: np.ndarray, affine: np.ndarray) -> Any:
    """Values (x, y, z) on a grid without shear, in RAS and mm, as an ITK image of float32."""
    affine = _LPS_TO_RAS @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image: Any = itk.image_from_array(np.ascontiguousarray(array.transpose(2, 1, 0), dtype=np.float32))
    image.SetSpacing(spacing.tolist())
    image.SetDirection(np.ascontiguousarray(affine[:3, :3] / spacing))
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def first_reason(error: Exception) -> str:
    """ITK's own words out of a page of context, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if not line.startswith(("/", "In "))), type(error).__name__)
    return said[:200]
