"""Heart phantoms with an infarct: three sequences and a label map in the layout, names and codes of MyoPS2020.

Stacks of a few thick short-axis slices. Contrasts make every sequence necessary for something: bSSFP tells blood from
the wall, LGE shows the scar but hardly the blood next to it, T2 shows the edema but blood as dark as lung.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from passion_components.data.phantoms.collection import Phantoms, checked_size, phantom_nifti
from passion_components.data.phantoms.fields import (
    binomial_blur,
    ellipsoid,
    smooth_field,
    subject_streams,
    voxel_grid,
)
from passion_components.datasets import MYOPS2020

MIN_SIZE, MAX_SIZE = (16, 16), (512, 512)
SIZE_RANGE = (0.85, 1.15)
SLICES = range(3, 7)
FIELD_OF_VIEW, SLICE_DISTANCE = 0.75 * 256, 10.0
"""Millimetres: nominal extent of a slice along x, and from one slice to the next."""

LUNG, MUSCLE, FAT, ORGAN, LV_BLOOD, RV_BLOOD, MYOCARDIUM, EDEMA, SCAR, PAPILLARY = range(10)
LABEL_OF_TISSUE = np.array([0, 0, 0, 0, 500, 600, 200, 1220, 2221, 500], dtype=np.int16)
"""Papillary muscles look like myocardium and count as blood pool."""

INTENSITY: Mapping[str, tuple[float, ...]] = {
    "bssfp": (0.10, 0.38, 0.85, 0.50, 0.92, 0.88, 0.42, 0.50, 0.46),
    "lge": (0.08, 0.30, 0.75, 0.38, 0.58, 0.62, 0.18, 0.28, 0.92),
    "t2": (0.10, 0.42, 0.80, 0.60, 0.24, 0.28, 0.46, 0.74, 0.60),
}
"""Per sequence the value of every tissue, in the order of the constants above; papillary muscles as myocardium."""

NOISE: Mapping[str, float] = {"bssfp": 0.08, "lge": 0.10, "t2": 0.10}
TISSUE_SPREAD, TEXTURE, BIAS = 0.03, 0.05, 0.15
FILE_SCALE = 1000.0
"""int16 value in a file that stands for intensity 1."""

FILE_SUFFIX: Mapping[str, str] = {"bssfp": "C0", "lge": "DE", "t2": "T2"}


def draw_heart(
    case_number: int, size: Sequence[int], seed: int = 0
) -> tuple[dict[str, np.ndarray], np.ndarray, tuple[float, float, float]]:
    """Draw one patient.

    Args:
        case_number: 1 or more; together with ``seed`` it determines the patient, at every ``size``.
        size: nominal voxels along x, y; a patient has 85 to 115 % of each, and 3 to 6 slices.
        seed: of the collection.

    Returns:
        Images by modality, int16 (x, y, z), zero nowhere; label map, int16 of the same shape with the codes 0,
        200 (myocardium), 500 and 600 (left and right ventricular blood pool), 1220 (edema), 2221 (scar); millimetres
        per voxel along x, y, z. The last slice is the base of the heart.

    Raises:
        ValueError: a size below 16 x 16 or above 512 x 512, a case number below 1, a negative seed.
    """
    nominal = checked_size(size, MIN_SIZE, MAX_SIZE)
    stream = subject_streams(seed, case_number)
    shape, spacing = _draw_geometry(stream("geometry"), nominal)
    tissue = _draw_surroundings(stream("surroundings"), shape)
    _draw_ventricles(stream, shape, tissue)
    images = {name: _draw_sequence(stream(f"sequence {name}"), name, tissue) for name in INTENSITY}
    return images, LABEL_OF_TISSUE[tissue], spacing


def case_name(case_number: int) -> str:
    """Name of a case; its files start with it."""
    return f"myops_training_{100 + case_number}"


def _case_files(out: Path, number: int) -> dict[str, str]:
    case = case_name(number)
    files = {name: str(out / "train25" / f"{case}_{suffix}.nii.gz") for name, suffix in FILE_SUFFIX.items()}
    return {"case": case, **files, "label": str(out / "train25_myops_gd" / f"{case}_gd.nii.gz")}


def _draw_files(number: int, size: Sequence[int], seed: int) -> dict[str, nib.Nifti1Image]:
    images, label, spacing = draw_heart(number, size, seed)
    return {key: phantom_nifti(array, spacing) for key, array in {**images, "label": label}.items()}


write_heart_phantoms = Phantoms(MYOPS2020, MIN_SIZE, MAX_SIZE, _case_files, _draw_files).write
"""Writes ``out/train25/<case>_{C0,DE,T2}.nii.gz``, ``out/train25_myops_gd/<case>_gd.nii.gz``, ``out/datalist.json``."""


def _draw_geometry(
    rng: np.random.Generator, nominal: tuple[int, ...]
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Voxels and millimetres per voxel along x, y, z."""
    slices = int(rng.integers(SLICES.start, SLICES.stop))
    x, y = (round(n * share) for n, share in zip(nominal, rng.uniform(*SIZE_RANGE, 2), strict=True))
    in_plane = FIELD_OF_VIEW / nominal[0] * rng.uniform(0.95, 1.05)
    return (x, y, slices), (in_plane, in_plane, SLICE_DISTANCE)


def _stack_field(rng: np.random.Generator, points: int, shape: tuple[int, ...]) -> np.ndarray:
    """A smooth field with ``points`` along x and y, and half as many along z as there are slices, but two or more."""
    return smooth_field(rng, (points, points, max(2, shape[2] // 2)), shape)


def _draw_surroundings(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Tissue of every voxel (int8) of a chest without a heart."""
    first, second = _stack_field(rng, 6, shape), _stack_field(rng, 6, shape)
    return np.select([first > 0.6, first < -0.5, second > 1], [LUNG, ORGAN, FAT], MUSCLE).astype(np.int8)


def _draw_ventricles(stream: Callable[[str], np.random.Generator], shape: tuple[int, ...], tissue: np.ndarray) -> None:
    """Put both ventricles, the wall with its infarct, and fat into ``tissue``."""
    rng = stream("anatomy")
    u, v = _heart_coordinates(rng, shape)
    epicardium, wall = rng.uniform(0.36, 0.50), rng.uniform(0.10, 0.16)
    ellipticity = rng.uniform(0.88, 1.12)
    right_centre = -0.55 * (epicardium + rng.uniform(0.30, 0.42))
    right_axes = rng.uniform(0.30, 0.44), rng.uniform(0.38, 0.56)
    outer = epicardium * (1 + 0.05 * _stack_field(rng, 5, shape))
    inner = outer - wall * (1 + 0.15 * _stack_field(rng, 4, shape))
    fatty = _stack_field(rng, 5, shape) > 0.3

    radius = np.hypot(u * ellipticity, v / ellipticity)
    tissue[(radius < outer + 0.06) & fatty] = FAT
    tissue[(ellipsoid((u, v), (right_centre, 0), right_axes) < 1) & (radius > 1.04 * outer)] = RV_BLOOD
    tissue[radius < outer] = MYOCARDIUM
    cavity = radius < inner
    tissue[cavity] = LV_BLOOD
    _draw_papillary_muscles(stream("papillary muscles"), u, v, cavity, epicardium - wall, tissue)
    depth = (radius - inner) / (outer - inner)
    _draw_infarct(stream("infarct"), np.arctan2(v, u), depth, tissue)


def _heart_coordinates(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """In-plane coordinates in the heart's own frame: origin in the left ventricle, the right one at negative u.

    Lengths shrink from the base, the last slice, to the apex.
    """
    x, y, z = voxel_grid(shape)
    centre_x, centre_y, angle = rng.uniform(-0.2, 0.25), rng.uniform(-0.2, 0.2), rng.uniform(-0.7, 0.7)
    scale = 1 - rng.uniform(0.25, 0.45) * (1 - z) / 2
    x, y = x - centre_x, y - centre_y
    cos, sin = np.cos(angle), np.sin(angle)
    return (cos * x + sin * y) / scale, (cos * y - sin * x) / scale


def _draw_papillary_muscles(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, cavity: np.ndarray, inner: float, tissue: np.ndarray
) -> None:
    """Two columns in the cavity, near the free wall."""
    for side in (-1, 1):
        angle, distance = side * rng.uniform(0.3, 1.3), inner * rng.uniform(0.5, 0.75)
        centre, radius = (distance * np.cos(angle), distance * np.sin(angle)), rng.uniform(0.03, 0.07)
        tissue[cavity & (ellipsoid((u, v), centre, (radius, radius)) < 1)] = PAPILLARY


def _draw_infarct(rng: np.random.Generator, angle: np.ndarray, depth: np.ndarray, tissue: np.ndarray) -> None:
    """A sector of the wall: scar from the inside outwards, edema around it; ``depth`` is 0 inside and 1 outside."""
    middle, half_width = rng.uniform(-np.pi, np.pi), rng.uniform(0.35, 1.1)
    edema_half_width = half_width + rng.uniform(0.2, 0.5)
    scar_depth = rng.uniform(0.5, 1.1) + 0.2 * _stack_field(rng, 6, depth.shape)

    away = np.abs((angle - middle + np.pi) % (2 * np.pi) - np.pi)
    wall = tissue == MYOCARDIUM
    tissue[wall & (away < edema_half_width)] = EDEMA
    tissue[wall & (away < half_width) & (depth < scar_depth)] = SCAR


def _draw_sequence(rng: np.random.Generator, name: str, tissue: np.ndarray) -> np.ndarray:
    """One sequence, int16: tissue values, texture, point spread within slices, bias field, Rician noise."""
    values = np.array(INTENSITY[name]) + TISSUE_SPREAD * rng.standard_normal(len(INTENSITY[name]))
    values = np.append(values, values[MYOCARDIUM])
    image = values.astype(np.float32)[tissue] + TEXTURE * _stack_field(rng, 9, tissue.shape)
    image = binomial_blur(image, axes=(0, 1)) * np.exp(BIAS * _stack_field(rng, 3, tissue.shape))
    noise = NOISE[name] * rng.standard_normal((2, *tissue.shape), dtype=np.float32)
    magnitude = np.hypot(image + noise[0], noise[1])
    # Zero would mean that nothing was measured there.
    return np.clip(np.rint(FILE_SCALE * magnitude), 1, np.iinfo(np.int16).max).astype(np.int16)
