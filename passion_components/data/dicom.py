"""One DICOM series in a folder, of which every file found is read or named."""

from __future__ import annotations

import gzip
import importlib
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import itk
import numpy as np

from passion_components.data.errors import CaseError
from passion_components.data.itk_images import first_reason, values_and_affine
from passion_components.data.limits import MAX_VOXELS, check_size
from passion_components.data.nifti import read_nifti

_TAGS = {
    "kind": "0008|0016",
    "instance": "0008|0018",
    "series": "0020|000e",
    "position": "0020|0032",
    "directions": "0020|0037",
    "spacing": "0028|0030",
    "columns": "0028|0011",
    "rows": "0028|0010",
    "frames": "0028|0008",
    "samples": "0028|0002",
    "echo": "0018|0081",
}
_ENHANCED = {f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2.1", "4.1", "4.3", "130")}
"""Kinds of DICOM that keep a volume, with the places of its slices, in one file: CT, MR, MR in colour, PET."""

_ENDINGS = (".dcm", ".dcm.gz", ".ima")
_STARTS = (b"\x02\0", b"\x08\0")
_MAGIC = slice(128, 132)
_UNEVEN = 0.01
"""Share of the distance between slices by which it may vary."""

_SHIFT = 0.2
"""Millimetres that slices may be shifted in their own plane, over the whole stack."""


@dataclass(frozen=True)
class _Image:
    """One file: where it lies, how it is called in messages, and what its header says."""

    path: Path
    name: str
    tags: dict[str, str]

    def numbers(self, tag: str) -> np.ndarray:
        return np.array([float(number) for number in self.tags.get(tag, "").split("\\") if number.strip()])

    @property
    def frames(self) -> int:
        return int(self.tags.get("frames") or 1)


def read_dicom_series(folder: Path, *, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Values float32 (x, y, z) and affine (4, 4) in RAS and mm of the one DICOM series in a folder, rescaled as told.

    Slices are sorted by their position in space. Files need neither an ending nor a preamble, and may be compressed
    (``.dcm.gz``). Enhanced multi-frame files are read by dcm2niix, which the extra ``dicom`` installs.

    Raises:
        CaseError: no series, several of them, files that cannot be read, colours, no geometry, slices that are missing,
            there twice, in several directions, unevenly spaced or shifted against each other.
    """
    with TemporaryDirectory() as unpacked:
        images = _images(folder, Path(unpacked), case)
        if any(image.tags.get("samples", "1") != "1" for image in images):
            raise CaseError(
                f"{case}: {folder} holds colours; expected one grey value per voxel: export the scan itself"
            )
        if any(image.frames > 1 or image.tags.get("kind") in _ENHANCED for image in images):
            return _read_by_dcm2niix(images, folder, case)
        try:
            images, third = _stacked(images)
        except ValueError as error:
            raise CaseError(f"{case}: {folder} {error}") from None
        check_size((*_size(images[0]), len(images)), path=folder, case=case)
        try:
            kind = itk.ImageSeriesReader[itk.Image[itk.F, 3]]  # of the first file's type, the others' scaling is lost
            reader = kind.New(FileNames=[str(image.path) for image in images], ImageIO=itk.GDCMImageIO.New())
            reader.SetGlobalWarningDisplay(False)
            reader.Update()
        except Exception as error:  # as for files
            raise CaseError(
                f"{case}: {folder} cannot be read ({first_reason(error)}); expected a whole series: export it again"
            ) from error
        values, affine = values_and_affine(reader.GetOutput())
        if third is not None:
            affine[:3, 2] = third * [-1, -1, 1]
        return values, affine


def _images(folder: Path, unpacked: Path, case: str) -> list[_Image]:
    """The files of the one series in a folder, sorted by name; those compressed are unpacked first."""
    images, damaged, room = [], [], 2 * MAX_VOXELS
    for file in sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")):
        if file.name.upper() == "DICOMDIR":
            continue
        path = file
        if file.name.lower().endswith(".dcm.gz"):
            path = unpacked / file.name[:-3]
            room -= _unpack(file, path, room, case)
        try:
            images.append(_Image(path, file.name, _header(path)))
        except RuntimeError:
            if _looks_like_dicom(path):
                damaged.append(file.name)
    if damaged and images:
        raise CaseError(
            f"{case}: {folder} holds {_listed(damaged)}, which cannot be read to the end (cut off?), beside "
            f"{len(images)} that can; expected a whole series: copy or export it again"
        )
    series = sorted({image.tags.get("series", "") for image in images})
    if len(series) != 1:
        nothing = f"no DICOM series{f' ({_listed(damaged)} cannot be read)' if damaged else ''}"
        found = f"{len(series)} DICOM series ({', '.join(series)})" if series else nothing
        raise CaseError(f"{case}: {folder} holds {found}; expected one series per sequence, in a folder of its own")
    return images


def _unpack(file: Path, to: Path, room: int, case: str) -> int:
    """Write a compressed file's content; the bytes that it took."""
    try:
        with gzip.open(file) as stream:
            content = stream.read(room + 1)
    except (OSError, EOFError) as error:
        raise CaseError(f"{case}: {file} cannot be read ({error}); expected a complete file: copy it again") from error
    if len(content) > room:
        raise CaseError(f"{case}: {file} unpacks to more than the {2 * MAX_VOXELS >> 20} MiB accepted: export less")
    to.write_bytes(content)
    return len(content)


def _header(path: Path) -> dict[str, str]:
    """What the header says, by the names of ``_TAGS``.

    Raises:
        RuntimeError: no DICOM image, or not whole.
    """
    io = itk.GDCMImageIO.New()
    io.SetGlobalWarningDisplay(False)
    io.SetFileName(str(path))
    io.ReadImageInformation()
    meta = io.GetMetaDataDictionary()
    return {name: str(meta[tag]).strip(" \0") for name, tag in _TAGS.items() if meta.HasKey(tag)}


def _looks_like_dicom(path: Path) -> bool:
    with open(path, "rb") as opened:
        start = opened.read(_MAGIC.stop)
    return path.name.lower().endswith(_ENDINGS) or start[_MAGIC] == b"DICM" or start.startswith(_STARTS)


def _size(image: _Image) -> tuple[int, int]:
    return int(image.tags["columns"]), int(image.tags["rows"])


def _stacked(images: Sequence[_Image]) -> tuple[list[_Image], np.ndarray | None]:
    """Single slices sorted along their normal, and the step (x, y, z) in mm from one to the next, None if there is one.

    Raises:
        ValueError: they are no stack of equal slices at equal distances; the message goes on after the folder's name.
    """
    _check_equal_slices(images)
    directions = images[0].numbers("directions")
    normal = np.cross(directions[:3], directions[3:])
    positions = np.array([image.numbers("position") for image in images])
    order = np.argsort(positions @ normal, kind="stable")
    images, positions = [images[index] for index in order], positions[order]
    if len(images) == 1:
        return images, None
    along = positions @ normal
    _check_distances(images, np.diff(along))
    across = positions - positions[0] - np.outer(along - along[0], normal)
    shift = np.linalg.norm(across, axis=1).max()
    if shift > _SHIFT:
        raise ValueError(
            f"has slices that are shifted against each other in their plane, by {shift / (len(images) - 1):.2f} mm "
            f"from one to the next (gantry tilt or shear); expected a straight stack: export it reformatted"
        )
    return images, normal * (along[-1] - along[0]) / (len(images) - 1)


def _check_equal_slices(images: Sequence[_Image]) -> None:
    """Refuse slices without geometry, in several sizes, spacings or directions, and files that are copies."""
    for image in images:
        directions = image.numbers("directions")
        frame = directions.reshape(-1, 3) if len(directions) == 6 else np.zeros((2, 3))
        placed = len(image.numbers("position")) == 3 and len(image.numbers("spacing")) == 2
        if not placed or not np.allclose(frame @ frame.T, np.eye(2), atol=0.01):
            raise ValueError(
                f"does not say where its slices lie ({image.name} lacks position, directions or pixel spacing); "
                f"expected original images: export them from the scanner or archive, not as screen captures"
            )
    first = images[0]
    for image in images[1:]:
        if _size(image) != _size(first) or not np.allclose(
            image.numbers("spacing"), first.numbers("spacing"), atol=1e-3
        ):
            raise ValueError(
                f"holds slices of different sizes ({first.name} and {image.name}); expected one stack: keep one"
            )
        if not np.allclose(image.numbers("directions"), first.numbers("directions"), atol=0.01):
            raise ValueError(
                f"holds slices in several directions ({first.name} and {image.name}), as a localizer does; "
                f"expected one stack of parallel slices: choose another series"
            )
    by_instance: dict[str, str] = {}
    for image in images:
        instance = image.tags.get("instance") or image.name
        if instance in by_instance:
            raise ValueError(
                f"holds the same image twice, {by_instance[instance]} and {image.name}; expected each once: remove one"
            )
        by_instance[instance] = image.name


def _check_distances(images: Sequence[_Image], gaps: np.ndarray) -> None:
    """Refuse positions that are taken twice, and distances that are not equal."""
    step = float(np.median(gaps))
    repeated = np.flatnonzero(gaps <= _UNEVEN * gaps.max())
    if len(repeated):
        echoes = Counter(image.tags["echo"] for image in images if image.tags.get("echo"))
        pair = f"{images[repeated[0]].name} and {images[repeated[0] + 1].name}"
        if len(echoes) > 1:
            raise ValueError(
                f"holds {len(echoes)} echoes (echo times {', '.join(sorted(echoes))} ms); expected one volume: "
                f"put each echo into a folder of its own"
            )
        raise ValueError(
            f"holds several images at one position ({pair}; time points, or parts of a larger series); expected one "
            f"volume: put each into a folder of its own"
        )
    if np.abs(gaps - step).max() <= _UNEVEN * step:
        return
    off = np.abs(gaps - gaps.mean()).max()
    told = f"has slices at uneven distances, up to {off:.2f} mm off"
    steps = gaps / gaps.min()
    if np.abs(steps - steps.round()).max() <= 0.05:
        widest = int(steps.argmax())
        raise ValueError(
            f"{told}: {int(round(steps.sum())) - len(gaps)} of them missing, the first run of them between "
            f"{images[widest].name} and {images[widest + 1].name}; expected a whole series: export it again"
        )
    raise ValueError(
        f"{told} (from {gaps.min():.2f} to {gaps.max():.2f} mm); expected equal distances: resample it, or take a "
        f"series acquired in one piece"
    )


def _read_by_dcm2niix(images: Sequence[_Image], folder: Path, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and affine of enhanced multi-frame files, converted to NIfTI in a temporary folder."""
    check_size((*_size(images[0]), sum(image.frames for image in images)), path=folder, case=case)
    try:
        program = importlib.import_module("dcm2niix").bin
    except ImportError:
        raise CaseError(
            f"{case}: {folder} is enhanced multi-frame DICOM, which needs dcm2niix: "
            f"pip install passion-bundles[dicom], or export it as a classic series or NIfTI"
        ) from None
    with TemporaryDirectory() as linked, TemporaryDirectory() as out:
        for index, image in enumerate(images):
            (Path(linked) / f"{index}.dcm").symlink_to(image.path.absolute())
        command = [program, "-z", "n", "-b", "n", "-f", "volume", "-o", out, linked]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        made = sorted(Path(out).glob("*.nii"))
        if len(made) != 1:
            said = done.stdout.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise CaseError(
                f"{case}: {folder} gives {len(made)} volumes with dcm2niix ({said[0]}); expected one: "
                f"put each into a folder of its own"
            )
        try:
            values, affine, _ = read_nifti(made[0], None, case=case)
        except CaseError as error:
            raise CaseError(str(error).replace(str(made[0]), str(folder))) from error
        return values, affine


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more files" if len(names) > 3 else "")
