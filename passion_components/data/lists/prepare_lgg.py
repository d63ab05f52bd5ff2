"""The LGG Segmentation Dataset, made into volumes with a datalist."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from passion_components.data.errors import CaseError
from passion_components.data.layouts.lgg import Patient, patient_folders, read_patient
from passion_components.data.lists.datalist import new_datalist, write_datalist
from passion_components.data.lists.splits import force_into_parts, split_by_stratum
from passion_components.data.outputs import check_replaceable
from passion_components.data.reading.nifti import nifti_image
from passion_components.datasets import TCGA_LGG
from passion_components.files import write_atomically, write_text_atomically

FIELD_OF_VIEW = 230.4
SLICE_DISTANCE = 5.0
GEOMETRY_NOTE = (
    f"nominal: field of view {FIELD_OF_VIEW} mm, {SLICE_DISTANCE:g} mm between slices; "
    "the published files carry no spacing"
)
_DESCRIPTION = b"spacing is nominal, not given by the source"


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
    folders, problems = patient_folders(source)
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
