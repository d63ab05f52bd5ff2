"""NIfTI files, and FreeSurfer's MGH, which the same library reads."""

from __future__ import annotations

import gzip
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from passion_components.data.errors import CaseError, by
from passion_components.data.reading.image_files import LFS_POINTER, is_lfs_pointer
from passion_components.data.reading.limits import MAX_HEADER, check_size

MAX_CHANNELS = 8
"""A first axis of up to so many voxels, shorter than all the others of a 4D file, holds channels and no place."""

_HEADER_BYTES = 540
_MILLIMETRES = {1: 1e3, 3: 1e-3}
"""By the code of the unit of space; 0 (unknown) and codes that stand for no unit count as millimetres, as 2 does."""
_SPACE_UNIT = 7
"""The bits of ``xyzt_units`` that tell it."""
_FORM_TOLERANCE = 0.01
"""Millimetres; a qform stores rotations as float32 quaternions and is never exact."""
_ZOOM_TOLERANCE = 0.01

_REPAIR = (
    "import sys, numpy, nibabel; i = nibabel.load(sys.argv[1]); "
    "nibabel.Nifti1Image(numpy.nan_to_num(i.get_fdata(dtype='f4'), posinf=0, neginf=0), i.affine, i.header)"
    ".to_filename(sys.argv[2])"
)


def read_nifti(path: Path, index: int | None, *, case: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Values (x, y, z) and affine (4, 4) in RAS and mm, not checked, and what is doubtful about where they lie.

    A flat image is a single slice, and a 4D file with a single volume a 3D one; of another 4D file the volume at
    ``index`` is read. Where sform and qform are both set, the sform counts. Units of metres and microns become
    millimetres. The doubt is "" where there is none.

    Raises:
        CaseError: not readable to its end, too large, no NIfTI or MGH, no volume at that index, channels instead of
            volumes.
    """
    try:
        image = load_image(path, case=case)
        if index is not None:
            _check_index(image.shape, index, path=path, case=case)
        array = np.asanyarray(image.dataobj)
    except CaseError:
        raise
    except Exception as error:  # a damaged file makes nibabel, zlib and numpy raise nearly anything
        raise CaseError(
            f"{case}: {path} cannot be read ({_damage(path, error)}); expected a complete NIfTI file, "
            f".nii.gz if compressed and .nii if not: copy or convert it again"
        ) from error
    if index is not None:
        if _is_one_hot(array):
            raise CaseError(
                f"{case}: {path} holds one class per volume (each voxel is 1 in one of them); expected one 3D volume "
                f"of class numbers: convert it"
            )
        array = array[..., index].copy()
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim > 3:
        raise CaseError(f"{case}: {path} {_not_one_volume(array.shape, path)}")
    return array.astype(array.dtype.newbyteorder("="), copy=False), affine_of(image), _doubt(image)


def load_image(path: Path, *, case: str) -> Any:
    """A nibabel image whose size was checked before anything large was read or decompressed; values are lazy for pairs.

    The content tells what it is, so that capitals in the ending do not matter.

    Raises:
        CaseError: too large, longer than its header says, or neither NIfTI nor MGH.
        Exception: nearly any, from a damaged file.
    """
    compressed = path.name.lower().endswith((".gz", ".mgz"))
    with gzip.open(path) if compressed else open(path, "rb") as stream:
        head = stream.read(_HEADER_BYTES)
        kind, header = _kind_and_header(head)
        if kind is None:
            image: Any = nib.load(path, mmap=False)
            if not isinstance(image, nib.Nifti1Pair):
                raise CaseError(
                    f"{case}: {path} is a {type(image).__name__}; expected NIfTI (.nii.gz or .nii): convert it"
                )
            check_size(image.shape, path=path, case=case)
            return image
        check_size(header.get_data_shape(), path=path, case=case)
        offset = int(header.get_data_offset())
        if not len(header.binaryblock) <= offset <= MAX_HEADER:
            raise ValueError(f"its header says that the voxels begin at byte {offset}")
        size = offset + int(np.prod(header.get_data_shape(), dtype=np.int64)) * header.get_data_dtype().itemsize
        content = head + stream.read(max(size + MAX_HEADER + 1 - len(head), 0))  # gzip checks its sum at the end
    if compressed and len(content) > size + MAX_HEADER:
        raise ValueError(f"it goes on after the {size} bytes that its header announces")
    return kind.from_bytes(content)


def affine_of(image: Any) -> np.ndarray:
    """The affine (4, 4) of a nibabel image in RAS and millimetres, whatever units its header names."""
    affine = np.array(image.affine, dtype=np.float64)
    if isinstance(image, nib.Nifti1Pair):
        affine[:3] *= _MILLIMETRES.get(int(image.header["xyzt_units"]) & _SPACE_UNIT, 1)
    return affine


def nifti_image(array: np.ndarray, affine: np.ndarray, *, description: bytes) -> nib.Nifti1Image:
    """An array (x, y, z) on a grid in millimetres, in qform and sform; ``description`` goes into the header."""
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description
    return image


def repair_command(path: Path) -> str:
    """What writes a copy of a file with 0 where it holds NaN or infinite voxels, to be pasted into a shell."""
    repaired = path.with_name(f"repaired_{path.name}")
    return f'python -c "{_REPAIR}" {shlex.quote(str(path))} {shlex.quote(str(repaired))}'


def _kind_and_header(head: bytes) -> tuple[Any, Any]:
    """Class of the image and its header, from the first bytes of a file; None, None for other kinds and pairs."""
    if head[344:348] == b"n+1\0":
        return nib.Nifti1Image, nib.Nifti1Header(head[:348], check=False)
    if head[4:8] == b"n+2\0":
        return nib.Nifti2Image, nib.Nifti2Header(head[:540], check=False)
    if head[:4] == b"\0\0\0\1":
        return nib.MGHImage, nib.MGHImage.header_class(head[:284], check=False)
    return None, None


def _check_index(shape: Sequence[int], index: int, *, path: Path, case: str) -> None:
    if len(shape) != 4:
        raise CaseError(f"{case}: {path} has {by(shape)} voxels, so there is no #{index}; expected a 4D file")
    if _is_channel_first(shape):
        raise CaseError(f"{case}: {path} {_not_one_volume(shape, path)}")
    if index >= shape[3]:
        raise CaseError(f"{case}: {path} has {shape[3]} volumes; there is no #{index}, they count from 0")


def _not_one_volume(shape: Sequence[int], path: Path) -> str:
    """Words for a file of more than three dimensions."""
    found = f"has {by(shape)} voxels"
    if len(shape) == 4 and not _is_channel_first(shape):
        return (
            f"{found}; expected one 3D volume: extract it from the file, or name one of them as {path.name}#0; "
            f"classes or colours of one volume are no volumes: convert them to one number per voxel"
        )
    axis = "first" if len(shape) == 4 else "last"
    return (
        f"{found}, and its {axis} axis looks like channels (sequences, colours or one-hot classes); expected one 3D "
        f"volume x, y, z with one number per voxel: write each sequence to a file of its own, classes as one map of "
        f"numbers, colours as grey"
    )


def _is_channel_first(shape: Sequence[int]) -> bool:
    return shape[0] <= MAX_CHANNELS and shape[0] < min(shape[1:])


def _is_one_hot(stack: np.ndarray) -> bool:
    """Whether several volumes (x, y, z, n) hold nothing but one 1 per voxel."""
    if stack.shape[3] < 2 or not np.isin(stack[:, :, 0], (0, 1)).all():
        return False
    return bool(((stack == 0) | (stack == 1)).all() and (stack.sum(axis=3) == 1).all())


def _doubt(image: Any) -> str:
    """What is doubtful about the place that a header gives its voxels; "" if nothing."""
    header = image.header
    if not isinstance(image, nib.Nifti1Pair):
        return ""
    if not header["sform_code"] and not header["qform_code"]:
        axes = "".join(nib.orientations.aff2axcodes(image.affine))
        return (
            f"its header has neither sform nor qform, so orientation and place are guessed (axes {axes}): "
            f"write the right ones into it"
        )
    if not header["sform_code"]:
        return ""
    if header["qform_code"] and not np.abs(header.get_sform() - _qform(header)).max() <= _FORM_TOLERANCE:
        return (
            "its header puts it in two places, its sform and its qform differ; "
            "the sform is used: repair the header if that is wrong"
        )
    spacing = np.linalg.norm(header.get_sform()[:3, :3], axis=0)[: len(image.shape)]
    if not np.allclose(header.get_zooms()[:3], spacing, rtol=_ZOOM_TOLERANCE):
        told, used = (by(f"{length:.3g}" for length in sizes) for sizes in (header.get_zooms()[:3], spacing))
        return (
            f"its header gives its voxels two sizes, {told} by pixdim and {used} by its sform; "
            f"the sform is used: repair the header if that is wrong"
        )
    return ""


def _qform(header: Any) -> np.ndarray:
    """The qform, NaN where its numbers are none of a rotation."""
    try:
        return np.asarray(header.get_qform())
    except (ValueError, nib.spatialimages.HeaderDataError):
        return np.full((4, 4), np.nan)


def _damage(path: Path, error: Exception) -> str:
    """What is wrong with a file that could not be read, on one line."""
    if isinstance(error, PermissionError):
        return str(error.strerror).lower()
    with open(path, "rb") as file:
        start = file.read(2)
    if is_lfs_pointer(path):
        return LFS_POINTER
    compressed, named_gz = start == b"\x1f\x8b", path.name.lower().endswith((".gz", ".mgz"))
    if not start:
        return "it is empty"
    if named_gz and not compressed:
        return "it is not compressed although its name ends in .gz"
    if compressed and not named_gz:
        return "it is compressed although its name does not end in .gz"
    return " ".join(str(error).split()) or type(error).__name__
