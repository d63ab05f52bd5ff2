"""Random intensity changes of each sequence."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable


class RandIntensityd(Randomizable, MapTransform):
    """x -> x (1 + a) + b with a from U(-scale, scale) and b from U(-shift, shift), anew for every channel.

    Args:
        keys: images (M, *S), z-scored; integers become floats.
        scale: largest relative change.
        shift: largest change, in standard deviations.
        per_slice: draw anew for every slice of a volume too, along its first spatial axis, as the published code does.

    Raises:
        ValueError: a negative scale or shift.
    """

    def __init__(self, keys: KeysCollection, *, scale: float, shift: float, per_slice: bool = False) -> None:
        super().__init__(keys)
        if scale < 0 or shift < 0:
            raise ValueError(f"scale and shift must not be negative, got {scale} and {shift}")
        self.scale = scale
        self.shift = shift
        self.per_slice = per_slice
        self._changes = np.zeros((2, 0, 0))

    def randomize(self, shape: tuple[int, int]) -> None:
        """Draw a and b, each of this shape: channels, and slices or 1; the only place that uses the generator."""
        a, b = self.R.uniform(-self.scale, self.scale, shape), self.R.uniform(-self.shift, self.shift, shape)
        self._changes = np.stack([a, b])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            image = out[key]
            self.randomize((image.shape[0], image.shape[1] if self.per_slice and image.ndim > 3 else 1))
            changes = torch.from_numpy(self._changes).to(image.device, torch.result_type(image, 1.0))
            a, b = changes.reshape(2, *self._changes.shape[1:], *[1] * (image.ndim - 2))
            out[key] = image * (1 + a) + b
        return out
