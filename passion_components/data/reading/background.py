"""How the background of an image looks: 0, dim as air around a head, or shifted below 0."""

from __future__ import annotations

import numpy as np

DIM = 0.05
"""A value of this share of the bright ones (percentile 99.5), or less, shows almost no signal."""

MAX_DIM_SHARE = 0.1
"""Above this share of voxels with almost no signal (air, bone), an image shows more than the brain.

Of ten brain-extracted scans none had more than 0.021, of three scans with skull none less than 0.16.
"""

MIN_ZERO_SHARE = 0.2
"""A brain in its box leaves about half of the voxels outside; below this share the background is not 0."""

MAX_NEGATIVE_SHARE = 0.1
"""Above this share of negative voxels an image is not as a scanner gives it: its values were shifted or normalised.

Splines leave some: of 38 scans, 11 of them resampled with negative voxels, none had more than 0.005; z-scores have 0.4.
"""


def dim_share(values: np.ndarray) -> float:
    """Share of the values other than 0 that lie above 0 and up to :data:`DIM` of their percentile 99.5.

    As many values as lie as little below 0 are taken off: splines leave ripples of both signs around a brain.
    """
    signal = values[values != 0]
    if not signal.size:
        return 0.0
    limit = DIM * np.percentile(signal, 99.5)
    return max(0.0, float(np.mean((signal > 0) & (signal <= limit)) - np.mean((signal < 0) & (signal >= -limit))))


def negative_share(values: np.ndarray) -> float:
    """Share of the values other than 0 that lie below 0."""
    signal = values[values != 0]
    return float(np.mean(signal < 0)) if signal.size else 0.0


def has_zero_corners(values: np.ndarray) -> bool:
    """Whether all eight corner voxels (x, y, z) are exactly 0."""
    return not bool(values[np.ix_(*[(0, -1)] * 3)].any())
