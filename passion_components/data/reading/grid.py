"""Where the voxels of a volume lie in space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from passion_components.data.errors import CaseError, by

GRID_TOLERANCE = 0.05
"""How far apart (mm) voxels of the same index may lie where two volumes count as lying on one grid.

Headers round: a float32 affine is off by some 1e-5 mm at the edge of a head, a qform (float32 quaternion) by up to
0.01 mm. A twentieth of a voxel of 1 mm changes no segmentation. Voxels below 0.5 mm get a tenth of their own side.
"""

_SHARE_OF_VOXEL = 0.1

SPACING_LIMITS = (0.01, 50.0)
"""Millimetres between voxels that are believed."""


@dataclass(frozen=True)
class Grid:
    """The voxels of a volume in space.

    Attributes:
        file: name of the volume in messages.
        shape: number of voxels along x, y, z.
        affine: (4, 4), from voxel indices to millimetres in nibabel's RAS.
    """

    file: str
    shape: tuple[int, ...]
    affine: np.ndarray

    def matches(self, other: Grid) -> bool:
        """Whether both have the same shape and no voxel lies further apart than :data:`GRID_TOLERANCE` allows.

        Affine maps differ most at a corner, so the eight corners are looked at.
        """
        if self.shape != other.shape:
            return False
        corners = np.array([[*corner, 1] for corner in product(*((0, size - 1) for size in self.shape))])
        apart = np.linalg.norm((corners @ (self.affine - other.affine).T)[:, :3], axis=1).max()
        side = np.linalg.norm(self.affine[:3, :3], axis=0).min()
        return bool(apart <= min(GRID_TOLERANCE, _SHARE_OF_VOXEL * side))

    def size_and_spacing(self) -> str:
        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        return f"{by(self.shape)} at {by(f'{length:.2f}' for length in spacing)} mm"

    def size_and_affine(self) -> str:
        rows = "; ".join(" ".join(f"{entry:g}" for entry in np.round(row, 4)) for row in self.affine[:3])
        return f"{by(self.shape)} with affine ({rows})"


ALIGN_OR_RESAMPLE = (
    "add --register-to and the name of the sequence that the others are aligned to; or, where they lie right already, "
    "add --resample-to and the name of the sequence whose grid counts"
)
"""What to do about files on different grids, for commands that take sequences."""


def check_one_grid(grids: Sequence[Grid], *, case: str, remedy: str = ALIGN_OR_RESAMPLE) -> None:
    """Refuse volumes of one case that lie on different grids.

    Raises:
        CaseError: naming every file and its grid.
    """
    if all(grids[0].matches(grid) for grid in grids[1:]):
        return
    texts = [grid.size_and_spacing() for grid in grids]
    if len(set(texts)) == 1:
        texts = [grid.size_and_affine() for grid in grids]
    listing = ", ".join(f"{grid.file} {text}" for grid, text in zip(grids, texts, strict=True))
    raise CaseError(f"{case}: its files lie on different grids: {listing}; accepted: one grid per case: {remedy}")
