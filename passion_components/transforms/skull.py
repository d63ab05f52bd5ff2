"""Brains that were not extracted."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Transform

from passion_components.data.checks.facts import MAX_DIM_SHARE, dim_share

logger = logging.getLogger(__name__)
_STEP = 2


class WarnUnlessExtractedd(Transform):
    """Say so where a sequence looks as if the skull was not removed, by the rule of ``passion check``.

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
        image = np.asarray(data[self.key])
        coarse = image[(slice(None), *[slice(None, None, _STEP)] * (image.ndim - 1))]
        seen = data[self.presence_key].nonzero().flatten().tolist()
        found = [self.modalities[index] for index in seen if dim_share(coarse[index]) > MAX_DIM_SHARE]
        if found:
            logger.warning(
                "%s: %s looks as if the skull was not removed; this network was made for extracted brains, with 0 "
                "everywhere outside: extract the brain first",
                data["case"],
                ", ".join(found),
            )
        return dict(data)
