"""Arrays that the published RFNet computed, for a network of width 4 on crops of 32 voxels.

``tests/data/rfnet_published.npz`` holds its weights (one flat float16 array, cut by ``names`` and ``shapes``), two
images in sixteenths and a sample of what came out of them in float64. Dense outputs are sampled by :func:`sampled`;
names are those of the published code, whose modalities are flair, t1ce, t1, t2.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from passion_components.backbones.base import Backbone
from passion_components.backbones.published_weights import load_published

PUBLISHED = Path(__file__).parents[1] / "data" / "rfnet_published.npz"


@pytest.fixture(scope="session")
def published() -> dict[str, np.ndarray]:
    with np.load(PUBLISHED) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def published_state(published) -> dict[str, np.ndarray]:
    shapes = [tuple(size for size in row if size) for row in published["shapes"].tolist()]
    pieces = np.split(published["weights"], np.cumsum([np.prod(shape) for shape in shapes])[:-1])
    return {str(n): piece.reshape(s) for n, s, piece in zip(published["names"], shapes, pieces, strict=True)}


@pytest.fixture(scope="session")
def published_rfnet(published_state) -> Callable[[type], Backbone]:
    """The published network in the precision asked for, np.float64 or np.float32."""
    return lambda dtype: load_published({n: v.astype(dtype) for n, v in published_state.items()}, "rfnet")


@pytest.fixture(scope="session")
def published_image(published) -> Tensor:
    return torch.from_numpy(published["image"]).double() / 16


@pytest.fixture(scope="session")
def sampled() -> Callable[..., np.ndarray]:
    """The voxels of an output that the file keeps: few of many, spread over the crop."""

    def sample(x: Tensor, *, training: bool = False) -> np.ndarray:
        step = 6 if training else 4
        kept = {32: slice(1, None, 2 * step), 16: slice(1, None, step), 8: slice(None, None, 2), 4: slice(None)}
        return x[(..., *(kept[size] for size in x.shape[-3:]))].detach().numpy()

    return sample
