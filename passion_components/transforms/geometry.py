"""Tensors that know the grid of the file they were read from."""

from __future__ import annotations

import torch
from monai.data import MetaTensor
from monai.utils.enums import MetaKeys, SpaceKeys

from passion_components.data.reading.grid import Grid
from passion_components.data.reading.image_files import shown_name
from passion_components.data.reading.volumes import Volume


def with_geometry(channels: torch.Tensor, volume: Volume, *, case: str) -> MetaTensor:
    """Channels (C, *S) on the grid of ``volume``, with what MONAI's transforms want to know of a file in the meta."""
    return MetaTensor(
        channels,
        affine=torch.from_numpy(volume.grid.affine),
        meta={
            MetaKeys.ORIGINAL_AFFINE: torch.from_numpy(volume.grid.affine),
            MetaKeys.SPATIAL_SHAPE: torch.tensor(volume.grid.shape),
            MetaKeys.SPACE: SpaceKeys.RAS,
            "filename_or_obj": str(volume.path),
            "case": case,
        },
    )


def grid_of(channels: MetaTensor) -> Grid:
    """The grid that :func:`with_geometry` has written down."""
    return Grid(shown_name(channels.meta["filename_or_obj"]), tuple(channels.shape[1:]), channels.affine.numpy())
