"""How large the windows over an image are."""

from __future__ import annotations

import math
from collections.abc import Sequence

WINDOWS = ("published", "fitted", "fitted_slices")
"""Windows of the size that a network was trained with, or of one that fits the image; of slices alone."""

LARGEST = 1.5
"""A fitted window is at most this many times as long as the size that the network was trained with."""


def fitted_windows(
    image_size: Sequence[int], roi_size: Sequence[int], *, overlap: float, divisor: int
) -> tuple[int, ...]:
    """The size of windows, at least ``roi_size``, that cover an image with the fewest voxels computed.

    Along an axis of n windows of w voxels these are n w: one window where the axis is at most 1.5 times as long as
    ``roi_size``, two large ones instead of three or four where they reach. Of equal sizes the smallest is taken.

    Args:
        image_size: voxels of the image.
        roi_size: voxels of the windows that the network was trained with, along the same axes.
        overlap: share of a window that its neighbour covers again, in [0, 1).
        divisor: sizes that the network takes are ``roi_size`` plus multiples of it.
    """

    def along(length: int, trained: int) -> int:
        sizes = range(trained, max(int(LARGEST * trained), trained) + 1, divisor)
        return min(sizes, key=lambda size: (size * _count(length, size, overlap), size))

    return tuple(along(length, trained) for length, trained in zip(image_size, roi_size, strict=True))


def _count(length: int, size: int, overlap: float) -> int:
    """Windows along an axis, as MONAI lays them."""
    step = max(int(size * (1 - overlap)), 1)
    return max(math.ceil((length - size) / step), 0) + 1
