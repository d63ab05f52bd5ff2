"""Volumes of one body that lie askew to each other, aligned rigidly by elastix, of the extra ``register``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import itk
import numpy as np
from scipy.spatial.transform import Rotation

from passion_components.data.errors import CaseError, UserError, by
from passion_components.data.reading.grid import Grid
from passion_components.data.reading.itk_images import itk_image
from passion_components.data.reading.resample import resample
from passion_components.data.reading.volumes import Volume, moved_volume

_SETTINGS = {"NumberOfSpatialSamples": "4096", "NumberOfHistogramBins": "64", "WriteResultImage": "false"}
"""Where we differ from elastix's own settings for rigid alignment: mutual information, four resolutions, one seed."""

_BINS = 64
_MIN_SIZE = 4
"""Voxels along an axis, below which nothing tells how a volume lies."""

_COARSE = 2.0
"""Millimetres between the points at which the fit of two volumes is judged."""


@dataclass(frozen=True)
class Alignment:
    """How a volume was moved onto another one, and how well it fits there.

    Attributes:
        matrix: (4, 4), from where a header places a point to where it lies on the other volume; RAS, mm.
        millimetres: how far the centre of the volume was moved.
        degrees: how far it was turned.
        before: normalised mutual information as the headers place them, from 1 (neither tells anything of the other).
        after: the same once aligned; 2 where each tells all of the other.
    """

    matrix: np.ndarray
    millimetres: float
    degrees: float
    before: float
    after: float

    def line(self) -> str:
        """All but the matrix, in words."""
        return (
            f"moved by {self.millimetres:.1f} mm, turned by {self.degrees:.1f} degrees, normalised mutual information "
            f"{self.before:.3f} before and {self.after:.3f} after"
        )


def is_installed() -> bool:
    """Whether elastix is there."""
    return find_spec("itk.itkElastixRegistrationMethodPython") is not None


def check_can_register() -> None:
    """Refuse to go on without elastix.

    Raises:
        UserError: saying what to install.
    """
    if not is_installed():
        raise UserError("to align sequences itk-elastix is needed: pip install 'passion-bundles[register]'")


def align(moving: Volume, fixed: Volume, *, outside: float, case: str) -> tuple[Volume, Alignment]:
    """Find where a volume lies on another one, and bring it to that one's grid, in a single interpolation.

    Both show one body, which did not bend. The search starts from where the headers place them or, where that fits
    better, from where their centres of intensity meet; it maximises mutual information, so contrasts may differ. What
    fits no better in the end than by the headers stays where these place it.

    Args:
        moving: finite values with contrast.
        fixed: finite values with contrast, which stays as it is.
        outside: background of ``moving``, which stands where it does not reach.
        case: how the case is called in messages.

    Returns:
        ``moving`` in float32 on the grid of ``fixed``, and how it came there.

    Raises:
        UserError: elastix is not installed.
        CaseError: a volume of too few voxels, or elastix finds no place for it.
    """
    check_can_register()
    for volume in (moving, fixed):
        if min(volume.grid.shape) < _MIN_SIZE:
            raise _not_aligned(moving, fixed, f"{volume.grid.file} has {by(volume.grid.shape)} voxels", case)
    judge = shared_information(moving, fixed, outside=outside)
    as_told = np.eye(4)
    start = max(_starts(moving, fixed), key=judge)
    matrix = _rigid(moving, fixed, start, case)
    before, after = judge(as_told), judge(matrix)
    if after <= before:
        matrix, after = as_told, before
    centre = moving.grid.affine @ [*((size - 1) / 2 for size in moving.grid.shape), 1]
    alignment = Alignment(
        matrix=matrix,
        millimetres=float(np.linalg.norm((matrix @ centre - centre)[:3])),
        degrees=float(np.degrees(Rotation.from_matrix(matrix[:3, :3]).magnitude())),
        before=before,
        after=after,
    )
    array = resample(moving.array, moved_volume(moving, matrix).grid, fixed.grid, mode="bilinear", outside=outside)
    return replace(moving, array=array, grid=fixed.grid), alignment


def _not_aligned(moving: Volume, fixed: Volume, reason: str, case: str) -> CaseError:
    return CaseError(
        f"{case}: {moving.path} cannot be aligned to {fixed.path} ({reason}); expected two scans of one body part that "
        f"overlap: look at both, leave one out, or align them by hand"
    )


def shared_information(moving: Volume, fixed: Volume, *, outside: float) -> Callable[[np.ndarray], float]:
    """Normalised mutual information (H(A) + H(B)) / H(A, B) of two volumes, once one of them is moved by (4, 4).

    It is taken at points of ``fixed`` that lie at most 2 mm apart, or as far as its voxels do.
    """
    steps = [max(1, int(_COARSE / side)) for side in np.linalg.norm(fixed.grid.affine[:3, :3], axis=0)]
    coarse = fixed.array[tuple(slice(None, None, step) for step in steps)]
    points = Grid(fixed.grid.file, coarse.shape, fixed.grid.affine @ np.diag([*steps, 1]))
    bins = _binned(coarse)

    def once_moved(matrix: np.ndarray) -> float:
        grid = moved_volume(moving, matrix).grid
        values = resample(moving.array, grid, points, mode="bilinear", outside=outside)
        joint = np.bincount(bins * _BINS + _binned(values), minlength=_BINS**2).reshape(_BINS, _BINS) / len(bins)
        both = _entropy(joint)
        return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / both if both else 1.0

    return once_moved


def _binned(values: np.ndarray) -> np.ndarray:
    """Indices of equal bins, flat; the brightest thousandth shares the last one."""
    values = values.ravel().astype(np.float32)
    low, high = values.min(), np.quantile(values, 0.999)
    return np.clip((values - low) * (_BINS / max(high - low, np.finfo(np.float32).tiny)), 0, _BINS - 1).astype(np.intp)


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _starts(moving: Volume, fixed: Volume) -> Iterator[np.ndarray]:
    """The place that the headers tell, and the one where the centres of intensity meet."""
    yield np.eye(4)
    start = np.eye(4)
    start[:3, 3] = _centre_of_intensity(fixed) - _centre_of_intensity(moving)
    yield start


def _centre_of_intensity(volume: Volume) -> np.ndarray:
    weights = volume.array.astype(np.float64)
    weights -= weights.min()
    sums = [weights.sum(tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    index = [np.average(np.arange(len(profile)), weights=profile) for profile in sums]
    return (volume.grid.affine @ [*index, 1])[:3]


def _rigid(moving: Volume, fixed: Volume, start: np.ndarray, case: str) -> np.ndarray:
    """The rigid map (4, 4) that elastix finds, beginning at ``start``."""
    images = [itk_image(fixed.array, fixed.grid.affine), itk_image(moving.array, start @ moving.grid.affine)]
    parameters = itk.ParameterObject.New()
    settings = parameters.GetDefaultParameterMap("rigid")
    for name, value in _SETTINGS.items():
        settings[name] = (value,)
    parameters.AddParameterMap(settings)
    kind: Any = itk.Image[itk.F, 3]
    method = itk.ElastixRegistrationMethod[kind, kind].New(*images)
    method.SetParameterObject(parameters)
    method.SetLogToConsole(False)
    try:
        method.Update()
        found = method.GetTransformParameterObject().GetParameterMap(0)
    except RuntimeError as error:
        raise _not_aligned(moving, fixed, "elastix gave up", case) from error
    x, y, z, *shift = (float(number) for number in found["TransformParameters"])
    centre = np.array([float(number) for number in found["CenterOfRotationPoint"]])
    to_moving = np.eye(4)
    to_moving[:3, :3] = Rotation.from_euler("ZXY", [z, x, y]).as_matrix()
    to_moving[:3, 3] = centre + shift - to_moving[:3, :3] @ centre
    lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    return np.linalg.inv(lps @ to_moving @ lps) @ start
