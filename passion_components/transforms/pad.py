"""Room around a scan that looks like its background."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, SpatialPad
from monai.utils import convert_to_tensor

from passion_components.transforms.foreground import BACKGROUND_LEVELS, foreground_rule


class PadModalitiesd(MapTransform):
    """Pad around the centre up to a size, each present channel with its own background.

    The background is that of the foreground rule: 0, or what stands in the corners of the scan. So padding shows a
    network nothing that is not there, whatever the level of the scan. Absent channels and ``label_keys`` are padded
    with 0. It is recorded and undone as MONAI's ``SpatialPad``.

    Args:
        keys: images (M, *S).
        spatial_size: smallest size afterwards along each axis; -1 leaves an axis.
        foreground: name of a foreground rule.
        presence_key: bool tensor (M,), which channels are present.
        label_keys: entries (1, *S) to be padded too, where they are there.

    Raises:
        ValueError: an unknown foreground rule.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        *,
        spatial_size: Sequence[int],
        foreground: str = "nonzero",
        presence_key: Hashable = "presence",
        label_keys: Sequence[Hashable] = ("target",),
    ) -> None:
        super().__init__(keys)
        foreground_rule(foreground)
        self.background = BACKGROUND_LEVELS[foreground]
        self.pad = SpatialPad(spatial_size=spatial_size)
        self.presence_key = presence_key
        self.label_keys = tuple(label_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            out[key] = self._padded(out[key], out[self.presence_key])
        for key in self.label_keys:
            if key in out:
                out[key] = self.pad(out[key])
        return out

    def _padded(self, image: torch.Tensor, presence: torch.Tensor) -> torch.Tensor:
        padded = self.pad(image)
        if padded.shape == image.shape:
            return padded
        plain = convert_to_tensor(image, track_meta=False)
        added = self.pad(torch.ones_like(plain[:1], dtype=torch.uint8))[0] == 0
        for index in presence.nonzero().flatten().tolist():
            level = self.background(plain[index])
            if level:
                padded[index] = padded[index].masked_fill(convert_to_tensor(added, track_meta=False), level)
        return padded
