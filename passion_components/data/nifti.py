"""Volumes as files, and the grids that they lie on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils.enums import MetaKeys, SpaceKeys

from passion_components.data.errors import CaseError, by

GRID_TOLERANCE = 1e-3
"""By how much entries of two affines may differ (mm) where the volumes count as lying on one grid."""


SPACING_LIMITS = (0.01, 50.0)
"""Millimetres between voxels that are believed."""

_LFS_POINTER = b"version https://git-lfs.github.com/spec"


@dataclass(frozen=True)
class Grid:
    """The voxels of a volume in space.

    Attributes:
        file: name of the volume in messages.
        shape: number of voxels along x, y, z.
        affine: (4, 4), from voxel indices to millimetres in nibabel's RAS.
    """

    file: str
    shape: tuple[int, ...]
    affine: np.ndarray

    def matches(self, other: Grid) -> bool:
        """Whether both have the same shape and, up to :data:`GRID_TOLERANCE`, the same affine."""
        return self.shape == other.shape and np.allclose(self.affine, other.affine, rtol=0, atol=GRID_TOLERANCE)

    def size_and_spacing(self) -> str:
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        return f"{by(self.shape)} at {by(f'{length:.2f}' for length in spacing)} mm"

    def size_and_affine(self) -> str:
        rows = "; ".join(" ".join(f"{entry:g}" for entry in np.round(row, 4)) for row in self.affine[:3])
        return f"{by(self.shape)} with affine ({rows})"


@dataclass(frozen=True)
class Volume:
    """One 3D file: values (x, y, z) of a real dtype, scaled as the header says, and their grid."""

    array: np.ndarray
    grid: Grid
    path: Path


def read_volume(path: Path | str, *, case: str) -> Volume:
    """Read a 3D NIfTI file; a 4D file with a single volume is one too.

    Raises:
        CaseError: no such file, not readable to its end, no NIfTI, not 3D, no real numbers, no usable affine,
            voxels that are absurdly small or large.
    """
    path = Path(path)
    if not path.is_file():
        raise CaseError(f"{case}: {path} does not exist; mend the path, or remove the entry if there is no such file")
    try:
        image: Any = nib.load(path, mmap=False)
        array = np.asanyarray(image.dataobj)
    except Exception as error:  # a damaged file makes nibabel, zlib and numpy raise nearly anything
        raise CaseError(
            f"{case}: {path} cannot be read ({_damage(path, error)}); expected a complete NIfTI file, "
            f".nii.gz if compressed and .nii if not: copy or convert it again"
        ) from error
    if not isinstance(image, nib.Nifti1Pair):
        raise CaseError(f"{case}: {path} is a {type(image).__name__}; expected NIfTI (.nii.gz or .nii): convert it")
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or array.size == 0:
        raise CaseError(
            f"{case}: {path} has {by(array.shape)} voxels; expected one 3D volume: extract it from the file"
        )
    if array.dtype.kind not in "buif":
        raise CaseError(
            f"{case}: {path} holds values of type {array.dtype}; expected one real number per voxel: convert it"
        )
    affine = np.array(image.affine, dtype=np.float64)
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
    return Volume(array, Grid(path.name, array.shape, affine), path)


def nifti_image(array: np.ndarray, affine: np.ndarray, *, description: bytes) -> nib.Nifti1Image:
    """An array (x, y, z) on a grid in millimetres, in qform and sform; ``description`` goes into the header."""
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    return image


def check_one_grid(grids: Sequence[Grid], *, case: str) -> None:
    """Refuse volumes of one case that lie on different grids.

    Raises:
        CaseError: naming every file and its grid.
    """
    if all(grids[0].matches(grid) for grid in grids[1:]):
        return
    texts = [grid.size_and_spacing() for grid in grids]
    if len(set(texts)) == 1:
        texts = [grid.size_and_affine() for grid in grids]
    listing = ", ".join(f"{grid.file} {text}" for grid, text in zip(grids, texts, strict=True))
    raise CaseError(
        f"{case}: its files lie on different grids: {listing}; "
        f"accepted: one grid per case, so register or resample them to one first"
    )


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


def _damage(path: Path, error: Exception) -> str:
    """What is wrong with a file that could not be read, on one line."""
    with open(path, "rb") as file:
        start = file.read(len(_LFS_POINTER))
    compressed, named_gz = start.startswith(b"\x1f\x8b"), path.name.lower().endswith(".gz")
    if not start:
        return "it is empty"
    if start == _LFS_POINTER:
        return "it is a Git LFS pointer, not the image: run git lfs pull"
    if named_gz and not compressed:
        return "it is not compressed although its name ends in .gz"
    if compressed and not named_gz:
        return "it is compressed although its name does not end in .gz"
    return " ".join(str(error).split()) or type(error).__name__
