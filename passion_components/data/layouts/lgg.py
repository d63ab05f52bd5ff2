"""The LGG Segmentation Dataset as it is published, made into volumes with a datalist.

Published: one folder a patient, ``TCGA_<institution>_<patient>_<date>``, with ``<folder>_<n>.tif``, RGB slices of
8 bits whose channels are pre-contrast T1, FLAIR and post-contrast T1, and ``<folder>_<n>_mask.tif``, 0 or 255. Where a
sequence does not exist the publishers put a copy of FLAIR in its channel. Neither spacing nor orientation is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np

from passion_components.data.errors import CaseError, by
from passion_components.data.lists.datalist import new_datalist, write_datalist
from passion_components.data.lists.splits import force_into_parts, split_by_stratum
from passion_components.data.outputs import check_replaceable
from passion_components.data.reading.nifti import nifti_image
from passion_components.datasets import TCGA_LGG
from passion_components.files import write_atomically, write_text_atomically

CHANNELS = ("t1", "flair", "t1ce")
FIELD_OF_VIEW = 230.4
SLICE_DISTANCE = 5.0
GEOMETRY_NOTE = (
    f"nominal: field of view {FIELD_OF_VIEW} mm, {SLICE_DISTANCE:g} mm between slices; "
    "the published files carry no spacing"
)
_PATIENT = re.compile(r"TCGA_[A-Za-z0-9]+_[A-Za-z0-9]+_\d+")
_MAX_LISTED = 5
_DESCRIPTION = b"spacing is nominal, not given by the source"


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


def prepare_lgg(
    source: Path | str,
    out: Path | str,
    *,
    split: Mapping[str, float],
    seed: int,
    forced: Mapping[str, str],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, dict[str, list[Mapping[str, str]]], dict[str, Any], list[str]]:
    """Write ``out/<patient>/<patient>_{t1,flair,t1ce,seg}.nii.gz``, ``out/datalist.json`` and ``out/summary.json``.

    A sequence that is a copy of another one is left out. Patients are split within each institution. A patient with
    something wrong is left out and told; the others are done.

    Args:
        source: folder with the patients' folders; only read.
        out: folder to write to; without a datalist yet.
        split: shares of the parts.
        seed: of the split.
        forced: patient -> part that it must be in, whatever the split; the others are split as if they were all.
        progress: called with the number of patients done and of all.

    Returns:
        Path of the datalist, its parts, the summary, and a line for everything that was left out.

    Raises:
        FileNotFoundError: no such folder, or not one patient in it.
        ValueError: ``out`` already has a datalist; a forced patient that is not there.
    """
    source, out = Path(source), Path(out)
    datalist = new_datalist(out)
    check_replaceable(out / "summary.json", GEOMETRY_NOTE)
    folders, problems = _patient_folders(source)
    force_into_parts([{"case": folder.name} for folder in folders], forced)  # a misspelt name is told before the work
    cases, rows = [], {}
    for number, folder in enumerate(folders, 1):
        try:
            patient = read_patient(folder)
        except CaseError as error:
            problems.append(f"{error}; left out")
        else:
            cases.append(_write(patient, out))
            rows[patient.name] = _describe(patient)
        if progress is not None:
            progress(number, len(folders))
    if not cases:
        raise FileNotFoundError(f"{source}: no patient can be used; first of {len(problems)} problems: {problems[0]}")
    free, fixed = force_into_parts(cases, {name: part for name, part in forced.items() if name in rows})
    parts = split_by_stratum(free, split, seed, stratum=lambda case: rows[case["case"]]["institution"])
    parts = {part: sorted(parts[part] + fixed[part], key=lambda case: case["case"]) for part in parts}
    summary = _summary(source, rows, problems)
    write_text_atomically(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return write_datalist(datalist, parts, dataset=TCGA_LGG), parts, summary, problems


def holds_patients(source: Path) -> bool:
    """Whether a folder is that of the published patients."""
    return source.is_dir() and any(
        _PATIENT.fullmatch(path.name) and any(path.glob("*_mask.tif")) for path in source.iterdir()
    )


def _patient_folders(source: Path) -> tuple[list[Path], list[str]]:
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


def _write(patient: Patient, out: Path) -> dict[str, str]:
    """Write a patient's files; returns the entry of the datalist."""
    columns = patient.mask.shape[0]
    affine = np.diag([-FIELD_OF_VIEW / columns, -FIELD_OF_VIEW / columns, SLICE_DISTANCE, 1.0])
    case = {"case": patient.name}
    for key, array in {**patient.sequences, "label": patient.mask}.items():
        path = out / patient.name / f"{patient.name}_{'seg' if key == 'label' else key}.nii.gz"
        check_replaceable(path, _DESCRIPTION)
        image = nifti_image(np.ascontiguousarray(array), affine, description=_DESCRIPTION)
        write_atomically(path, partial(nib.save, image))
        case[key] = str(path)
    return case


def _describe(patient: Patient) -> dict[str, Any]:
    return {
        "institution": patient.institution,
        "slices": patient.mask.shape[2],
        "lesion_slices": int(patient.mask.any((0, 1)).sum()),
        "absent": dict(patient.copies),
    }


def _summary(source: Path, rows: Mapping[str, dict[str, Any]], problems: Sequence[str]) -> dict[str, Any]:
    return {
        "source": f"LGG Segmentation Dataset (Buda et al. 2019), from {source.resolve().name}",
        "geometry": GEOMETRY_NOTE,
        "patients": len(rows),
        "slices": sum(row["slices"] for row in rows.values()),
        "lesion_slices": sum(row["lesion_slices"] for row in rows.values()),
        "absent": {
            name: sorted(patient for patient, row in rows.items() if name in row["absent"])
            for name in TCGA_LGG.modalities
        },
        "left_out": list(problems),
        "by_patient": dict(rows),
    }
