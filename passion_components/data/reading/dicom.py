"""One DICOM series in a folder, of which every file found is read or named."""

from __future__ import annotations

import importlib
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import itk
import numpy as np

from passion_components.data.errors import CaseError
from passion_components.data.reading.dicom_headers import Image, called, listed, read_headers, size_of
from passion_components.data.reading.itk_images import first_reason, values_and_affine
from passion_components.data.reading.limits import check_size
from passion_components.data.reading.nifti import read_nifti

_ENHANCED = {f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2.1", "4.1", "4.3", "130")}
"""Kinds of DICOM that keep a volume, with the places of its slices, in one file: CT, MR, MR in colour, PET."""

_UNEVEN = 0.01
"""Share of the distance between slices by which it may vary."""

_SHIFT = 0.2
"""Millimetres that slices may be shifted in their own plane, over the whole stack."""


def read_dicom_series(folder: Path, *, case: str, number: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Values float32 (x, y, z) and affine (4, 4) in RAS and mm of the one DICOM series in a folder, rescaled as told.

    Slices are sorted by their position in space. Files need neither an ending nor a preamble, and may be compressed
    (``.dcm.gz``). Enhanced multi-frame files are read by dcm2niix, which the extra ``dicom`` installs.

    Args:
        folder: with the files; others in it are passed over.
        case: how the case is called in messages.
        number: of the series, where the folder holds several.

    Raises:
        CaseError: no series, several of them, files that cannot be read, colours, no geometry, slices that are missing,
            there twice, in several directions, unevenly spaced or shifted against each other.
    """
    with TemporaryDirectory() as unpacked:
        images = _images(folder, number, Path(unpacked), case)
        if any(image.tags.get("samples", "1") != "1" for image in images):
            raise CaseError(
                f"{case}: {folder} holds colours; expected one grey value per voxel: export the scan itself"
            )
        if _is_enhanced(images):
            return _read_by_dcm2niix(images, folder, case)
        try:
            images, third = _stacked(images)
        except ValueError as error:
            raise CaseError(f"{case}: {folder} {error}") from None
        check_size((*size_of(images[0]), len(images)), path=folder, case=case)
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


def slice_files(folder: Path, unpacked: Path, *, case: str, number: int | None = None) -> list[Path]:
    """The files of a classic series, one a slice, in the order in which :func:`read_dicom_series` stacks them.

    Args:
        folder: with the files.
        unpacked: folder for what is compressed.
        case: how the case is called in messages.
        number: of the series, where the folder holds several.

    Raises:
        CaseError: as there, or enhanced multi-frame files.
    """
    images = _images(folder, number, unpacked, case)
    if _is_enhanced(images):
        raise CaseError(f"{case}: {folder} is enhanced multi-frame DICOM; accepted: a classic series: export it as one")
    try:
        return [image.path for image in _stacked(images)[0]]
    except ValueError as error:
        raise CaseError(f"{case}: {folder} {error}") from None


def _is_enhanced(images: Sequence[Image]) -> bool:
    return any(image.frames > 1 or image.tags.get("kind") in _ENHANCED for image in images)


def _images(folder: Path, number: int | None, unpacked: Path, case: str) -> list[Image]:
    """The files of the one series in a folder, or of the one with that number, sorted by name."""
    images, damaged = read_headers(folder, unpacked, case=case)
    if damaged and images:
        raise CaseError(
            f"{case}: {folder} holds {listed(damaged)}, which cannot be read to the end (cut off?), beside "
            f"{len(images)} that can; expected a whole series: copy or export it again"
        )
    found = {image.tags.get("series", ""): called(image) for image in images}
    if number is not None:
        images = [image for image in images if image.number == number]
    series = {image.tags.get("series", "") for image in images}
    if len(series) != 1:
        nothing = f"no DICOM series{f' ({listed(damaged)} cannot be read)' if damaged else ''}"
        several = f"{len(found)} DICOM series ({', '.join(sorted(found.values()))})" if found else nothing
        asked = "" if number is None else f", {len(series)} of them with number {number}"
        raise CaseError(
            f"{case}: {folder} holds {several}{asked}; expected one series per sequence, in a folder of its own, or "
            f"named by its number, like {folder.name}/#4"
        )
    return images


def _stacked(images: Sequence[Image]) -> tuple[list[Image], np.ndarray | None]:
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


def _check_equal_slices(images: Sequence[Image]) -> None:
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
        if size_of(image) != size_of(first) or not np.allclose(
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


def _check_distances(images: Sequence[Image], gaps: np.ndarray) -> None:
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


def _read_by_dcm2niix(images: Sequence[Image], folder: Path, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and affine of enhanced multi-frame files, converted to NIfTI in a temporary folder."""
    check_size((*size_of(images[0]), sum(image.frames for image in images)), path=folder, case=case)
    try:
        program = importlib.import_module("dcm2niix").bin
    except ImportError:
        raise CaseError(
            f"{case}: {folder} is enhanced multi-frame DICOM, which needs dcm2niix: "
            f"pip install dcm2niix, or export it as a classic series or NIfTI"
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
