"""Volumes of a case, from whatever kind of file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils.enums import MetaKeys, SpaceKeys

from passion_components.data.errors import CaseError, by
from passion_components.data.grid import SPACING_LIMITS, Grid
from passion_components.data.image_files import is_nifti, split_index
from passion_components.data.itk_images import read_dicom_series, read_itk_file
from passion_components.data.nifti import read_nifti


@dataclass(frozen=True)
class Volume:
    """One 3D image: values (x, y, z) of a real dtype, scaled as the header says, and their grid."""

    array: np.ndarray
    grid: Grid
    path: Path


def read_volume(path: Path | str, *, case: str) -> Volume:
    """Read a 3D image: NIfTI, one volume of a 4D NIfTI file (``file.nii.gz#0``), NRRD, MetaImage, a DICOM folder.

    A 4D file with a single volume is a 3D one.

    Raises:
        CaseError: no such file, not readable to its end, of another kind, not 3D, no real numbers, no usable affine,
            voxels that are absurdly small or large.
    """
    file, index = split_index(path)
    if not file.exists():
        raise CaseError(f"{case}: {path} does not exist; mend the path, or remove the entry if there is no such file")
    if file.is_dir():
        array, affine = read_dicom_series(file, case=case)
    elif index is None and not is_nifti(file):
        array, affine = read_itk_file(file, case=case)
    else:
        array, affine = read_nifti(file, index, case=case)
    if array.ndim != 3 or array.size == 0:
        several = f", or name one of them as {file.name}#0" if array.ndim == 4 and is_nifti(file) else ""
        raise CaseError(
            f"{case}: {path} has {by(array.shape)} voxels; expected one 3D volume: extract it from the file{several}"
        )
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
    return Volume(array, Grid(Path(path).name, array.shape, affine), Path(path))


def with_geometry(channels: torch.Tensor, volume: Volume, *, case: str) -> MetaTensor:
    """Channels (C, *S) on the grid of ``volume``, with what MONAI's transforms want to know of a file in the meta."""
    return MetaTensor(
        channels,
        affine=torch.from_numpy(volume.grid.affine),
        meta={
            MetaKeys.ORIGINAL_AFFINE: torch.from_numpy(volume.grid.affine),
            MetaKeys.SPATIAL_SHAPE: torch.tensor(volume.grid.shape),
            MetaKeys.SPACE: SpaceKeys.RAS,
            "filename_or_obj": str(volume.path),
            "case": case,
        },
    )


def grid_of(channels: MetaTensor) -> Grid:
    """The grid that :func:`with_geometry` has written down."""
    return Grid(Path(channels.meta["filename_or_obj"]).name, tuple(channels.shape[1:]), channels.affine.numpy())
