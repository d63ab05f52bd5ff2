"""Whatever sequences a case has, as one image with a channel for each that it could have."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from passion_components.data.errors import CaseError
from passion_components.data.nifti import Volume, check_one_grid, grid_of, read_volume, with_geometry
from passion_components.transforms.foreground import foreground_rule, has_contrast

logger = logging.getLogger(__name__)


class LoadModalitiesd(Transform):
    """Read the sequences of a case into ``image`` and ``presence``.

    A case is ``{"case": name, modality: path, ...}``; a modality without a path is absent. The paths are replaced by

    - ``image``: MetaTensor float32 (M, *S), channels in the order of ``modalities``, zeros where one is absent. Its
      meta holds the affine (RAS, mm), ``case``, and as ``filename_or_obj`` the file of the first present modality;
    - ``presence``: bool tensor (M,) on the CPU.

    A sequence without contrast, constant or constant on its foreground, counts as absent, with a warning.

    Args:
        modalities: names of the M modalities.
        foreground: name of a foreground rule.
        grid_keys: entries, loaded before, that must lie on the grid of the sequences where they are there.

    Raises:
        ValueError: modalities that are none or not unique, an unknown foreground rule.
        CaseError: when called: no modality at all or none with contrast; a file that is missing or damaged, or not 3D;
            files on different grids; NaN or infinite voxels.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        *,
        foreground: str = "nonzero",
        grid_keys: Sequence[Hashable] = ("target", "reference"),
    ) -> None:
        if not modalities or len(set(modalities)) < len(modalities):
            raise ValueError(f"modalities must be at least one name, each once, got {list(modalities)}")
        self.modalities = tuple(modalities)
        self.foreground = foreground_rule(foreground)
        self.grid_keys = tuple(grid_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        case = str(out["case"])
        files = {name: out.pop(name) for name in self.modalities if name in out}
        if not files:
            raise CaseError(f"{case}: has no sequence; expected at least one of {', '.join(self.modalities)}")
        volumes = {name: read_volume(file, case=case) for name, file in files.items()}
        others = [grid_of(out[key]) for key in self.grid_keys if key in out]
        check_one_grid([volume.grid for volume in volumes.values()] + others, case=case)

        channels = {name: _finite(volume, case) for name, volume in volumes.items()}
        present = [name for name, channel in channels.items() if has_contrast(channel, self.foreground)]
        if not present:
            names = ", ".join(volume.path.name for volume in volumes.values())
            raise CaseError(f"{case}: every sequence is constant ({names}); expected at least one with contrast")
        for name in [name for name in channels if name not in present]:
            logger.warning("%s: %s is constant; %s counts as absent", case, volumes[name].path.name, name)

        first = volumes[present[0]]
        image = torch.zeros(len(self.modalities), *first.grid.shape)
        for name in present:
            image[self.modalities.index(name)] = channels[name]
        out["image"] = with_geometry(image, first, case=case)
        out["presence"] = torch.tensor([name in present for name in self.modalities])
        return out


def _finite(volume: Volume, case: str) -> torch.Tensor:
    """The volume in float32.

    Raises:
        CaseError: voxels that are NaN or infinite.
    """
    channel = torch.from_numpy(volume.array.astype(np.float32))
    count = int((~channel.isfinite()).sum())
    if count:
        raise CaseError(
            f"{case}: {volume.path} holds {count} NaN or infinite voxels; expected finite numbers: "
            f"repair the file, or leave it out"
        )
    return channel
