"""Scans whose values are not what a network for extracted brains, or for values as scanned, was made for."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Transform

from passion_components.data.reading.background import (
    MAX_DIM_SHARE,
    MAX_NEGATIVE_SHARE,
    MIN_ZERO_SHARE,
    dim_share,
    has_zero_corners,
    negative_share,
)

logger = logging.getLogger(__name__)
_STEP = 2


class _WarnOfScans(Transform):
    """Tells what the present channels of an image look like; every other voxel along each axis is looked at.

    Args:
        key: images (M, *S).
        presence_key: bool tensor (M,), which channels are present.
        modalities: names of the channels.
    """

    only_warns = True

    def __init__(
        self, key: Hashable = "image", *, presence_key: Hashable = "presence", modalities: Sequence[str]
    ) -> None:
        self.key = key
        self.presence_key = presence_key
        self.modalities = tuple(modalities)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image = np.asarray(data[self.key])
        coarse = image[(slice(None), *[slice(None, None, _STEP)] * (image.ndim - 1))]
        seen = data[self.presence_key].nonzero().flatten().tolist()
        for found, looks in self._looks({index: (image[index], coarse[index]) for index in seen}):
            if found:
                logger.warning("%s: %s %s", data["case"], ", ".join(self.modalities[index] for index in found), looks)
        return dict(data)

    @abstractmethod
    def _looks(self, seen: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[list[int], str]]:
        """Channels and what is told of them, by channel -> its map (*S) and every other voxel of that."""


class WarnUnlessExtractedd(_WarnOfScans):
    """Say so where a background is not 0, or the skull seems to be there, by the rules of ``passion check``.

    A network for extracted brains sees tissue there that it never saw in training.
    """

    def _looks(self, seen: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[list[int], str]]:
        remedy = "this network was made for extracted brains, with 0 everywhere outside: extract the brain first"
        filled = [index for index, maps in seen.items() if not _zero_outside(*maps)]
        yield filled, f"has a background that is not 0, as around a skull or shifted; {remedy}"
        skull = [index for index, (_, coarse) in seen.items() if index not in filled and _dim(coarse)]
        yield skull, f"looks as if the skull was not removed; {remedy}"


class WarnIfExtractedd(_WarnOfScans):
    """Say so where the skull seems to have been removed, by the rule of ``passion check``.

    A network for whole heads finds another foreground there, and no edge that it knows.
    """

    def _looks(self, seen: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[list[int], str]]:
        yield (
            [index for index, maps in seen.items() if _zero_outside(*maps) and not _dim(maps[1])],
            "looks as if the skull was removed; this network was made for scans of whole heads, and finds less "
            "without: give the scan as it was acquired",
        )


class WarnIfNormalisedd(_WarnOfScans):
    """Say so where a sequence has many negative values, as after a z-score, by the rule of ``passion check``.

    The normalisation that follows expects 0 to be the background, below all tissue.
    """

    def _looks(self, seen: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[list[int], str]]:
        yield (
            [index for index, (_, coarse) in seen.items() if negative_share(coarse) > MAX_NEGATIVE_SHARE],
            "looks normalised or shifted already (many voxels are negative); this network was made for values as the "
            "scanner gives them, 0 outside, which are normalised here: give the original scan",
        )


def _zero_outside(image: np.ndarray, coarse: np.ndarray) -> bool:
    return has_zero_corners(image) and bool(np.mean(coarse == 0) >= MIN_ZERO_SHARE)


def _dim(coarse: np.ndarray) -> bool:
    return dim_share(coarse) > MAX_DIM_SHARE
