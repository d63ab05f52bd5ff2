"""Scans whose values are not what a network for extracted brains, or for values as scanned, was made for."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Transform

from passion_components.data.checks.facts import (
    MAX_DIM_SHARE,
    MAX_NEGATIVE_SHARE,
    MIN_ZERO_SHARE,
    dim_share,
    has_zero_corners,
    negative_share,
)

logger = logging.getLogger(__name__)
_STEP = 2


class WarnUnlessExtractedd(Transform):
    """Say so where a background is not 0, or the skull seems to be there, by the rules of ``passion check``.

    A network for extracted brains sees tissue there that it never saw in training. Every other voxel along each axis is
    looked at.

    Args:
        key: images (M, *S).
        presence_key: bool tensor (M,), which channels are present.
        modalities: names of the channels.
    """

    def __init__(
        self, key: Hashable = "image", *, presence_key: Hashable = "presence", modalities: Sequence[str]
    ) -> None:
        self.key = key
        self.presence_key = presence_key
        self.modalities = tuple(modalities)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image, coarse = np.asarray(data[self.key]), _coarse(data[self.key])
        seen = data[self.presence_key].nonzero().flatten().tolist()
        filled = [
            index
            for index in seen
            if not has_zero_corners(image[index]) or np.mean(coarse[index] == 0) < MIN_ZERO_SHARE
        ]
        skull = [index for index in seen if index not in filled and dim_share(coarse[index]) > MAX_DIM_SHARE]
        for found, looks in (
            (filled, "has a background that is not 0, as around a skull or shifted"),
            (skull, "looks as if the skull was not removed"),
        ):
            if found:
                logger.warning(
                    "%s: %s %s; this network was made for extracted brains, with 0 everywhere outside: extract the "
                    "brain first",
                    *(data["case"], ", ".join(self.modalities[index] for index in found), looks),
                )
        return dict(data)


class WarnIfExtractedd(Transform):
    """Say so where the skull seems to have been removed, by the rule of ``passion check``.

    A network for whole heads finds another foreground there, and no edge that it knows. Every other voxel along each
    axis is looked at.

    Args:
        key: images (M, *S).
        presence_key: bool tensor (M,), which channels are present.
        modalities: names of the channels.
    """

    def __init__(
        self, key: Hashable = "image", *, presence_key: Hashable = "presence", modalities: Sequence[str]
    ) -> None:
        self.key = key
        self.presence_key = presence_key
        self.modalities = tuple(modalities)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image, coarse = np.asarray(data[self.key]), _coarse(data[self.key])
        found = [
            self.modalities[index]
            for index in data[self.presence_key].nonzero().flatten().tolist()
            if has_zero_corners(image[index])
            and np.mean(coarse[index] == 0) >= MIN_ZERO_SHARE
            and dim_share(coarse[index]) <= MAX_DIM_SHARE
        ]
        if found:
            logger.warning(
                "%s: %s looks as if the skull was removed; this network was made for scans of whole heads, and finds "
                "less without: give the scan as it was acquired",
                *(data["case"], ", ".join(found)),
            )
        return dict(data)


class WarnIfNormalisedd(Transform):
    """Say so where a sequence has many negative values, as after a z-score, by the rule of ``passion check``.

    The normalisation that follows expects 0 to be the background, below all tissue. Every other voxel along each axis
    is looked at.

    Args:
        key: images (M, *S).
        presence_key: bool tensor (M,), which channels are present.
        modalities: names of the channels.
    """

    def __init__(
        self, key: Hashable = "image", *, presence_key: Hashable = "presence", modalities: Sequence[str]
    ) -> None:
        self.key = key
        self.presence_key = presence_key
        self.modalities = tuple(modalities)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        coarse = _coarse(data[self.key])
        seen = data[self.presence_key].nonzero().flatten().tolist()
        found = [self.modalities[index] for index in seen if negative_share(coarse[index]) > MAX_NEGATIVE_SHARE]
        if found:
            logger.warning(
                "%s: %s looks normalised or shifted already (many voxels are negative); this network was made for "
                "values as the scanner gives them, 0 outside, which are normalised here: give the original scan",
                *(data["case"], ", ".join(found)),
            )
        return dict(data)


def _coarse(image: Any) -> np.ndarray:
    """Every other voxel of an image (M, *S) along each axis."""
    values = np.asarray(image)
    return values[(slice(None), *[slice(None, None, _STEP)] * (values.ndim - 1))]
