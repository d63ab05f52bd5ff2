"""Volumes of one head that lie on different grids, brought to one of these."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample

from passion_components.data.reading.grid import Grid


def resample(array: np.ndarray, grid: Grid, to: Grid, *, mode: str, outside: float = 0.0) -> np.ndarray:
    """Values (x, y, z) on ``grid`` as float32 on another grid, by their places in space.

    Args:
        array: real numbers.
        grid: of the array.
        to: the grid wanted.
        mode: ``"bilinear"`` for intensities (linear along every axis), ``"nearest"`` for labels.
        outside: what stands where the volume does not reach, the background of a sequence.
    """
    above = array.astype(np.float32) - np.float32(outside)
    source = MetaTensor(torch.from_numpy(above)[None], affine=torch.from_numpy(grid.affine))
    moved = SpatialResample(mode=mode, padding_mode="zeros")(
        source, dst_affine=torch.from_numpy(to.affine), spatial_size=to.shape
    )
    return np.asarray(moved[0], dtype=np.float32) + np.float32(outside)
