"""What the headers of DICOM files say."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import itk
import numpy as np

from passion_components.data.errors import CaseError
from passion_components.data.reading.image_files import is_dicom
from passion_components.data.reading.limits import MAX_VOXELS

_TAGS = {
    "type": "0008|0008",
    "kind": "0008|0016",
    "instance": "0008|0018",
    "modality": "0008|0060",
    "description": "0008|103e",
    "agent": "0018|0010",
    "technique": "0018|0020",
    "repetition": "0018|0080",
    "echo": "0018|0081",
    "inversion": "0018|0082",
    "protocol": "0018|1030",
    "study": "0020|000d",
    "series": "0020|000e",
    "number": "0020|0011",
    "position": "0020|0032",
    "directions": "0020|0037",
    "samples": "0028|0002",
    "frames": "0028|0008",
    "rows": "0028|0010",
    "columns": "0028|0011",
    "spacing": "0028|0030",
}
_NO_IMAGE = re.compile(rb"\x02\0\x02\0UI..1\.2\.840\.10008\.5\.1\.4\.1\.1\.(88|11|66|104|481\.[2-9]|9\.)", re.DOTALL)
"""In the first bytes of reports, presentation states, segmentations, documents and the like beside images."""


@dataclass(frozen=True)
class Image:
    """One file: where it lies, how it is called in messages, and what its header says."""

    path: Path
    name: str
    tags: dict[str, str]

    def numbers(self, tag: str) -> np.ndarray:
        """The numbers under a tag; none where it is not there or holds something else."""
        try:
            return np.array([float(number) for number in self.tags.get(tag, "").split("\\") if number.strip()])
        except ValueError:
            return np.array([])

    @property
    def frames(self) -> int:
        """Images in the file."""
        return int(self.tags.get("frames") or 1)

    @property
    def number(self) -> int | None:
        """Of its series, as scanners and viewers show it."""
        numbers = self.numbers("number")
        return int(numbers[0]) if len(numbers) and numbers[0] >= 0 else None


def read_headers(folder: Path, unpacked: Path, *, case: str) -> tuple[list[Image], list[str]]:
    """The DICOM images directly in a folder, sorted by name, and the names of files that are DICOM but damaged.

    Compressed files (``.dcm.gz``) are unpacked into the folder ``unpacked`` first.

    Raises:
        CaseError: a compressed file that is damaged or too large.
    """
    images, damaged, room = [], [], 2 * MAX_VOXELS
    for file in sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")):
        if file.name.upper() == "DICOMDIR":
            continue
        path = file
        if file.name.lower().endswith(".dcm.gz"):
            path = unpacked / file.name[:-3]
            room -= _unpack(file, path, room, case)
        try:
            images.append(Image(path, file.name, _header(path)))
        except RuntimeError:
            if is_dicom(path) and not _is_no_image(path):
                damaged.append(file.name)
    return images, damaged


def size_of(image: Image) -> tuple[int, int]:
    """Columns and rows."""
    return int(image.tags["columns"]), int(image.tags["rows"])


def called(image: Image) -> str:
    """A series as users know it, ``series 4 'AX T1'``, from one of its images."""
    name = image.tags.get("description") or image.tags.get("protocol")
    number = image.tags.get("series") if image.number is None else image.number
    return f"series {number}" + (f" {name!r}" if name else "")


def listed(names: Sequence[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more files" if len(names) > 3 else "")


def _unpack(file: Path, to: Path, room: int, case: str) -> int:
    """Write a compressed file's content; the bytes that it took."""
    try:
        with gzip.open(file) as stream:
            content = stream.read(room + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CaseError(f"{case}: {file} cannot be read ({error}); expected a complete file: copy it again") from error
    if len(content) > room:
        raise CaseError(f"{case}: {file} unpacks to more than the {2 * MAX_VOXELS >> 20} MiB accepted: export less")
    to.write_bytes(content)
    return len(content)


def _header(path: Path) -> dict[str, str]:
    """What the header says, by the names of ``_TAGS``; bytes that are no UTF-8 are read as Latin-1.

    Raises:
        RuntimeError: no DICOM image, or not whole.
    """
    io = itk.GDCMImageIO.New()
    io.SetGlobalWarningDisplay(False)
    io.SetFileName(str(path))
    io.ReadImageInformation()
    meta = io.GetMetaDataDictionary()
    said = {name: str(meta[tag]) for name, tag in _TAGS.items() if meta.HasKey(tag)}
    return {name: _printable(text).strip(" \0") for name, text in said.items()}


def _printable(text: str) -> str:
    content = text.encode("utf-8", "surrogateescape")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _is_no_image(path: Path) -> bool:
    try:
        with open(path, "rb") as opened:
            return _NO_IMAGE.search(opened.read(1024)) is not None
    except PermissionError:
        return False
