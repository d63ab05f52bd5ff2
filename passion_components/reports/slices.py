"""Slices of volumes as pictures: upright, cut to the body, with a window that shows tissue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import nibabel as nib
import numpy as np
from scipy.ndimage import find_objects

from passion_components.data.reading.volumes import Volume
from passion_components.datasets import DatasetSpec
from passion_components.transforms.foreground import foreground_rule

DISPLAY = "LPS"
"""Axis codes of an upright volume: slices have the patient's left on the right, anterior on top."""

WINDOW = (1, 99)
"""Percentiles of a sequence's foreground that are shown as black and as white."""

MARGIN = 4
"""Voxels left around what is cut out."""


def upright(volume: Volume, spec: DatasetSpec) -> tuple[np.ndarray, tuple[float, ...]]:
    """A volume (X, Y, Z) with axes as :data:`DISPLAY` names them, and its voxels' lengths in mm.

    Axes stay as in the file where the data set names none: slices of the heart are oblique.
    """
    affine = volume.grid.affine
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if spec.orientation is None:
        return volume.array, tuple(lengths.tolist())
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(DISPLAY))
    turned = lengths[np.argsort(turn[:, 0])]
    return nib.orientations.apply_orientation(volume.array, turn), tuple(turned.tolist())


def slice_with_most(labels: Sequence[np.ndarray]) -> int:
    """Index along z of the slice with most voxels in the first of the label maps (X, Y, Z) that has any, or the middle.

    Args:
        labels: class indices or codes, 0 is background.
    """
    for label_map in labels:
        areas = np.count_nonzero(label_map, axis=(0, 1))
        if areas.any():
            return int(areas.argmax())
    return int(labels[0].shape[2] // 2)


def region_masks(codes: np.ndarray, spec: DatasetSpec) -> dict[str, np.ndarray]:
    """Region -> mask of where label codes belong to it."""
    return {
        region: np.isin(codes, [code for code, index in spec.label_codes.items() if index in classes])
        for region, classes in spec.regions.items()
    }


def foreground(image: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """Where a sequence (X, Y, Z) shows tissue, by the data set's rule; everywhere, if that is nowhere."""
    mask = foreground_rule(spec.foreground)(image.astype(np.float32)[None])[0]
    return mask if mask.any() else np.ones_like(mask)


def window(image: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Intensities at the percentiles :data:`WINDOW` of the voxels in a mask."""
    low, high = np.percentile(image[mask], WINDOW)
    return float(low), float(high if high > low else low + 1)


def bounding_box(masks: Iterable[np.ndarray]) -> tuple[slice, slice]:
    """The rectangle that holds all masks (X, Y) with :data:`MARGIN` around them, within the picture."""
    boxes = find_objects(np.logical_or.reduce(list(masks)).astype(np.uint8))
    if not boxes:
        return slice(None), slice(None)
    x, y = (slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in boxes[0])
    return x, y
