"""Intensities of each sequence by its own foreground; absent sequences stay exactly zero."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_tensor
from torch import Tensor

from passion_components.data.errors import CaseError
from passion_components.transforms.foreground import foreground_rule


class NormalizeModalitiesd(MapTransform):
    """Z-score: x -> (x - mean) / std, with mean and population standard deviation of the sequence's own foreground.

    It is applied to all voxels of a present channel, so a background of one value stays one, and with it what was
    padded before. Absent channels are exactly 0 afterwards, whatever stood in them.

    Args:
        keys: images (M, *S); integers become floats.
        presence_key: bool tensor (M,), which channels are present.
        foreground: name of a foreground rule.

    Raises:
        ValueError: an unknown foreground rule.
        CaseError: when called: a present channel without contrast on its foreground.
    """

    def __init__(
        self, keys: KeysCollection = "image", *, presence_key: Hashable = "presence", foreground: str = "nonzero"
    ) -> None:
        super().__init__(keys)
        self.presence_key = presence_key
        self.foreground = foreground_rule(foreground)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            image = torch.zeros_like(out[key], dtype=torch.result_type(out[key], 1.0))  # z-scores are no integers
            for index in out[self.presence_key].nonzero().flatten().tolist():
                try:
                    image[index] = self.normalise(convert_to_tensor(out[key][index], track_meta=False))
                except ValueError as error:
                    raise CaseError(f"{out.get('case', key)}: channel {index} of {key!r} {error}") from error
            out[key] = image
        return out

    def normalise(self, channel: Tensor) -> Tensor:
        """One channel (*S), z-scored in float64.

        Raises:
            ValueError: no foreground, or a constant one.
        """
        values = channel[self.foreground(channel[None])[0]].double()
        if len(values) == 0 or values.min() == values.max():
            raise ValueError("has no contrast on its foreground after resampling; expected at least two values")
        return (channel.double() - values.mean()) / values.std(correction=0)


class ZeroAbsentd(MapTransform):
    """Absent channels back to exactly 0, after augmentation has added something to them.

    Args:
        keys: images (M, *S).
        presence_key: bool tensor (M,), which channels are present.
    """

    def __init__(self, keys: KeysCollection = "image", *, presence_key: Hashable = "presence") -> None:
        super().__init__(keys)
        self.presence_key = presence_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        absent = ~out[self.presence_key]
        for key in self.key_iterator(out):
            image = out[key]
            out[key] = image.masked_fill(absent.to(image.device).view(-1, *[1] * (image.ndim - 1)), 0)
        return out
