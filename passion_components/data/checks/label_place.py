"""Whether a label map lies where the images of its case show something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelPlace:
    """How the foreground of a label map lies in the sequences of its case.

    Attributes:
        outside: share of its voxels where every sequence is 0.
        mirrored: for each axis of the array how large the step of the intensities across its surface would be if it
            were mirrored along that axis, as a multiple of the step where it lies.
    """

    outside: float
    mirrored: tuple[float, ...]


class LabelSurface:
    """The foreground of a label map (*S) and its surface, to be laid over one sequence after the other.

    Args:
        label: finite values, 0 is background.
    """

    def __init__(self, label: np.ndarray) -> None:
        self._foreground = label != 0
        self._shape = label.shape
        self._in_sequences = np.zeros(int(self._foreground.sum()), dtype=bool)
        self._faces = [self._across(axis) for axis in range(label.ndim)]
        self._steps = np.zeros(1 + label.ndim)

    def add(self, values: np.ndarray) -> None:
        """Lay a sequence of the label map's shape below; finite values."""
        self._in_sequences |= values[self._foreground] != 0
        spread = float(values[values != 0].std()) if values.any() else 0.0
        if spread > 0:
            self._steps += [self._step(values, flipped) / spread for flipped in (None, *range(values.ndim))]

    def place(self) -> LabelPlace | None:
        """Where it lies; None without foreground, or where the sequences show no step at its surface."""
        if not self._in_sequences.size or not self._steps[0] > 0:
            return None
        return LabelPlace(
            outside=float(1 - self._in_sequences.mean()),
            mirrored=tuple((self._steps[1:] / self._steps[0]).tolist()),
        )

    def _across(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Neighbours along an axis of which one is foreground: indices of the first (n, dims), and +1 or -1."""
        change = np.diff(self._foreground.astype(np.int8), axis=axis)
        return np.argwhere(change != 0), change[change != 0]

    def _step(self, values: np.ndarray, flipped: int | None) -> float:
        """Mean over the surface of foreground minus background, without its sign; what has no sense there cancels."""
        total, count = 0.0, 0
        for axis, (first, sign) in enumerate(self._faces):
            second = first.copy()
            second[:, axis] += 1
            pair = [first.copy(), second]
            if flipped is not None:
                for indices in pair:
                    indices[:, flipped] = self._shape[flipped] - 1 - indices[:, flipped]
            below, above = (values[tuple(indices.T)].astype(np.float64) for indices in pair)
            total += float(((above - below) * sign).sum())
            count += len(sign)
        return abs(total) / count if count else 0.0


def repeated_slices(values: np.ndarray) -> int:
    """Number of slices with contrast that equal the one before them, along the axis that has most of them."""
    found = []
    for axis in range(values.ndim):
        along = np.moveaxis(values, axis, 0)
        found.append(sum(_equal(*pair) for pair in zip(along, along[1:], strict=False)))
    return max(found)


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return (
        bool(one.flat[one.size // 2] == other.flat[one.size // 2])
        and np.array_equal(one, other)
        and bool(one.min() != one.max())
    )
