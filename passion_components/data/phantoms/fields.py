"""What phantoms are drawn and written with: named random streams, coordinates, smooth random fields, simple shapes.

Space is the field of view, [-1, 1] along every axis, whatever the number of voxels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import convolve1d


def random_stream(seed: int, subject: int, name: str) -> np.random.Generator:
    """The generator of one concern of one subject.

    Concerns have streams of their own so that a new sequence or a new confounder changes nothing else.
    """
    return np.random.default_rng([seed, subject, zlib.crc32(name.encode())])


def subject_streams(seed: int, case_number: int) -> Callable[[str], np.random.Generator]:
    """:func:`random_stream` of one subject, by the name of a concern.

    Raises:
        ValueError: a case number below 1, a negative seed.
    """
    if case_number < 1 or seed < 0:
        raise ValueError(f"case numbers start at 1 and seeds at 0, got case number {case_number} and seed {seed}")
    return partial(random_stream, seed, case_number)


def voxel_grid(size: Sequence[int]) -> list[np.ndarray]:
    """Coordinates of voxel centres: one float32 array per axis, shaped to broadcast against the others."""
    centres = [(2 * np.arange(n, dtype=np.float32) + 1) / n - 1 for n in size]
    return list(np.ix_(*centres))


def smooth_field(rng: np.random.Generator, points: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """A smooth random field: float32, shape ``size``, standard deviation 1.

    N(0, 1) on a grid of ``points`` that spans the field of view, linearly interpolated. What is drawn does not depend
    on ``size``, so a subject looks the same at every resolution.
    """
    field = rng.standard_normal(points, dtype=np.float32)
    for n_points, axis in zip(points, voxel_grid(size), strict=True):
        knots = np.linspace(-1, 1, n_points)
        weights = np.stack([np.interp(axis.ravel(), knots, unit) for unit in np.eye(n_points)])
        # Contracting the first axis and appending the new one last brings the axes back in order at the end.
        field = np.tensordot(field, weights.astype(np.float32), axes=(0, 0))
    return field / field.std()


def ellipsoid(grid: Sequence[np.ndarray], centre: ArrayLike, semi_axes: ArrayLike) -> np.ndarray:
    """Distance from ``centre`` in units of ``semi_axes``: below 1 inside the ellipsoid, 1 on its surface."""
    parts = zip(grid, np.asarray(centre, np.float32), np.asarray(semi_axes, np.float32), strict=True)
    return np.sqrt(sum(((x - c) / s) ** 2 for x, c, s in parts))


def tube(
    grid: Sequence[np.ndarray], centre: ArrayLike, direction: ArrayLike, half_length: float, radius: float
) -> np.ndarray:
    """Bool mask of a straight tube with round ends; ``direction`` is a unit vector."""
    unit = np.asarray(direction, np.float32)
    offset = [x - c for x, c in zip(grid, np.asarray(centre, np.float32), strict=True)]
    along = np.clip(sum(o * u for o, u in zip(offset, unit, strict=True)), -half_length, half_length)
    return np.sqrt(sum((o - along * u) ** 2 for o, u in zip(offset, unit, strict=True))) < radius


def random_direction(rng: np.random.Generator, dims: int = 3) -> np.ndarray:
    """A unit vector, every direction equally likely."""
    vector = rng.standard_normal(dims)
    return vector / np.linalg.norm(vector)


def binomial_blur(image: np.ndarray, axes: Sequence[int] | None = None) -> np.ndarray:
    """The image blurred with (1, 2, 1) / 4 along ``axes``, by default every one: the scanner's point spread."""
    for axis in range(image.ndim) if axes is None else axes:
        image = convolve1d(image, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
    return image
