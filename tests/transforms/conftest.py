"""Small scans on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE = (12, 11, 10)


@pytest.fixture
def brain() -> np.ndarray:
    """float32 (12, 11, 10): zero background, a box of tissue that holds negative values too."""
    values = np.zeros(SHAPE, dtype=np.float32)
    tissue = np.random.default_rng(0).integers(-5, 100, (6, 5, 4))
    values[3:9, 2:7, 4:8] = np.where(tissue == 0, 1, tissue)
    return values


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """Write an array as NIfTI below ``tmp_path``; returns the path."""

    def write(name: str, array: np.ndarray, affine: np.ndarray | None = None) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0]) if affine is None else affine), path)
        return str(path)

    return write
