"""Brain phantoms with a tumour: four sequences and a label map in the layout, names and codes of BraTS2020.

Tissues, contrasts, lesion and confounders make every sequence necessary for something: FLAIR shows the edema but also
hyperintensities that are no tumour, T1ce the enhancing rim but also vessels, T2 tells necrosis from edema, T1 anatomy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from passion_components.data.phantoms.collection import Phantoms, checked_size, phantom_nifti
from passion_components.data.phantoms.fields import (
    binomial_blur,
    ellipsoid,
    random_direction,
    smooth_field,
    subject_streams,
    tube,
    voxel_grid,
)
from passion_components.datasets import BRATS2020

MIN_SIZE = (16, 16, 16)
MAX_SIZE = (240, 240, 155)

OUTSIDE, CSF, GREY, WHITE, EDEMA, NECROSIS, ENHANCING = range(7)
LABEL_OF_TISSUE = np.array([0, 0, 0, 0, 2, 1, 4], dtype=np.uint8)

INTENSITY: Mapping[str, tuple[float, ...]] = {
    "flair": (0.0, 0.15, 0.55, 0.45, 0.85, 0.60, 0.78),
    "t1": (0.0, 0.20, 0.50, 0.70, 0.60, 0.42, 0.55),
    "t1ce": (0.0, 0.20, 0.52, 0.72, 0.62, 0.42, 1.00),
    "t2": (0.0, 1.00, 0.62, 0.48, 0.82, 0.95, 0.72),
}
"""Per sequence the value of every tissue, in the order of the constants above."""

CONFOUNDERS: Mapping[str, Mapping[str, float]] = {
    "hyperintensities": {"flair": 0.35, "t2": 0.20},
    "vessels": {"t1ce": 0.45},
}
"""What looks like tumour and is none -> by how much it raises which sequence."""

TISSUE_SPREAD, TEXTURE, BIAS, NOISE = 0.03, 0.04, 0.15, 0.05
FILE_SCALE = 1000.0
"""int16 value in a file that stands for intensity 1."""


def draw_brain(case_number: int, size: Sequence[int], seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Draw one patient.

    Args:
        case_number: 1 or more; together with ``seed`` it determines the patient, at every ``size``.
        size: voxels along x, y, z.
        seed: of the collection.

    Returns:
        Images by modality, int16 of shape ``size``, zero outside the brain and nowhere in it; label map, uint8 of
        shape ``size`` with the codes 0, 1 (necrotic and non-enhancing core), 2 (edema), 4 (enhancing tumour).

    Raises:
        ValueError: a size below 16 or above 240 x 240 x 155, a case number below 1, a negative seed.
    """
    size = checked_size(size, MIN_SIZE, MAX_SIZE)
    grid = voxel_grid(size)
    stream = subject_streams(seed, case_number)
    tissue, semi_axes = _draw_anatomy(stream("anatomy"), grid, size)
    _draw_lesion(stream("lesion"), grid, size, tissue, semi_axes)
    confounders = _draw_confounders(stream("confounders"), grid, tissue, semi_axes)
    images = {name: _draw_sequence(stream(f"sequence {name}"), name, tissue, confounders) for name in INTENSITY}
    return images, LABEL_OF_TISSUE[tissue]


def case_name(case_number: int) -> str:
    """Name of a case and of its folder."""
    return f"BrainPhantom_{case_number:03d}"


def _case_files(out: Path, number: int) -> dict[str, str]:
    case = case_name(number)
    files = {name: str(out / case / f"{case}_{name}.nii.gz") for name in INTENSITY}
    return {"case": case, **files, "label": str(out / case / f"{case}_seg.nii.gz")}


def _draw_files(number: int, size: Sequence[int], seed: int) -> dict[str, nib.Nifti1Image]:
    images, label = draw_brain(number, size, seed)
    return {key: phantom_nifti(array) for key, array in {**images, "label": label.astype(np.int16)}.items()}


write_brain_phantoms = Phantoms(BRATS2020, MIN_SIZE, MAX_SIZE, _case_files, _draw_files).write
"""Writes ``out/<case>/<case>_{flair,t1,t1ce,t2,seg}.nii.gz`` ``out/datalist.json``, as of :meth:`Phantoms.write`."""


def _draw_anatomy(
    rng: np.random.Generator, grid: list[np.ndarray], size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Tissue of every voxel (int8) and the brain's semi-axes (3,)."""
    semi_axes = np.array([rng.uniform(0.72, 0.85), rng.uniform(0.85, 0.95), rng.uniform(0.80, 0.92)])
    ventricle_x = rng.uniform(0.08, 0.16)
    ventricle_axes = (rng.uniform(0.05, 0.12), rng.uniform(0.20, 0.36), rng.uniform(0.15, 0.28))
    depth = ellipsoid(grid, (0, 0, 0), semi_axes) + 0.03 * smooth_field(rng, (5, 5, 5), size)
    white = depth < 0.78 + 0.09 * smooth_field(rng, (11, 11, 11), size)
    sulci = (depth > 0.9) & (smooth_field(rng, (11, 11, 11), size) > 0.6)

    tissue = np.where(white, WHITE, GREY).astype(np.int8)
    tissue[sulci] = CSF
    for side in (-1, 1):
        tissue[ellipsoid(grid, (side * 0.26, 0.02, -0.05), (0.10, 0.16, 0.12)) < 1] = GREY
    for side in (-1, 1):
        tissue[ellipsoid(grid, (side * ventricle_x, 0, 0.05), ventricle_axes) < 1] = CSF
    tissue[depth >= 1] = OUTSIDE
    return tissue, semi_axes


def _draw_lesion(
    rng: np.random.Generator,
    grid: list[np.ndarray],
    size: tuple[int, ...],
    tissue: np.ndarray,
    semi_axes: np.ndarray,
) -> None:
    """Put edema, necrosis and an enhancing rim with gaps into ``tissue``; ventricles are spared."""
    centre = _random_position(rng, semi_axes, 0.55)
    radius = rng.uniform(0.30, 0.55)
    core_radius = radius * rng.uniform(0.55, 0.80)
    core_centre = centre + rng.uniform(-0.25, 0.25, 3) * (radius - 0.7 * core_radius)
    rim = rng.uniform(0.35, 0.60)
    outline = 1 + 0.2 * smooth_field(rng, (6, 6, 6), size)
    rim_width = rim * (1 + 0.4 * smooth_field(rng, (6, 6, 6), size))
    no_gap = smooth_field(rng, (4, 4, 4), size) > -0.9

    depth = ellipsoid(grid, (0, 0, 0), semi_axes)
    ventricle = (tissue == CSF) & (depth < 0.7)
    tumour = (ellipsoid(grid, centre, (radius,) * 3) * outline < 1) & (tissue != OUTSIDE) & ~ventricle
    core_depth = ellipsoid(grid, core_centre, (core_radius,) * 3) * outline
    core = tumour & (core_depth < 1)
    tissue[tumour] = EDEMA
    tissue[core] = NECROSIS
    tissue[core & (core_depth > 1 - rim_width) & no_gap] = ENHANCING


def _draw_confounders(
    rng: np.random.Generator, grid: list[np.ndarray], tissue: np.ndarray, semi_axes: np.ndarray
) -> dict[str, np.ndarray]:
    """Bool masks of healthy tissue that looks like tumour, by the names of :data:`CONFOUNDERS`."""
    hyperintensities, vessels = np.zeros_like(tissue, dtype=bool), np.zeros_like(tissue, dtype=bool)
    for _ in range(rng.integers(0, 5)):
        position, radius = _random_position(rng, semi_axes, 0.70), rng.uniform(0.05, 0.11)
        hyperintensities |= ellipsoid(grid, position, (radius,) * 3) < 1
    for _ in range(rng.integers(1, 5)):
        position, direction = _random_position(rng, semi_axes, 0.90), random_direction(rng)
        vessels |= tube(grid, position, direction, half_length=rng.uniform(0.1, 0.3), radius=rng.uniform(0.04, 0.08))
    healthy = (tissue == GREY) | (tissue == WHITE)
    return {"hyperintensities": hyperintensities & healthy, "vessels": vessels & healthy}


def _draw_sequence(
    rng: np.random.Generator, name: str, tissue: np.ndarray, confounders: Mapping[str, np.ndarray]
) -> np.ndarray:
    """One sequence, int16: tissue values, texture, point spread, bias field, Rician noise."""
    inside = tissue != OUTSIDE
    values = np.array(INTENSITY[name]) + TISSUE_SPREAD * rng.standard_normal(len(INTENSITY[name]))
    image = values.astype(np.float32)[tissue] + TEXTURE * smooth_field(rng, (9, 9, 9), tissue.shape)
    for confounder, raised in CONFOUNDERS.items():
        if name in raised:
            image[confounders[confounder]] += raised[name]
    image[~inside] = 0
    image = binomial_blur(image) * np.exp(BIAS * smooth_field(rng, (3, 3, 3), tissue.shape))
    signal = image[inside]
    noise = NOISE * rng.standard_normal((2, len(signal)), dtype=np.float32)
    magnitude = np.hypot(signal + noise[0], noise[1])

    stored = np.zeros(tissue.shape, dtype=np.int16)
    # Zero means outside the brain, for every reader of the files: the darkest voxel inside is 1.
    stored[inside] = np.clip(np.rint(FILE_SCALE * magnitude), 1, np.iinfo(np.int16).max)
    return stored


def _random_position(rng: np.random.Generator, semi_axes: np.ndarray, depth: float) -> np.ndarray:
    """A point (3,) of the brain, uniformly among those nearer to its centre than ``depth`` of its semi-axes."""
    return semi_axes * random_direction(rng) * depth * rng.uniform() ** (1 / 3)
