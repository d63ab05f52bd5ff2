"""NRRD, MetaImage and DICOM, read by ITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import itk
import numpy as np

from passion_components.data.errors import CaseError
from passion_components.data.image_files import LFS_POINTER, is_lfs_pointer
from passion_components.data.limits import check_size

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNEVEN = "ITK_non_uniform_sampling_deviation"
_TOLERATED_UNEVENNESS = 0.01


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
        reason = LFS_POINTER if is_lfs_pointer(path) else _first_reason(error)
        raise CaseError(
            f"{case}: {path} cannot be read ({reason}); expected a complete NRRD or MetaImage file "
            f"with one number per voxel, its data file beside it if it has one: copy or convert it again"
        ) from error
    return _values_and_affine(image)


def check_header(path: Path, *, case: str, files: int = 1) -> None:
    """Refuse by its header an image, or so many like it, that is too large or has several numbers per voxel.

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
    check_size([*sizes, files] if files > 1 else sizes, path=path, case=case)


def read_dicom_series(folder: Path, *, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (x, y, z) and affine (4, 4) in RAS and mm of the one DICOM series in a folder, rescaled as it says.

    Slices are sorted by their position in space.

    Raises:
        CaseError: no series, several of them, slices missing or unevenly spaced, files that cannot be read.
    """
    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.SetGlobalWarningDisplay(False)
    names.SetDirectory(str(folder))
    series = list(names.GetSeriesUIDs())
    if len(series) != 1:
        found = f"{len(series)} DICOM series ({', '.join(series)})" if series else "no DICOM series"
        raise CaseError(f"{case}: {folder} holds {found}; expected one series per sequence, in a folder of its own")
    try:
        reader = itk.ImageSeriesReader.New(FileNames=names.GetFileNames(series[0]), ImageIO=itk.GDCMImageIO.New())
        reader.SetGlobalWarningDisplay(False)
        reader.Update()
    except Exception as error:  # as for files
        raise CaseError(
            f"{case}: {folder} cannot be read ({_first_reason(error)}); expected a whole series: export it again"
        ) from error
    image = reader.GetOutput()
    meta = image.GetMetaDataDictionary()
    if meta.HasKey(_UNEVEN) and meta[_UNEVEN] > _TOLERATED_UNEVENNESS * image.GetSpacing()[2]:
        raise CaseError(
            f"{case}: {folder} has slices at uneven distances, up to {meta[_UNEVEN]:.2f} mm off; expected one series "
            f"without gaps: export it again, slices may be missing"
        )
    return _values_and_affine(image)


def _values_and_affine(image: Any) -> tuple[np.ndarray, np.ndarray]:
    array = itk.array_from_image(image)
    if image.GetImageDimension() != 3 or array.ndim != 3:
        return array, np.eye(4)
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection()) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return array.transpose(2, 1, 0), _LPS_TO_RAS @ affine


def _first_reason(error: Exception) -> str:
    """ITK's own words out of a page of context, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if not line.startswith(("/", "In "))), type(error).__name__)
    return said[:200]
