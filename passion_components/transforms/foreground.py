"""Rules that tell where a sequence shows tissue.

In NumPy, so that reading files needs no PyTorch; tensors in main memory are taken as arrays are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

_CORNER = 16
_RANGE = (0.5, 99.5)
_CONTRAST = 0.05


def nonzero(image: ArrayLike) -> np.ndarray:
    """Voxels that are not zero: brain extraction leaves zeros outside, and negative values may occur inside."""
    return np.asarray(image) != 0


def above_background(image: ArrayLike) -> np.ndarray:
    """Voxels that differ from the background by more than 5 % of the sequence's range, above or below it.

    For scans with skull and a background of noise around any level. The background is the median over the corner
    blocks of the volume, a sixteenth of each side long, the lower of two in the middle; the range goes from percentile
    0.5 to 99.5. The mask of a x + b is that of x, for a other than zero.
    """
    return np.stack([_differs(channel) for channel in np.asarray(image)])


def _differs(channel: np.ndarray) -> np.ndarray:
    low, high = np.percentile(channel, _RANGE)
    return np.abs(channel - _corner_median(channel)) > float(_CONTRAST * (high - low))


def _corner_median(channel: np.ndarray) -> float:
    lengths = [math.ceil(size / _CORNER) for size in channel.shape]
    ends = [(slice(length), slice(-length, None)) for length in lengths]
    values = np.concatenate([channel[corner].ravel() for corner in product(*ends)])
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])


FOREGROUND_RULES: Mapping[str, Callable[[ArrayLike], np.ndarray]] = {
    "nonzero": nonzero,
    "above_background": above_background,
}


def foreground_rule(name: str) -> Callable[[ArrayLike], np.ndarray]:
    """The rule of that name: float image (M, *S) to bool mask (M, *S), each channel by itself.

    Raises:
        ValueError: no such rule.
    """
    if name not in FOREGROUND_RULES:
        raise ValueError(f"unknown foreground rule {name!r}; accepted: {', '.join(FOREGROUND_RULES)}")
    return FOREGROUND_RULES[name]


BACKGROUND_LEVELS: Mapping[str, Callable[[ArrayLike], float]] = {
    "nonzero": lambda channel: 0.0,
    "above_background": lambda channel: _corner_median(np.asarray(channel)),
}
"""By the name of a foreground rule, the value that stands for its background: of a channel (*S)."""


def has_contrast(channel: ArrayLike, foreground: Callable[[ArrayLike], np.ndarray]) -> bool:
    """Whether a sequence (*S) takes at least two values on its foreground; one that does not counts as absent."""
    image = np.asarray(channel)[None]
    values = image[foreground(image)]
    return values.size > 0 and bool(values.min() < values.max())
