"""The LGG Segmentation Dataset as it is published: slices, read as volumes.

Published: one folder a patient, ``TCGA_<institution>_<patient>_<date>``, with ``<folder>_<n>.tif``, RGB slices of
8 bits whose channels are pre-contrast T1, FLAIR and post-contrast T1, and ``<folder>_<n>_mask.tif``, 0 or 255. Where a
sequence does not exist the publishers put a copy of FLAIR in its channel. Neither spacing nor orientation is given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import itk
import numpy as np

from passion_components.data.errors import CaseError, by

CHANNELS = ("t1", "flair", "t1ce")
_PATIENT = re.compile(r"TCGA_[A-Za-z0-9]+_[A-Za-z0-9]+_\d+")
_MAX_LISTED = 5


@dataclass(frozen=True)
class Patient:
    """One patient's volumes.

    Attributes:
        name: of the folder.
        sequences: uint8 (x, y, z) by modality, only those that exist; x runs to the patient's left, y to posterior,
            z to superior.
        mask: uint8 (x, y, z), 1 in the lesion.
        copies: modality that does not exist -> what its channel holds instead.
    """

    name: str
    sequences: Mapping[str, np.ndarray]
    mask: np.ndarray
    copies: Mapping[str, str]

    @property
    def institution(self) -> str:
        """The institution's code, the second word of the name."""
        return self.name.split("_")[1]


def read_patient(folder: Path) -> Patient:
    """Read and check a patient's slices.

    Raises:
        CaseError: slices that are missing, without a mask, unreadable, of another kind or of different sizes; masks
            with other values than 0 and 255; no sequence with contrast.
    """
    count = _count_slices(folder)
    images = [_read(folder / f"{folder.name}_{n}.tif", (3,)) for n in range(1, count + 1)]
    masks = [_read(folder / f"{folder.name}_{n}_mask.tif", ()) for n in range(1, count + 1)]
    for number, (image, mask) in enumerate(zip(images, masks, strict=True), 1):
        if not image.shape[:2] == mask.shape == images[0].shape[:2]:
            raise CaseError(
                f"{folder.name}: slice {number} has {by(image.shape[:2])} pixels, its mask {by(mask.shape)}, slice 1 "
                f"{by(images[0].shape[:2])}; expected one size per patient: fetch the folder again"
            )
        if not np.isin(mask, (0, 255)).all():
            wrong = ", ".join(map(str, np.setdiff1d(mask, (0, 255))[:_MAX_LISTED]))
            raise CaseError(
                f"{folder.name}: {folder.name}_{number}_mask.tif holds {wrong}; accepted: 0 and 255: "
                f"was it resized or saved as JPEG?"
            )
    volume = np.stack(images).transpose(2, 1, 0, 3)
    channels = {name: volume[..., index] for index, name in enumerate(CHANNELS)}
    copies = _copies(channels)
    sequences = {name: channel for name, channel in channels.items() if name not in copies}
    if not sequences:
        raise CaseError(f"{folder.name}: every channel is constant; expected at least one sequence with contrast")
    return Patient(folder.name, sequences, (np.stack(masks).transpose(2, 1, 0) > 0).astype(np.uint8), copies)


def holds_patients(source: Path) -> bool:
    """Whether a folder is that of the published patients."""
    return source.is_dir() and any(
        _PATIENT.fullmatch(path.name) and any(path.glob("*_mask.tif")) for path in source.iterdir()
    )


def patient_folders(source: Path) -> tuple[list[Path], list[str]]:
    """Folders of patients, and a line for each other folder."""
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder; expected the folder with TCGA_... (kaggle_3m)")
    folders = sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    patients = [folder for folder in folders if _PATIENT.fullmatch(folder.name)]
    if not patients:
        inside = next((f for f in folders if any(_PATIENT.fullmatch(sub.name) for sub in f.iterdir())), None)
        hint = f"; did you mean {inside}?" if inside else ""
        raise FileNotFoundError(f"{source}: no folder of a patient; expected TCGA_<institution>_<patient>_<date>{hint}")
    return patients, [
        f"{folder}: not the name of a patient; expected TCGA_<institution>_<patient>_<date>; left out"
        for folder in folders
        if folder not in patients
    ]


def _count_slices(folder: Path) -> int:
    """The number of slices, after their numbers and masks have been checked."""
    pattern = re.compile(re.escape(folder.name) + r"_([1-9]\d*)(_mask)?\.tif")
    found: dict[bool, set[int]] = {False: set(), True: set()}
    for file in folder.iterdir():
        match = pattern.fullmatch(file.name)
        if match:
            found[match[2] is not None].add(int(match[1]))
        elif file.suffix.lower() in (".tif", ".tiff"):
            raise CaseError(
                f"{folder.name}: {file.name} is no slice of this patient; expected {folder.name}_<number>.tif, "
                f"numbered 1, 2 and so on: rename or remove it"
            )
    numbers, masks = found[False], found[True]
    if not numbers:
        raise CaseError(f"{folder.name}: no slices; expected {folder.name}_1.tif and so on")
    last = max(numbers | masks)
    for what, missing in (
        ("slice", set(range(1, last + 1)) - numbers),
        ("mask of slice", set(range(1, last + 1)) - masks),
    ):
        if missing:
            listed = ", ".join(map(str, sorted(missing)[:_MAX_LISTED])) + (" ..." if len(missing) > _MAX_LISTED else "")
            raise CaseError(
                f"{folder.name}: no {what} {listed}; expected one for every number from 1 to {last}: "
                f"fetch the folder again"
            )
    return last


def _read(path: Path, channels: tuple[int, ...]) -> np.ndarray:
    """One TIFF as uint8 (rows, columns, *channels)."""
    expected = f"expected {'an RGB' if channels else 'a grey'} image of 8 bits: fetch it again"
    try:
        array = itk.array_from_image(itk.imread(str(path)))
    except Exception as error:  # RuntimeError with a page of context, or TypeError for a pixel type that itk has not
        found = "has another pixel type" if isinstance(error, TypeError) else "cannot be read"
        raise CaseError(f"{path.parent.name}: {path.name} {found}; {expected}") from error
    if array.dtype != np.uint8 or array.ndim != 2 + len(channels) or array.shape[2:] != channels:
        raise CaseError(f"{path.parent.name}: {path.name} is {by(array.shape)} of {array.dtype}; {expected}")
    return array


def _copies(channels: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Channels that hold no sequence of their own -> what they hold; FLAIR counts as the original, then T1."""
    absent = {name: "nothing: constant" for name, channel in channels.items() if channel.min() == channel.max()}
    for original, copy in (("flair", "t1"), ("flair", "t1ce"), ("t1", "t1ce")):
        if absent.keys().isdisjoint((original, copy)) and np.array_equal(channels[original], channels[copy]):
            absent[copy] = f"a copy of {original}"
    return absent
