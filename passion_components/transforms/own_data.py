"""Samples and their augmentation for a data set that no bundle is made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.transforms import Compose, EnsureTyped, OneOf, RandAffined, RandFlipd, RandSpatialCropd

from passion_components.transforms.slices import RandSlicesd

_KEYS = ("image", "target")
_SLICES = 4
_TARGET_SHARE = 0.5
_ANGLE = 0.17


def samples(spatial_dims: int, *, roi_size: Sequence[int]) -> Callable:
    """What draws training samples: crops of volumes, or of four slices, half of them with something of the target."""
    crops = RandSpatialCropd(_KEYS, roi_size=roi_size, random_size=False)
    if spatial_dims == 3:
        return crops
    return Compose([RandSlicesd(_KEYS, num_slices=_SLICES, target_share=_TARGET_SHARE), crops])


def spatial_augmentation(spatial_dims: int) -> Callable:
    """What flips samples along every axis and turns them about one axis, by up to 0.17 radians."""
    turns = [_turn(axis) for axis in range(3)] if spatial_dims == 3 else [_turn(0)]
    return Compose(
        [
            *(RandFlipd(_KEYS, prob=0.5, spatial_axis=axis) for axis in range(spatial_dims)),
            OneOf(turns),
            EnsureTyped(_KEYS, dtype=[torch.float32, torch.uint8], track_meta=False),
        ]
    )


def _turn(axis: int) -> RandAffined:
    angles = [_ANGLE if each == axis else 0 for each in range(3)]
    return RandAffined(_KEYS, prob=0.8, rotate_range=angles, mode=["bilinear", "nearest"], padding_mode="border")
