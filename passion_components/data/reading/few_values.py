"""Images that hold a few whole numbers: label maps and masks, whatever their files are called."""

from __future__ import annotations

import numpy as np

MAX_VALUES = 8
"""A scan holds hundreds of values, a label map of the data sets here up to six."""

_STEP = 509


def few_values(values: np.ndarray) -> tuple[float, ...]:
    """The finite values that an image holds where they are a few whole numbers, else ().

    Every 509th voxel is looked at first, which is enough to tell a scan.
    """
    flat = values.ravel(order="K")
    found = np.unique(flat[::_STEP])
    if len(found) <= MAX_VALUES:
        found = np.unique(flat)
    few = len(found) <= MAX_VALUES and bool(np.all(found == np.round(found)))
    return tuple(found.astype(float).tolist()) if few else ()


def shown(values: tuple[float, ...]) -> str:
    """The values in words."""
    return ", ".join(f"{value:g}" for value in values)
