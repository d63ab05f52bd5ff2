"""Rules that tell where a sequence shows tissue."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import torch
from torch import Tensor

_CORNER = 16
_RANGE = (0.5, 99.5)
_CONTRAST = 0.05


def nonzero(image: Tensor) -> Tensor:
    """Voxels that are not zero: brain extraction leaves zeros outside, and negative values may occur inside."""
    return image != 0


def above_background(image: Tensor) -> Tensor:
    """Voxels that differ from the background by more than 5 % of the sequence's range, above or below it.

    For scans with skull and a background of noise around any level. The background is the median over the corner
    blocks of the volume, a sixteenth of each side long; the range goes from percentile 0.5 to 99.5. The mask of a x + b
    is that of x, for a other than zero.
    """
    return torch.stack([_differs(channel) for channel in image.as_subclass(Tensor)])


def _differs(channel: Tensor) -> Tensor:
    low, high = np.percentile(channel.cpu().numpy(), _RANGE)
    return (channel - _corner_median(channel)).abs() > _CONTRAST * (high - low)


def _corner_median(channel: Tensor) -> Tensor:
    lengths = [math.ceil(size / _CORNER) for size in channel.shape]
    ends = [(slice(length), slice(-length, None)) for length in lengths]
    return torch.cat([channel[corner].flatten() for corner in product(*ends)]).median()


FOREGROUND_RULES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "nonzero": nonzero,
    "above_background": above_background,
}


def foreground_rule(name: str) -> Callable[[Tensor], Tensor]:
    """The rule of that name: image (M, *S) to bool mask (M, *S), each channel by itself.

    Raises:
        ValueError: no such rule.
    """
    if name not in FOREGROUND_RULES:
        raise ValueError(f"unknown foreground rule {name!r}; accepted: {', '.join(FOREGROUND_RULES)}")
    return FOREGROUND_RULES[name]


BACKGROUND_LEVELS: Mapping[str, Callable[[Tensor], float]] = {
    "nonzero": lambda channel: 0.0,
    "above_background": lambda channel: _corner_median(channel).item(),
}
"""By the name of a foreground rule, the value that stands for its background: of a channel (*S)."""


def has_contrast(channel: Tensor, foreground: Callable[[Tensor], Tensor]) -> bool:
    """Whether a sequence (*S) takes at least two values on its foreground; one that does not counts as absent."""
    values = channel[foreground(channel[None])[0]]
    return len(values) > 0 and bool(values.min() < values.max())
