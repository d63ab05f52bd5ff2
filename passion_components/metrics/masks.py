"""A predicted and a true mask, and the distances between their surfaces, computed at most once."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Literal

import numpy as np

from passion_components.metrics.surface import Surface, distances

Empty = Literal["both", "one"]
"""How many of the two masks have no voxel where a policy decides."""


class Mask:
    """A mask, its number of voxels, and its surface from the moment that a metric asks for it.

    Kept by a caller that compares many masks with the same one, in threads or not.

    Args:
        voxels: bool, any number of dimensions.
        spacing: millimetres per voxel, one number per dimension; None where no metric asks for distances.
    """

    def __init__(self, voxels: np.ndarray, spacing: Sequence[float] | None = None) -> None:
        self.voxels = voxels
        self.spacing = spacing
        self.count = int(np.count_nonzero(voxels))
        self._surface: Surface | None = None
        self._finding = Lock()

    @property
    def surface(self) -> Surface:
        """The surface.

        Raises:
            ValueError: a spacing that does not fit the mask or is not positive.
        """
        with self._finding:  # another thread that needs it waits instead of finding it again
            if self._surface is None:
                self._surface = Surface(self.voxels, self.spacing or ())
            return self._surface


class MaskPair:
    """A predicted and a true mask of one shape, and their distances from the moment that a metric asks for them.

    Attributes:
        empty: how many of the two have no voxel, None where both have some.
    """

    def __init__(self, prediction: Mask, target: Mask) -> None:
        self.prediction = prediction
        self.target = target
        empty = (prediction.count == 0) + (target.count == 0)
        self.empty: Empty | None = (None, "one", "both")[empty]
        self._distances: np.ndarray | None = None

    @property
    def surface_distances(self) -> np.ndarray:
        """Distances in mm of both directions together; neither mask may be empty."""
        if self._distances is None:
            self._distances = distances(self.prediction.surface, self.target.surface)
        return self._distances


def check_masks(prediction: np.ndarray, target: np.ndarray) -> None:
    """Refuse what is not a pair of bool masks of one shape.

    Raises:
        ValueError: another dtype, or different shapes.
    """
    for name, mask in (("prediction", prediction), ("target", target)):
        if mask.dtype != np.bool_:
            raise ValueError(f"{name} must be a bool mask, got {mask.dtype}")
    if prediction.shape != target.shape:
        raise ValueError(f"prediction and target must have one shape, got {prediction.shape} and {target.shape}")
