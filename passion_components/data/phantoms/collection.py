"""Collections of phantoms: checked folders, files and datalist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from passion_components.data.lists.datalist import write_datalist
from passion_components.data.lists.splits import DEFAULT_SPLIT, split_cases
from passion_components.data.reading.nifti import nifti_image
from passion_components.datasets import DatasetSpec
from passion_components.files import write_atomically


def checked_size(size: Sequence[int], smallest: Sequence[int], largest: Sequence[int]) -> tuple[int, ...]:
    """The size as whole numbers, one per axis, each within its bounds.

    Raises:
        ValueError: another number of them, or one out of bounds.
    """
    size = tuple(int(n) for n in size)
    if len(size) != len(smallest) or any(not a <= n <= b for a, n, b in zip(smallest, size, largest, strict=True)):
        count = {2: "two", 3: "three"}[len(smallest)]
        given, least, most = ("x".join(map(str, numbers)) for numbers in (size, smallest, largest))
        raise ValueError(f"size {given} cannot be drawn: expected {count} numbers of voxels, from {least} to {most}")
    return size


def check_collection(out: Path, cases: int) -> None:
    """Refuse a number of cases below 1 and a folder that is in use.

    Raises:
        ValueError: in one line.
    """
    if cases < 1:
        raise ValueError(f"the number of cases must be 1 or more, got {cases}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: not an empty folder; name a new folder, or remove this one first")


def phantom_nifti(array: np.ndarray, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> nib.Nifti1Image:
    """The array in the geometry of the published files: axes to left, posterior, superior; ``spacing`` in mm."""
    x, y, z = spacing
    affine = np.diag([-x, -y, z, 1.0])
    affine[1, 3] = (array.shape[1] - 1) * y
    return nifti_image(array, affine, description=b"drawn phantom, not a patient")


@dataclass(frozen=True)
class Phantoms:
    """One kind of phantoms, written as a collection.

    Attributes:
        dataset: whose layout, names and codes they have; the datalist names it.
        smallest, largest: voxels along the axes of the sizes that can be drawn.
        files: folder and case number -> ``case`` and the path of every image.
        draw: case number, size and seed -> images by the same keys.
    """

    dataset: DatasetSpec
    smallest: tuple[int, ...]
    largest: tuple[int, ...]
    files: Callable[[Path, int], dict[str, str]]
    draw: Callable[[int, tuple[int, ...], int], dict[str, nib.Nifti1Image]]

    def write(
        self,
        out: Path | str,
        *,
        cases: int,
        size: Sequence[int],
        seed: int = 0,
        split: Mapping[str, float] = DEFAULT_SPLIT,
        progress: Callable[[str], None] | None = None,
    ) -> Path:
        """Draw and write cases, and ``out/datalist.json``.

        Args:
            out: folder, made if needed.
            cases: how many; case n is the same whatever their number.
            size: voxels along the axes, nominal ones where patients differ.
            seed: of the patients and of their split.
            split: shares of the parts, as of :func:`~passion_components.data.lists.splits.split_cases`.
            progress: called with the name of each case that is written.

        Returns:
            Path of the datalist.

        Raises:
            ValueError: no cases asked for, a size that cannot be drawn, a folder that is not empty, shares that do not
                add up.
        """
        out = Path(out)
        size = checked_size(size, self.smallest, self.largest)
        check_collection(out, cases)
        entries = [self.files(out, number) for number in range(1, cases + 1)]
        parts = split_cases(entries, split, seed)
        for number, entry in enumerate(entries, 1):
            for key, image in self.draw(number, size, seed).items():
                write_atomically(entry[key], partial(nib.save, image))
            if progress is not None:
                progress(entry["case"])
        return write_datalist(out / "datalist.json", parts, dataset=self.dataset)
