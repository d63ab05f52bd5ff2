"""Which files are images, and what their names say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

NIFTI_SUFFIXES = (".nii.gz", ".nii", ".img", ".mgz", ".mgh")
"""What nibabel reads: NIfTI in one file, in two (``.img`` beside its ``.hdr``), and FreeSurfer's MGH."""

IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd", ".nhdr", ".mha", ".mhd")
ACCEPTED_IMAGES = f"{', '.join(IMAGE_SUFFIXES)} or a folder with one DICOM series"

LFS_POINTER = "it is a Git LFS pointer, not the image: run git lfs pull"
"""What is wrong with a file of which :func:`is_lfs_pointer` is true."""

_LFS_START = b"version https://git-lfs.github.com/spec"
_DICOM_MAGIC = slice(128, 132)
_LOOKED_AT = 5


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a file read as NIfTI or MGH; names without a known ending count as such."""
    return not path.name.lower().endswith(IMAGE_SUFFIXES[len(NIFTI_SUFFIXES) :])


def is_image(path: Path) -> bool:
    """Whether this is a file with an image's name, or a folder with a DICOM series directly in it."""
    if path.name.startswith("."):
        return False
    return path.name.lower().endswith(IMAGE_SUFFIXES) if path.is_file() else is_dicom_series(path)


def is_dicom_series(folder: Path) -> bool:
    """Whether DICOM files lie directly in a folder, by their names or the first of them by what they hold."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return any(file.suffix.lower() == ".dcm" or _holds_dicom(file) for file in islice(files, _LOOKED_AT))


def images_in(folder: Path) -> list[Path]:
    """Images directly in a folder, sorted."""
    return sorted(path for path in folder.iterdir() if is_image(path))


def images_below(folder: Path) -> Iterator[Path]:
    """Images at any depth, sorted by folder; a folder with a DICOM series is one image."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        here = Path(root)
        series = [name for name in folders if is_dicom_series(here / name)]
        folders[:] = [name for name in folders if name not in series]
        yield from sorted(path for path in map(here.joinpath, [*names, *series]) if is_image(path))


def stem(path: Path) -> str:
    """The name without the ending of an image file."""
    endings = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)
    return re.sub(rf"({endings})$", "", path.name, flags=re.IGNORECASE)


def beginning_and_word(path: Path) -> tuple[str, str]:
    """The name in two: what stands before its last word, and the last word, after ``_``, ``-`` or ``.``."""
    match = re.fullmatch(r"(?:(.*)[_.\-])?([^_.\-]*)", stem(path), flags=re.DOTALL)
    return (match[1] or "", match[2]) if match else ("", stem(path))


def split_index(path: Path | str) -> tuple[Path, int | None]:
    """``file.nii.gz#2`` as the 4D file and the position of a volume in it; any other path as it is, and None."""
    match = re.fullmatch(r"(.+)#(\d+)", str(path))
    if match is None or Path(path).exists():
        return Path(path), None
    return Path(match[1]), int(match[2])


def is_lfs_pointer(file: Path) -> bool:
    """Whether a file only says where Git LFS keeps the image."""
    with open(file, "rb") as opened:
        return opened.read(len(_LFS_START)) == _LFS_START


def _holds_dicom(file: Path) -> bool:
    with open(file, "rb") as opened:
        return opened.read(_DICOM_MAGIC.stop)[_DICOM_MAGIC] == b"DICM"
