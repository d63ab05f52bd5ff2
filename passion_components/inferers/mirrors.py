"""Predictions of windows and of their mirror images, averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations, permutations

from torch import Tensor


def checked_mirror_axes(axes: Sequence[int], spatial_dims: int) -> tuple[int, ...]:
    """Axes of windows with ``spatial_dims`` dimensions, in order.

    Raises:
        ValueError: no list of distinct whole numbers from 0 to ``spatial_dims`` - 1.
    """
    accepted = [list(some) for count in range(spatial_dims + 1) for some in permutations(range(spatial_dims), count)]
    if not isinstance(axes, Sequence) or list(axes) not in accepted:
        raise ValueError(
            f"mirror_axes must be a list of different axes from 0 to {spatial_dims - 1}, or empty, got {axes!r}"
        )
    return tuple(sorted(map(int, axes)))


def mirrored(predictor: Callable[[Tensor], Tensor], axes: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """A predictor that averages over mirror images: one along each of ``axes``, along each pair of them, and so on.

    Args:
        predictor: windows (w, C, *roi) to (w, K, *roi); it is called 2^len(axes) times.
        axes: of ``roi``, from 0.
    """
    images = [[axis + 2 for axis in some] for count in range(1, len(axes) + 1) for some in combinations(axes, count)]

    def predict(windows: Tensor) -> Tensor:
        total = predictor(windows)
        for dims in images:
            total = total + predictor(windows.flip(dims)).flip(dims)
        return total / (len(images) + 1)

    return predict if images else predictor
