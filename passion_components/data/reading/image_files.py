"""Which files are images, and what their names say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

NIFTI_SUFFIXES = (".nii.gz", ".nii", ".img", ".mgz", ".mgh")
"""What nibabel reads: NIfTI in one file, in two (``.img`` beside its ``.hdr``), and FreeSurfer's MGH."""

IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, ".nrrd", ".nhdr", ".mha", ".mhd")
ACCEPTED_IMAGES = f"{', '.join(IMAGE_SUFFIXES)} or a folder with one DICOM series"

LFS_POINTER = "it is a Git LFS pointer, not the image: run git lfs pull"
"""What is wrong with a file of which :func:`is_lfs_pointer` is true."""

_LFS_START = b"version https://git-lfs.github.com/spec"
_DICOM_MAGIC = slice(128, 132)
_DICOM_ENDINGS = (".dcm", ".dcm.gz", ".ima")
_OLD_DICOM = re.compile(rb"[\x02\x08]\0[\0-\xff]\0(CS|UI|UL|OB|[\0-\xff]{2}\0\0)", re.DOTALL)
_LOOK_LIKE_IMAGES = re.compile(
    r"(\.nii\.(gzip|bz2|zip|xz|zst)|\.mg[zh]|\.(img|hdr)(\.gz)?|\.dcm(\.gz)?|\.ima|\.mnc|\.gipl|\.par)$", re.IGNORECASE
)
_ARCHIVE = re.compile(r"(?<!\.nii)\.(zip|7z|rar|tgz|tar(\.(gz|bz2|xz|zst))?)$", re.IGNORECASE)
_MAX_NAMED = 5


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a file read as NIfTI or MGH; names without a known ending count as such."""
    return not path.name.lower().endswith(IMAGE_SUFFIXES[len(NIFTI_SUFFIXES) :])


def is_image(path: Path) -> bool:
    """Whether this is a file with an image's name, or a folder with a DICOM series directly in it."""
    if path.name.startswith("."):
        return False
    return _has_image_name(path) if path.is_file() else path.is_dir() and is_dicom_series(path)


def is_dicom(file: Path) -> bool:
    """Whether a file is DICOM: by its ending, its magic word or, in old ones without, its first element."""
    if file.name.upper() == "DICOMDIR":
        return False
    if file.name.lower().endswith(_DICOM_ENDINGS):
        return True
    try:
        with open(file, "rb") as opened:
            start = opened.read(_DICOM_MAGIC.stop)
    except OSError:
        return False
    return start[_DICOM_MAGIC] == b"DICM" or _OLD_DICOM.match(start) is not None


def is_dicom_series(folder: Path) -> bool:
    """Whether DICOM files lie directly in a folder, by their names or by what they hold, and no other images.

    A folder that cannot be read is none.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError:
        return False
    return not any(map(_has_image_name, files)) and any(map(is_dicom, files))


def images_in(folder: Path) -> list[Path]:
    """Images directly in a folder, sorted."""
    return sorted(path for path in folder.iterdir() if is_image(path))


def images_below(folder: Path, lost: list[str] | None = None) -> Iterator[Path]:
    """Images at any depth, sorted by folder; a folder with DICOM files is one image, the folder itself if it is all.

    Args:
        folder: links in it are followed; what begins with a dot is not looked at.
        lost: gets a line for everything that looks like an image or a folder of images and cannot be used.
    """
    lost = [] if lost is None else lost
    seen, found = {os.path.realpath(folder)}, False

    def unreadable(error: OSError) -> None:
        lost.append(f"{error.filename}: cannot be read ({error.strerror}), not looked into")

    for root, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        here = Path(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        series = [here / name for name in folders if is_dicom_series(here / name)]
        real = {name: os.path.realpath(here / name) for name in folders}
        folders[:] = [name for name in folders if real[name] not in seen]
        seen.update(real.values())
        files = [here / name for name in names if not name.startswith(".")]
        images = [file for file in files if file.is_file() and _has_image_name(file)]
        lost += _lost_among([file for file in files if file not in images], in_series=is_dicom_series(here))
        found = found or bool(images or series)
        yield from sorted(images + series)
    if is_dicom_series(folder):
        if found:
            lost += _lost_among(sorted(folder.iterdir()), in_series=False)
        else:
            yield folder


def _lost_among(files: list[Path], *, in_series: bool) -> list[str]:
    """A line for each link without a target and each file that only looks like an image, one for stray DICOM files, one
    for archives."""
    lines = [f"{file}: is a link to a file that is not there; not used" for file in files if not file.exists()]
    files = sorted(file for file in files if file.is_file())
    dicom = [file for file in files if is_dicom(file)]
    if dicom and not in_series:
        count = "1 DICOM file" if len(dicom) == 1 else f"{len(dicom)} DICOM files"
        lines.append(
            f"{dicom[0].parent}: {count} ({_named(dicom)}) not used; "
            f"give every series a folder of its own, named like its sequence and without other images"
        )
    archives = [file for file in files if _ARCHIVE.search(file.name)]
    if archives:
        count = "1 archive" if len(archives) == 1 else f"{len(archives)} archives"
        lines.append(f"{archives[0].parent}: {count} ({_named(archives)}) not looked into; unpack what holds scans")
    names = {file.name.lower() for file in files[0].parent.iterdir()} if files else set()
    for file in files:
        pair = file.name.lower().replace(".hdr", ".img")
        if (
            _LOOK_LIKE_IMAGES.search(file.name)
            and file not in dicom
            and not (pair != file.name.lower() and pair in names)
        ):
            lines.append(f"{file}: looks like an image but is not read, not used; accepted: {ACCEPTED_IMAGES}")
    return lines


def _named(files: list[Path]) -> str:
    """The names of the first files."""
    return ", ".join(file.name for file in files[:_MAX_NAMED]) + (", ..." if len(files) > _MAX_NAMED else "")


def stem(path: Path) -> str:
    """The name without the ending of an image file."""
    endings = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)
    return re.sub(rf"({endings})$", "", path.name, flags=re.IGNORECASE)


def split_index(path: Path | str) -> tuple[Path, int | None]:
    """``file.nii.gz#2`` as the 4D file and the position of a volume in it; any other path as it is, and None.

    ``folder/#4`` is the folder and the number of one of the DICOM series in it.
    """
    match = re.fullmatch(r"(.+)#(\d+)", str(path))
    if match is None or Path(path).exists():
        return Path(path), None
    return Path(match[1]), int(match[2])


def is_lfs_pointer(file: Path) -> bool:
    """Whether a file only says where Git LFS keeps the image; not of one that may not be read."""
    try:
        with open(file, "rb") as opened:
            return opened.read(len(_LFS_START)) == _LFS_START
    except PermissionError:
        return False


def _has_image_name(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def shown_name(path: Path | str) -> str:
    """The name of a file in messages; of one series in a folder (``P1/#4``) with that of the folder."""
    name = Path(path).name
    return f"{Path(path).parent.name}/{name}" if name.startswith("#") else name
