"""Whatever sequences a case has, as one image with a channel for each that it could have."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from passion_components.data.errors import CaseError
from passion_components.data.reading.few_values import few_values, shown
from passion_components.data.reading.grid import check_one_grid
from passion_components.data.reading.image_files import shown_name
from passion_components.data.reading.resample import resample
from passion_components.data.reading.volumes import Volume, non_finite_problem, read_volume
from passion_components.transforms.foreground import BACKGROUND_LEVELS, foreground_rule, has_contrast
from passion_components.transforms.geometry import grid_of, with_geometry

logger = logging.getLogger(__name__)
_STEP = 8


class LoadModalitiesd(Transform):
    """Read the sequences of a case into ``image`` and ``presence``.

    A case is ``{"case": name, modality: path, ...}``; a modality without a path is absent. The paths are replaced by

    - ``image``: MetaTensor float32 (M, *S), channels in the order of ``modalities``, zeros where one is absent. Its
      meta holds the affine (RAS, mm), ``case``, and as ``filename_or_obj`` the file whose grid it is on;
    - ``files``: names of the files in ``image``, in words;
    - ``presence``: bool tensor (M,) on the CPU.

    A sequence without contrast, constant or constant on its foreground, counts as absent, with a warning. One
    that holds a few whole numbers alone, as a label map does, counts as present, with a warning. One whose voxels are
    those of another, in whatever file and dtype, is a copy and no sequence of its own.

    Args:
        modalities: names of the M modalities.
        foreground: name of a foreground rule.
        resample_to: modality to whose grid the others are brought, by linear interpolation, and labels by the nearest
            voxel; None refuses cases whose files lie on different grids.
        allow_copies: whether a copy of another sequence counts as present; False refuses it.
        label_keys: entries, loaded before, that must lie on the grid of the sequences where they are there.

    Raises:
        ValueError: modalities that are none or not unique, an unknown foreground rule or modality to resample to.
        CaseError: when called: no modality at all or none with contrast; a file that is missing or damaged, or not 3D;
            files on different grids, and the one to resample to not among them; NaN or infinite voxels; a copy.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        *,
        foreground: str = "nonzero",
        resample_to: str | None = None,
        allow_copies: bool = False,
        label_keys: Sequence[Hashable] = ("target", "reference"),
    ) -> None:
        if not modalities or len(set(modalities)) < len(modalities):
            raise ValueError(f"modalities must be at least one name, each once, got {list(modalities)}")
        if resample_to is not None and resample_to not in modalities:
            raise ValueError(f"resample_to must be one of {', '.join(modalities)}, got {resample_to!r}")
        self.modalities = tuple(modalities)
        self.foreground = foreground_rule(foreground)
        self.background = BACKGROUND_LEVELS[foreground]
        self.resample_to = resample_to
        self.allow_copies = allow_copies
        self.label_keys = tuple(label_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        case = str(out["case"])
        files = {name: out.pop(name) for name in self.modalities if name in out}
        if not files:
            raise CaseError(f"{case}: has no sequence; expected at least one of {', '.join(self.modalities)}")
        volumes = {name: read_volume(file, case=case) for name, file in files.items()}
        self._refuse_copies(volumes, case)
        as_read = dict(volumes)
        reference = self._on_one_grid(volumes, out, case)
        if any(volumes[name] is not as_read[name] for name in volumes):
            self._refuse_copies(volumes, case)
        channels = {name: finite(volume, case) for name, volume in volumes.items()}
        present = [name for name, channel in channels.items() if has_contrast(channel, self.foreground)]
        if not present:
            names = ", ".join(shown_name(volume.path) for volume in volumes.values())
            raise CaseError(f"{case}: every sequence is constant ({names}); expected at least one with contrast")
        for name in [name for name in channels if name not in present]:
            logger.warning("%s: %s is constant; %s counts as absent", case, shown_name(volumes[name].path), name)
        for name in present:
            if values := few_values(as_read[name].array):
                logger.warning(
                    "%s: %s holds the values %s alone, as a label map or mask; give the scan as %s",
                    *(case, shown_name(as_read[name].path), shown(values), name),
                )

        image = torch.zeros(len(self.modalities), *reference.grid.shape)
        for name in present:
            image[self.modalities.index(name)] = channels[name]
        out["image"] = with_geometry(image, reference, case=case)
        out["files"] = ", ".join(shown_name(volumes[name].path) for name in present)
        out["presence"] = torch.tensor([name in present for name in self.modalities])
        return out

    def _refuse_copies(self, volumes: Mapping[str, Volume], case: str) -> None:
        """Refuse two sequences with the same voxels, unless they have no contrast or that is allowed.

        Raises:
            CaseError: naming both files.
        """
        if self.allow_copies:
            return
        for (name, volume), (other, twin) in combinations(volumes.items(), 2):
            if not _same_voxels(volume.array, twin.array):
                continue
            if has_contrast(volume.array.astype(np.float32), self.foreground):
                raise CaseError(
                    f"{case}: {name} ({volume.path}) and {other} ({twin.path}) hold the same voxels; a copy is no "
                    f"sequence of its own: remove the one that it is not, or add --allow_copies"
                )

    def _on_one_grid(self, volumes: dict[str, Volume], out: dict[Hashable, Any], case: str) -> Volume:
        """Bring the sequences and the labels to one grid, in place; the volume whose grid that is."""
        labels = [key for key in self.label_keys if key in out]
        grids = [volume.grid for volume in volumes.values()] + [grid_of(out[key]) for key in labels]
        if self.resample_to is None or all(grid.matches(grids[0]) for grid in grids):
            check_one_grid(grids, case=case)
            return next(iter(volumes.values()))
        if self.resample_to not in volumes:
            raise CaseError(
                f"{case}: its files lie on different grids and {self.resample_to}, to whose they should be resampled, "
                f"is absent; accepted: {', '.join(volumes)}"
            )
        reference = volumes[self.resample_to]
        for name, volume in volumes.items():
            if not volume.grid.matches(reference.grid):
                outside = self.background(finite(volume, case))
                array = resample(volume.array, volume.grid, reference.grid, mode="bilinear", outside=outside)
                volumes[name] = Volume(array, reference.grid, volume.path)
        for key in labels:
            if not grid_of(out[key]).matches(reference.grid):
                array = resample(np.asarray(out[key][0]), grid_of(out[key]), reference.grid, mode="nearest")
                out[key] = with_geometry(torch.from_numpy(array.astype(np.uint8))[None], reference, case=case)
        return reference


def _same_voxels(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays hold equal numbers in float32; some of them are compared before all are."""
    if one.shape != other.shape:
        return False
    some = (slice(None, None, _STEP),) * one.ndim
    return all(
        np.array_equal(one[part].astype(np.float32), other[part].astype(np.float32)) for part in (some, (Ellipsis,))
    )


def finite(volume: Volume, case: str) -> torch.Tensor:
    """The volume in float32.

    Raises:
        CaseError: voxels that are NaN or infinite.
    """
    channel = torch.from_numpy(volume.array.astype(np.float32))
    count = int((~channel.isfinite()).sum())
    if count:
        raise CaseError(f"{case}: {non_finite_problem(volume.path, count)}")
    return channel
