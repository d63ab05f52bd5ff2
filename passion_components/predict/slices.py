"""A case's slices with the outlines of what was found, as pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor
from scipy import ndimage

from passion_components.data.reading.resample import resample
from passion_components.data.reading.volumes import Volume, moved_volume, read_volume
from passion_components.datasets import DatasetSpec
from passion_components.reports import slices
from passion_components.reports.figures import COLOURS

MAX_SLICES = 40
WIDTH = 280
"""Pixels of one sequence's picture."""


@dataclass(frozen=True)
class Frame:
    """One slice of all used sequences, side by side.

    Attributes:
        number: of the slice, from 1.
        jpeg: the picture.
    """

    number: int
    jpeg: bytes


def frames_of(
    case: str, files: Mapping[str, str], label_map: Path, spec: DatasetSpec, moved: Mapping[str, Any] | None = None
) -> tuple[list[Frame], int]:
    """Pictures of at most :data:`MAX_SLICES` slices, evenly spread, and the number of the one with most that was found.

    Args:
        case: its name.
        files: used sequence -> file.
        label_map: what was found in them, on the grid of one of them.
        spec: the data set, with the label codes of the map.
        moved: sequence -> (4, 4), where it was aligned, from where its header places it to where it was taken to lie.

    Raises:
        CaseError: a file that cannot be read.
    """
    found = read_volume(label_map, case=case)
    labels, spacing = slices.upright(found, spec)
    volumes = [
        moved_volume(read_volume(file, case=case), (moved or {}).get(name, np.eye(4))) for name, file in files.items()
    ]
    images = [_on_grid(volume, found, spec) for volume in volumes]
    tissue = [slices.foreground(image, spec) for image in images]
    box = slices.bounding_box([np.any(mask, axis=2) for mask in tissue])
    windows = [slices.window(image, mask) for image, mask in zip(images, tissue, strict=True)]
    best = slices.slice_with_most([labels])
    frames = []
    for z in _shown(labels.shape[2], best):
        masks = slices.region_masks(labels[..., z][box], spec)
        pictures = [
            _picture(image[..., z][box], window, masks, spacing) for image, window in zip(images, windows, strict=True)
        ]
        frames.append(Frame(z + 1, _jpeg(np.concatenate(pictures, axis=1))))
    return frames, best + 1


def _on_grid(volume: Volume, to: Volume, spec: DatasetSpec) -> np.ndarray:
    """The values of a volume, upright, on the grid of another."""
    if not volume.grid.matches(to.grid):
        volume = Volume(resample(volume.array, volume.grid, to.grid, mode="bilinear"), to.grid, volume.path)
    return slices.upright(volume, spec)[0].astype(np.float32)


def _shown(count: int, best: int) -> list[int]:
    spread = np.linspace(0, count - 1, min(count, MAX_SLICES)).round().astype(int)
    return sorted({*spread.tolist(), best})


def _picture(
    image: np.ndarray, window: tuple[float, float], masks: Mapping[str, np.ndarray], spacing: Sequence[float]
) -> np.ndarray:
    """RGB (height, WIDTH, 3) of an image (X, Y), with outlines: each region's thinner than those before it."""
    low, high = window
    grey = (255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)
    size = (WIDTH, max(1, round(WIDTH * image.shape[1] * spacing[1] / (image.shape[0] * spacing[0]))))
    picture = np.asarray(Image.fromarray(grey.T).resize(size, Image.Resampling.BILINEAR).convert("RGB")).copy()
    for index, (colour, mask) in enumerate(zip(COLOURS, masks.values(), strict=False)):
        inside = np.asarray(Image.fromarray(mask.T).resize(size, Image.Resampling.NEAREST))
        width = 2 * (len(masks) - index)
        picture[inside & ~ndimage.binary_erosion(inside, iterations=width)] = ImageColor.getrgb(colour)
    return picture


def _jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=85, subsampling=0)  # thin coloured lines
    return buffer.getvalue()
