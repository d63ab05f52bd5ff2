"""Phantoms in the published layout of the LGG Segmentation Dataset: RGB slices in TIFF with masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import itk
import numpy as np

from passion_components.data.layouts.lgg import CHANNELS
from passion_components.data.phantoms.brain import draw_brain
from passion_components.data.phantoms.collection import check_collection
from passion_components.data.phantoms.fields import random_stream
from passion_components.files import write_atomically

INSTITUTIONS = ("AA", "BB", "CC")
NOISE_LEVEL = 12


def case_name(case_number: int) -> str:
    """Name of a patient's folder; institutions take turns."""
    return f"TCGA_{INSTITUTIONS[case_number % len(INSTITUTIONS)]}_{case_number:04d}_19990101"


def draw_lgg(case_number: int, size: Sequence[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw one patient: the middle half of a brain phantom's slices, its whole tumour as the lesion.

    Every fourth patient has no post-contrast T1, every eighth no T1 either; as published, a copy of FLAIR stands there.

    Args:
        case_number: 1 or more; together with ``seed`` it determines the patient.
        size: voxels of the brain phantom along x, y, z.
        seed: of the collection.

    Returns:
        Slices uint8 (z, rows, columns, 3), each sequence windowed to 8 bits over a background of noise; masks uint8
        (z, rows, columns), 0 or 255.

    Raises:
        ValueError: as :func:`~passion_components.data.phantoms.brain.draw_brain`.
    """
    images, label = draw_brain(case_number, size, seed)
    middle = slice(size[2] // 4, size[2] - size[2] // 4)
    noise = random_stream(seed, case_number, "background").integers(0, NOISE_LEVEL, (3, *label[..., middle].shape))
    channels = []
    for name, grain in zip(CHANNELS, noise, strict=True):
        volume = images[name][..., middle].astype(np.float32)
        scaled = np.clip(volume / max(float(np.percentile(volume, 99.5)), 1.0), 0, 1) * (255 - NOISE_LEVEL)
        channels.append((scaled + grain).astype(np.uint8))
    if case_number % 4 == 0:
        channels[2] = channels[1]
    if case_number % 8 == 0:
        channels[0] = channels[1]
    mask = np.where(label[..., middle] > 0, 255, 0).astype(np.uint8)
    return np.stack(channels, -1).transpose(2, 1, 0, 3), mask.transpose(2, 1, 0)


def write_lgg_phantoms(
    out: Path | str,
    *,
    cases: int,
    size: Sequence[int],
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write ``out/<patient>/<patient>_<n>.tif`` and ``..._mask.tif`` for every slice.

    Args:
        out: folder, made if needed.
        cases: how many; patient n is the same whatever their number.
        size: as of :func:`draw_lgg`.
        seed: of the patients.
        progress: called with the name of each patient that is written.

    Raises:
        ValueError: no cases asked for, a size that cannot be drawn, a folder that is not empty.
    """
    out = Path(out)
    check_collection(out, cases)
    for number in range(1, cases + 1):
        slices, masks = draw_lgg(number, size, seed)
        name = case_name(number)
        for index, (image, mask) in enumerate(zip(slices, masks, strict=True), 1):
            _write(
                out / name / f"{name}_{index}.tif", itk.image_from_array(np.ascontiguousarray(image), is_vector=True)
            )
            _write(out / name / f"{name}_{index}_mask.tif", itk.image_from_array(np.ascontiguousarray(mask)))
        if progress is not None:
            progress(name)


def _write(path: Path, image: itk.Image) -> None:
    write_atomically(path, partial(_save, image))


def _save(image: itk.Image, path: Path) -> None:
    itk.imwrite(image, str(path))
