"""How the dense outputs in ``tests/data/<backbone>_published.npz`` are sampled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from torch import Tensor


@pytest.fixture(scope="session")
def sampled() -> Callable[..., np.ndarray]:
    """The voxels of an output that the file keeps: few of many, spread over the crop."""

    def sample(x: Tensor, *, training: bool = False) -> np.ndarray:
        step = 6 if training else 4
        kept = {32: slice(1, None, 2 * step), 16: slice(1, None, step), 8: slice(None, None, 2)}
        return x[(..., *(kept.get(size, slice(None)) for size in x.shape[-3:]))].detach().numpy()

    return sample
