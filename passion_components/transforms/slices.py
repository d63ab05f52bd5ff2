"""Slices of volumes as samples of two-dimensional networks."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, MultiSampleTrait, Randomizable, Transform

logger = logging.getLogger(__name__)


class RandSlicesd(Randomizable, MapTransform, MultiSampleTrait):
    """Draw slices across the last axis of a volume, a fixed share of them with something of the target in it.

    Two thirds of a patient's slices may hold no lesion: training must neither drown in them nor forget them. No slice
    is drawn twice as long as others of its kind are left; where a volume has none of a kind, the other kind fills in.

    Args:
        keys: entries (C, H, W, D) that are cut; all others are handed to every slice as they are.
        target_key: the one that tells which slices hold something (any class above 0).
        num_slices: slices a volume.
        target_share: share of them that hold something of the target, in [0, 1], rounded to whole slices.

    Raises:
        ValueError: ``num_slices`` below 1, ``target_share`` outside [0, 1].
    """

    def __init__(
        self, keys: KeysCollection, *, target_key: Hashable = "target", num_slices: int, target_share: float
    ) -> None:
        super().__init__(keys)
        if num_slices < 1 or not 0 <= target_share <= 1:
            raise ValueError(
                f"expected at least 1 slice and a share in [0, 1], got num_slices {num_slices}, "
                f"target_share {target_share}"
            )
        self.target_key = target_key
        self.num_slices = num_slices
        self.target_share = target_share
        self._drawn: list[int] = []

    def randomize(self, holds_target: np.ndarray) -> None:
        """Draw slice numbers from a bool array (D,); the only place that uses the generator."""
        with_target, without = np.flatnonzero(holds_target), np.flatnonzero(~holds_target)
        wanted = round(self.num_slices * self.target_share)
        if len(with_target) == 0 or len(without) == 0:
            wanted = self.num_slices if len(with_target) else 0
        drawn = self._draw(with_target, wanted) + self._draw(without, self.num_slices - wanted)
        self._drawn = [int(index) for index in drawn]

    def _draw(self, numbers: np.ndarray, count: int) -> list[int]:
        drawn: list[int] = []
        while len(drawn) < count:
            drawn += list(self.R.permutation(numbers)[: count - len(drawn)])
        return drawn

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        self.randomize(np.asarray((data[self.target_key] > 0).flatten(0, -2).any(0)))
        out = dict(data)
        return [out | {key: out[key][..., index] for key in self.key_iterator(out)} for index in self._drawn]


class WarnUnlessAxiald(Transform):
    """Say so where a volume, brought to the orientation of training, is thickest along another axis than the last.

    Such a scan was acquired in sagittal or coronal slices; cut across its own slices, a network for axial ones sees
    something unusual.

    Args:
        key: image (C, H, W, D) with its affine.
    """

    only_warns = True

    def __init__(self, key: Hashable = "image") -> None:
        self.key = key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image: MetaTensor = data[self.key]
        spacing = image.pixdim.tolist()
        if max(spacing[:2]) > 1.5 * spacing[2]:
            plane = ("sagittal", "coronal")[int(spacing[1] > spacing[0])]
            logger.warning(
                "%s: acquired in %s slices, %.2f mm apart; segmenting it in axial ones is unusual for this network",
                data["case"],
                plane,
                max(spacing[:2]),
            )
        return dict(data)
